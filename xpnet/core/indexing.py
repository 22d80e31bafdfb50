"""What stands between the brackets of x[...], made ready for the backend of x."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.notes import OPS, check_labels
from xpnet.core.places import backend_of, namespace


def entries(index: Any, x: Array) -> tuple[Any, ...]:
    """The entries of an index; arrays, lists and Tensors become arrays where `x` lives."""
    return tuple(_entry(i, x) for i in (index if isinstance(index, tuple) else (index,)))


def in_range(index: tuple[Any, ...], x: Array) -> tuple[Any, ...]:
    """The same on CuPy, which wraps around what is out of range: such integers are noted on the device."""
    index = _counted(index[0], x) if len(index) == 1 else index
    return tuple(_looked_at(i, x, _axis(index, k)) for k, i in enumerate(index))


def _axis(index: tuple[Any, ...], k: int) -> int:
    """The axis that entry k of an index selects from; negative after an ellipsis."""
    if any(i is Ellipsis for i in index[:k]):
        return -sum(i is not None for i in index[k:])
    return sum(1 if i is not None else 0 for i in index[:k])


def _looked_at(index: Any, x: Array, axis: int) -> Any:
    """Integers on a CUDA device, looked at there: one that is out of range is noted (`xpnet.notes`)."""
    if not hasattr(index, "dtype") or index.dtype.kind not in "iu" or not -x.ndim <= axis < x.ndim:
        return index
    xp, n = namespace(x), x.shape[axis]
    flat = xp.reshape(xp.astype(index, xp.int64), (-1,))
    op = OPS.index("an index")
    places, _ = check_labels(xp.where(flat < 0, flat + n, flat), xp.float32, n, None, op)
    return xp.reshape(places, index.shape)


def _counted(index: Array, x: Array) -> tuple[Array, ...]:
    """A mask as the positions of its ones: to count them CuPy waits, so not again for the gradient."""
    if index.dtype != bool or tuple(index.shape) != tuple(x.shape[: index.ndim]) or not index.ndim:
        return (index,)
    return namespace(x).nonzero(index)


def _entry(part: Any, x: Array) -> Any:
    """One entry of an index; arrays, lists and Tensors become arrays where `x` lives."""
    if part is None or isinstance(part, int | slice | type(...)):
        return part
    if isinstance(part, np.integer):
        return int(part)
    return asarray(np.asarray(part) if isinstance(part, list) else part, backend=backend_of(x))
