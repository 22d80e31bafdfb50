"""Where a loader's batches come from: rows of arrays, or items of a data set of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, Protocol, TypeGuard

import numpy as np

from xpnet.core.backend import get_backend
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of
from xpnet.data.arrays import Arrays, map_arrays
from xpnet.data.dataset import Dataset, take
from xpnet.data.prefetch import PinnedBuffers


class Samples(Protocol):
    """What a DataLoader reads: a sample for each index from 0 to `len` - 1."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: Any, /) -> Any:
        """One of them: an array, a number, or a tuple or dict of these."""


Gather = Callable[[slice, np.ndarray], Any]
"""(where in the order, which samples) -> a batch on the default backend."""


def rows_of(dataset: Dataset, order: np.ndarray | None, prefetch: int) -> Gather:
    """Batches (x, y) of a Dataset, whose rows are taken where its arrays are."""
    arrays = dataset.x, dataset.y
    if prefetch and PinnedBuffers.useful(*arrays):
        buffers = PinnedBuffers(prefetch + 2)
        return lambda part, samples: buffers.move(*arrays, samples)
    x, y = arrays
    if order is None:
        rows: Gather = lambda part, samples: (x[part, ...], y[part, ...])
    elif all(type(a) is np.ndarray for a in arrays):
        rows = lambda part, samples: (x.take(samples, axis=0), y.take(samples, axis=0))
    else:  # the whole order moves at once, to where each array is
        of_x, of_y = (asarray(order, backend=backend_of(a)) for a in arrays)
        rows = lambda part, samples: (take(x, of_x[part]), take(y, of_y[part]))
    if str(get_backend()) == "numpy" and all(isinstance(a, np.ndarray) for a in arrays):
        return rows
    return lambda part, samples: tuple(asarray(a) for a in rows(part, samples))


def columns_of(data: Arrays, order: np.ndarray | None) -> Gather:
    """Batches of the structure of `Arrays`, whose rows are taken where each array is."""
    parts = data.parts
    if order is None:
        return lambda part, samples: map_arrays(lambda a: asarray(a[part, ...]), parts)
    orders = map_arrays(lambda a: asarray(order, backend=backend_of(a)), parts)
    return lambda part, samples: map_arrays(lambda a, of_a: asarray(take(a, of_a[part])), parts, orders)


def items_of(dataset: Samples, collate: Callable[[Sequence[Any]], Any]) -> Gather:
    """Batches of items, asked for one by one, or together by `__getitems__` where there is one (PyTorch)."""
    several = getattr(dataset, "__getitems__", None)

    def gather(part: slice, samples: np.ndarray) -> Any:
        indices = samples.tolist()
        return collate([dataset[i] for i in indices] if several is None else several(indices))

    return gather


def is_data_set(data: Any) -> TypeGuard[Samples]:
    """Whether data have samples by number and no order of their own, as batches in a list have."""
    numbered = hasattr(data, "__len__") and hasattr(data, "__getitem__") and not hasattr(data, "__iter__")
    return numbered and not hasattr(data, "__array__")  # which an Arrow table has


def check_samples(dataset: Any) -> None:
    """Refuse what gives no samples by number.

    Raises:
        TypeError: saying what to pass.
    """
    name = type(dataset).__name__
    if isinstance(dataset, tuple) and all(hasattr(part, "shape") for part in dataset):
        raise TypeError("DataLoader: expected a Dataset, got a tuple of arrays; make one with Dataset(x, y)")
    if isinstance(dataset, tuple) and hasattr(dataset[0], "shape") and isinstance(dataset[-1], tuple | dict):
        raise TypeError(
            "DataLoader: expected a data set, got a tuple of arrays; make one with Arrays((x, (y, weights)))"
        )
    by_number = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    by_number = by_number and not isinstance(dataset, dict | str | bytes)
    # numbers alone have no targets: most likely meant to be x of something
    if not by_number or (isinstance(dataset, list | tuple) and dataset and isinstance(dataset[0], Number)):
        raise TypeError(
            f"DataLoader: expected a Dataset, or anything with __len__ and __getitem__(index), got {name}; "
            "make one with Dataset(x, y)"
        )
    if not len(dataset):
        raise ValueError(f"DataLoader: the {name} is empty")
