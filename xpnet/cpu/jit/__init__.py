"""The Numba functions; each module is imported when the first of its kernels runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import numba

log = logging.getLogger("xpnet.cpu")

# Products are fused; nothing else changes what is computed. Reordered sums ("reassoc") would not be the same
# in the process that compiles a kernel as in later ones, which load what has been optimised once more: sums
# are in the order of the lanes of `xpnet.cpu.jit.vector`.
OPTIONS: dict[str, Any] = {
    "fastmath": {"contract", "nsz"},
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
}


class Loop(NamedTuple):
    """One loop compiled for all threads and for the caller's alone."""

    name: str
    parallel: Callable[..., Any]
    serial: Callable[..., Any]


def loop(function: Any) -> Loop:
    """Compile a loop over `numba.prange` both ways, on first use."""
    alone = FunctionType(function.__code__, function.__globals__, function.__name__ + "_serial")
    alone.__qualname__ = alone.__name__  # or both would share one entry of the cache on disk
    return Loop(function.__name__, _compiled(function, parallel=True), _compiled(alone))


def _compiled(function: Any, **options: Any) -> Any:
    """With the compiled code kept on disk, where there is a place for it."""
    try:
        return numba.njit(**options, **OPTIONS)(function)
    except RuntimeError as error:  # the package's folder and the user's cache are read-only
        if OPTIONS["cache"]:
            log.warning(
                "CPU kernels are compiled anew in every process: %s; set NUMBA_CACHE_DIR to a folder", error
            )
        OPTIONS["cache"] = False
        return numba.njit(**options, **OPTIONS)(function)
