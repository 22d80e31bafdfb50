"""The Numba functions; each module is imported when the first of its kernels runs."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import numba

# reductions may be reordered into vector lanes and products fused; NaN and infinity keep their meaning
OPTIONS: dict[str, Any] = {
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
}


class Kernel(NamedTuple):
    """One loop compiled for all threads and for the caller's alone."""

    name: str
    parallel: Callable[..., Any]
    serial: Callable[..., Any]


def kernel(function: Any) -> Kernel:
    """Compile a loop over `numba.prange` both ways, on first use."""
    alone = FunctionType(function.__code__, function.__globals__, function.__name__ + "_serial")
    alone.__qualname__ = alone.__name__  # or both would share one entry of the cache on disk
    return Kernel(
        function.__name__, numba.njit(parallel=True, **OPTIONS)(function), numba.njit(**OPTIONS)(alone)
    )
