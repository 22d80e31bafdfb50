"""NumPy as an Array API namespace, with its reductions called directly.

`numpy.sum` and its kin spend about a microsecond in Python before they reach the ufunc, which is a third of
the time of a small network's reduction. Everything else is NumPy's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.context import active

Axis = int | tuple[int, ...] | None

globals().update({name: getattr(np, name) for name in np.__all__})

_add: Any = np.add.reduce
_HALF = np.dtype(np.float16)
_maximum: Any = np.maximum.reduce
_minimum: Any = np.minimum.reduce


def sum(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The sum over `axis`; 16-bit floats accumulate in float32."""
    if x.dtype == _HALF:
        return np.sum(x, axis=axis, dtype=np.float32, keepdims=keepdims).astype(dtype or x.dtype)
    return _add(x, axis, dtype, None, keepdims)


def max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The maximum over `axis`."""
    return _maximum(x, axis, None, None, keepdims)


def min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The minimum over `axis`."""
    return _minimum(x, axis, None, None, keepdims)


def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over `axis`; 16-bit floats accumulate in float32. NaN, without a warning, of no elements."""
    half = x.dtype == _HALF
    total = _add(x, axis, np.float32 if half else None, None, keepdims)
    count = x.size // total.size if total.size else 0
    y = total / count if count else total * np.float32(np.nan)
    return y.astype(x.dtype) if half else y


def _created(function: Any, *args: Any) -> Any:
    """A new array; a step that is written down makes it anew each time."""
    return tell_of_new[0](function, args) if active[0] else function(*args)


tell_of_new: list[Any] = []  # `xpnet.core.tracing` is told


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Zeros; float64 by default."""
    return _created(np.zeros, shape, float if dtype is None else dtype)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Ones; float64 by default."""
    return _created(np.ones, shape, float if dtype is None else dtype)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """One value everywhere."""
    return _created(np.full, shape, fill_value, dtype)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """Memory with any values."""
    return _created(np.empty, shape, float if dtype is None else dtype)


def expand_dims(x: Any, /, *, axis: int = 0) -> Any:
    """A new axis of length 1."""
    if axis == -1 or axis == x.ndim:
        return x[..., None]
    return x[None] if axis == 0 else x[:, None] if axis == 1 else np.expand_dims(x, axis)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The values as another dtype."""
    return x.astype(dtype, copy=copy)
