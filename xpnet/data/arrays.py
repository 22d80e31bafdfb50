"""A data set of samples in several parts: arrays of one length in tuples and dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xpnet.data.dataset import as_array, check_finite


class Arrays:
    """Arrays with one row a sample, in tuples and dicts: what `Dataset` is for one x and one y.

    Args:
        parts: `{"left": a, "right": b, "label": y}`, say, or `((a, b), y)`; each array keeps its backend.

    Batches have the same structure; `xpnet.data.batch` says what is input and what target.

    Raises:
        ValueError: no samples, unequal lengths, or values that are not finite.
        TypeError: values that are not numbers.

    >>> import numpy as np
    >>> from xpnet.data import Arrays, DataLoader
    >>> data = Arrays({"left": np.zeros((6, 2)), "right": np.ones((6, 3)), "label": np.arange(6)})
    >>> batch = next(iter(DataLoader(data, batch_size=4)))
    >>> {name: array.shape for name, array in batch.items()}
    {'left': (4, 2), 'right': (4, 3), 'label': (4,)}
    """

    def __init__(self, parts: Mapping[str, Any] | tuple[Any, ...]) -> None:
        self.lengths: dict[str, int] = {}
        self.parts = self._checked(parts, "")
        if len(set(self.lengths.values())) != 1 or 0 in self.lengths.values():
            found = ", ".join(f"{place} {n}" for place, n in self.lengths.items()) or "no arrays"
            raise ValueError(f"Arrays: the parts have {found}; expected as many samples in each, at least 1")

    def _checked(self, part: Any, place: str) -> Any:
        if isinstance(part, Mapping):
            return {name: self._checked(inner, f"{place}[{name!r}]") for name, inner in part.items()}
        if isinstance(part, tuple):
            return tuple(self._checked(inner, f"{place}[{i}]") for i, inner in enumerate(part))
        array = as_array(part)
        check_finite(array, f"Arrays: {place or 'the array'}")
        self.lengths[place] = int(array.shape[0]) if array.ndim else 0
        return array

    def __len__(self) -> int:
        return next(iter(self.lengths.values()))

    def __getitem__(self, index: Any) -> Any:
        """One sample, or the arrays of a slice, in the same structure."""
        return map_arrays(lambda array: array[index, ...], self.parts)


def map_arrays(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Tuples and dicts with `function` of the arrays that are at the same place in each of them."""
    if isinstance(tree, Mapping):
        return {name: map_arrays(function, part, *(o[name] for o in others)) for name, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map_arrays(function, *parts) for parts in zip(tree, *others, strict=True))
    return function(tree, *others)
