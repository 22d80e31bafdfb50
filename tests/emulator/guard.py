"""Arrays between poisoned zones: a read outside gives NaN, a write outside is found by `check_guards`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ZONE = 512  # bytes on either side
_POISON = 0xFF  # NaN in every float format, -1 in integers
_zones: list[np.ndarray] = []


def _allocate(shape: tuple[int, ...], dtype: Any, offset: int = 0) -> np.ndarray:
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.full(size + 2 * ZONE + 64 + offset, _POISON, np.uint8)
    start = -raw.ctypes.data % 64 + ZONE + offset  # as CuPy's: aligned, unless `offset` asks otherwise
    _zones.extend((raw[:start], raw[start + size :]))
    return raw[start : start + size].view(dtype).reshape(shape)


def poisoned_empty(shape: Any, dtype: Any = np.float64, **_: Any) -> np.ndarray:
    """`numpy.empty`, filled with NaN (-1 for integers) and guarded: what a kernel does not write shows."""
    return _allocate((shape,) if isinstance(shape, int) else tuple(shape), dtype)


def guarded(array: np.ndarray, offset: int = 0) -> np.ndarray:
    """A guarded copy whose address is `offset` bytes past a multiple of 64."""
    out = _allocate(array.shape, array.dtype, offset)
    out[...] = array
    return out


def check_guards() -> None:
    """Fail if anything was written outside of a guarded array since the last call, and let go of them."""
    zones = list(_zones)
    _zones.clear()
    for zone in zones:
        assert (zone == _POISON).all(), "a kernel wrote outside of an array"
