"""The compiled kernels, and how many threads share their work.

They are an extension module of C, built when xpnet is installed (`xpnet/cpu/native`): nothing is compiled
while a program runs, and the same file computes the same bits in every process. Work is cut up by the shapes
alone, so the number of threads changes no bit, either. Where no C compiler was found the module is missing,
and the Array API bodies run.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from xpnet.core.context import active
from xpnet.core.tracing import Traced, tracing

Native: Any
"""The extension module, or None where it was not built."""

try:
    import xpnet.cpu._native as Native
except ImportError:
    Native = None

NOT_EMPTY = 1  # elements: arrays without any stay with the bodies
FLOAT32 = np.dtype(np.float32)


def default_threads() -> int:
    """XPNET_NUM_THREADS or OMP_NUM_THREADS if it is a number, else the cores of this process."""
    for name in ("XPNET_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").partition(",")[0].strip()
        if value.isdecimal() and int(value):
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(kernel: str, *arguments: Any) -> None:
    """Run a kernel; arrays must be contiguous, those it writes writable.

    Raises:
        TypeError: an argument does not fit; nothing was computed.
        MemoryError: there is none for intermediate results; what it writes is unfinished.
    """
    index = _INDEX[kernel]
    trace = tracing() if active[0] else None
    if trace is None:
        Native.run(index, *arguments)
    else:
        trace.kernel(Native.run, "i" + Native.signatures[index], (index, *arguments))


def product(a: Any, b: Any, out: Any, bias: Any = None, relu: bool = False) -> bool:
    """out = a b + bias, or its ReLU, of matrices of float32; False, and nothing is done, of anything else.

    Raises:
        MemoryError: there is none for intermediate results; `out` is unfinished.
    """
    trace = tracing() if active[0] else None
    if trace is None:
        return Native.matmul(a, b, out, bias, relu)
    return trace.kernel(Native.matmul, "rrwri", (a, b, out, bias, relu))


def empty(shape: Any, dtype: Any = float) -> np.ndarray:
    """Memory for what a kernel writes."""
    array = np.empty(shape, dtype)
    trace = tracing() if active[0] else None
    return array if trace is None else trace.made(array, None)


def fits(*arrays: np.ndarray | None) -> bool:
    """Whether all arrays (None passes) are contiguous and of the first one's dtype."""
    dtype = arrays[0].dtype  # type: ignore[union-attr]
    return all(a is None or (a.flags.c_contiguous and a.dtype == dtype) for a in arrays)


def single(a: Any) -> np.ndarray:
    """An array as contiguous float32 in the byte order of this machine."""
    return contiguous(a, FLOAT32)


def contiguous(a: Any, dtype: Any) -> np.ndarray:
    """An array as a contiguous one of a dtype."""
    if type(a) is Traced:
        return a if a.flags.c_contiguous and a.dtype == dtype else a.astype(dtype, "C", copy=True)
    return np.asarray(a, dtype, "C")  # 0-d stays 0-d


_INDEX: dict[str, int] = {} if Native is None else Native.kernels
if Native is not None:
    Native.set_threads(default_threads())
