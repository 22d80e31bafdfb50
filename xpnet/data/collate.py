"""Items of a data set, one sample each, put together as a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.places import namespace


def collate(items: Sequence[Any]) -> Any:
    """A batch on the default backend from single samples of one structure.

    Args:
        items: arrays, numbers, or tuples and dicts of them, nested as one likes.

    Returns:
        The structure of one item, with an array of one more axis, the first, in each place. Python's floats
        become float32 and its integers int64; arrays keep their dtype. Tuples and lists become tuples.

    Raises:
        TypeError: something that is no number and no array.
        ValueError: items of different structures or shapes.

    >>> from xpnet.data.collate import collate
    >>> collate([{"x": [0.5, 1.0], "y": 0}, {"x": [2.0, 3.0], "y": 1}])["y"]
    array([0, 1])
    """
    return _collate(items, "")


def _collate(items: Sequence[Any], place: str) -> Any:
    first = items[0]
    where = f" under {place}" if place else ""
    if isinstance(first, Mapping):
        if any(not isinstance(item, Mapping) or item.keys() != first.keys() for item in items):
            raise ValueError(f"DataLoader: the items{where} have different keys; give each the same ones")
        return {key: _collate([item[key] for item in items], f"{place}[{key!r}]") for key in first}
    if isinstance(first, tuple | list):
        if any(not isinstance(item, tuple | list) or len(item) != len(first) for item in items):
            raise ValueError(f"DataLoader: the items{where} have different lengths; give each the same parts")
        return tuple(_collate([item[i] for item in items], f"{place}[{i}]") for i in range(len(first)))
    if isinstance(first, Number | np.generic):
        numbers = np.asarray(items)
        return asarray(numbers.astype(np.float32) if numbers.dtype == np.float64 else numbers)
    if not hasattr(first, "shape") or not hasattr(first, "dtype"):
        raise TypeError(
            f"DataLoader: an item holds a {type(first).__name__}{where}, expected numbers and arrays; "
            "convert it in __getitem__, or pass collate="
        )
    return _stacked(items, where)


def _stacked(items: Sequence[Any], where: str) -> Any:
    arrays = [array_like(item) for item in items]
    shapes = {tuple(array.shape) for array in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"DataLoader: the items{where} have shapes {', '.join(map(str, sorted(shapes)))}; give them one, "
            "or pass collate="
        )
    if all(isinstance(array, np.ndarray) for array in arrays):
        return asarray(np.stack(arrays))
    try:
        return asarray(namespace(*arrays).stack(arrays))
    except TypeError:  # arrays of several libraries
        return asarray(np.stack([to_numpy(array) for array in arrays]))
