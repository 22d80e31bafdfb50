"""A CUDA device made of the CPU, for a CuPy that was built with `patch.py`.

CuPy imports this package before its first extension; from then on `import cupy` finds a device whose memory
is host memory and whose kernels are compiled by g++ and run by xpnet's emulator. See ../README.md.
"""

from __future__ import annotations

import ctypes
import os

os.environ.setdefault("CUPY_ACCELERATORS", "")  # CUB's kernels are not for g++

from . import blas, build, nvrtc

ctypes.CDLL(str(build.emulator.runtime()), mode=ctypes.RTLD_GLOBAL)  # the fibers
library = ctypes.CDLL(str(build.device()), mode=ctypes.RTLD_GLOBAL)  # ahead of CuPy's stubs of the same names
nvrtc.install(library)
blas.install(library)


def launches() -> dict[str, int]:
    """How many kernels ran as fibers, as a loop over threads, and as one thread."""
    counts = (ctypes.c_uint64 * 3)()
    library.cpucuda_launches(counts)
    return dict(zip(("fibers", "plain", "one thread"), counts, strict=True))
