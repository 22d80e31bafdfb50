"""When a CPU kernel runs, and how it is compiled: on first use, once, kept on disk."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any

import numpy as np

from xpnet.core.registry import KernelError

log = logging.getLogger("xpnet.cpu")

# elements below which NumPy's own loops are as fast as waking the threads
SMALL = 1 << 15

# elements below which a kernel stays in the caller's thread: OpenBLAS's threads spin for some 25 ms after a
# matrix product, and a short kernel that waits for a core behind one of them is slower than alone
PARALLEL = 1 << 20

# Numba's "workqueue" threads serve one caller at a time; unlike OpenMP's, they survive fork
_lock = threading.Lock()
_kernels: dict[str, Any] = {}
_broken = False


def compiled(module: str, name: str) -> Any:
    """The compiled function `name` of `xpnet.cpu.jit.<module>`; None if Numba does not work here."""
    global _broken
    found = _kernels.get(name)
    if found is None and not _broken and name not in _kernels:
        try:
            import numba

            config: Any = numba.config
            config.THREADING_LAYER = "workqueue"
            log.debug("compiling CPU kernel %s (or loading it from the cache)", name)
            function = getattr(importlib.import_module(f"xpnet.cpu.jit.{module}"), name)
            found = _kernels[name] = _locked(function)
        except Exception as error:  # too old for this NumPy, half installed, without a compiler, ...
            _broken = True
            log.warning("CPU kernels are off, Numba does not load: %s", error)
    return found


def _locked(function: Any) -> Any:
    def call(first: np.ndarray, *rest: Any, work: int | None = None) -> Any:
        """`work`: elements that would take as long, where it is not the size of the first argument."""
        small = (first.size if work is None else work) < PARALLEL
        try:
            if small:
                return function.serial(first, *rest)
            with _lock:
                return function.parallel(first, *rest)
        except Exception as error:  # of Numba before the kernel runs: the kernels themselves raise nothing
            return _without(function, error, first, *rest)

    return call


def _without(function: Any, error: Exception, *args: Any) -> Any:
    """The kernel without a cache on disk, which may be full, and in one thread; else never again.

    Raises:
        KernelError: that does not work, either.
    """
    name = function.name
    _kernels[name] = None
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    try:
        from numba.core.caching import NullCache

        for form in (function.serial, function.parallel):
            form._cache = NullCache()
        result = function.serial(*args)
    except Exception as again:
        log.warning("the CPU kernel %s is off, NumPy takes its place: %s", name, reason)
        raise KernelError(
            f"the CPU kernel {name} does not work here ({reason}): set XPNET_FUSED=0"
        ) from again
    log.warning("the CPU kernel %s runs in one thread and is not kept on disk: %s", name, reason)
    alone = function._replace(parallel=function.serial)
    _kernels[name] = _locked(alone)
    return result


def threads() -> int:
    """The threads a kernel runs in; call it after `kernel`, which loads Numba."""
    import numba

    return numba.get_num_threads()


def flat(array: np.ndarray | None) -> np.ndarray | None:
    """A contiguous array as a vector that shares its memory."""
    return None if array is None else array.reshape(-1)


def fits(*arrays: np.ndarray | None) -> bool:
    """Whether all arrays (None passes) are contiguous and of the first one's dtype."""
    dtype = arrays[0].dtype  # type: ignore[union-attr]
    return all(a is None or (a.flags.c_contiguous and a.dtype == dtype) for a in arrays)
