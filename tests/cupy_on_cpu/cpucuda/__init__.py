"""A CUDA device made of the CPU, for a CuPy that was built with `patch.py`.

CuPy imports this package before its first extension; from then on `import cupy` finds a device whose memory
is host memory and whose kernels are compiled by g++ and run by xpnet's emulator. See ../README.md.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("CUPY_ACCELERATORS", "")  # CUB's kernels are not for g++

from . import blas, build, counts, fft, lapack, nvrtc
from .counts import Count, count

__all__ = ["Count", "count", "guarded", "launches"]

ctypes.CDLL(str(build.emulator.runtime()), mode=ctypes.RTLD_GLOBAL)  # the fibers
library = ctypes.CDLL(str(build.device()), mode=ctypes.RTLD_GLOBAL)  # ahead of CuPy's stubs of the same names
nvrtc.install(library)
blas.install(library)
lapack.install(library)
fft.install(library)
counts.install(library)
sys.modules["cuda.pathfinder"] = importlib.import_module(
    ".pathfinder", __name__
)  # for who asks for a library


def launches() -> dict[str, int]:
    """How many kernels ran as fibers, as a loop over threads, and as one thread."""
    counts = (ctypes.c_uint64 * 3)()
    library.cpucuda_launches(counts)
    return dict(zip(("fibers", "plain", "one thread"), counts, strict=True))


@contextmanager
def guarded() -> Iterator[None]:
    """Inside of the block every array has pages of its own between fences, and freed memory faults.

    So reads and writes outside of an array and after its end are found where they happen. CuPy's pool, which
    would hand out parts of larger blocks, is left out. `CPUCUDA_GUARD=1` does this for a whole process.
    """
    import cupy

    before = library.cpucuda_set_guard(1)
    try:
        with cupy.cuda.using_allocator(None):
            yield
    finally:
        library.cpucuda_set_guard(before)


def ready() -> None:
    """CuPy calls this when it has been imported."""
    if library.cpucuda_guarded():
        import cupy

        cupy.cuda.set_allocator(None)
