"""Launches kernels/gradients.cu: the squared norm of a gradient vector, and clipping by the norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.cuda import loader
from xpnet.optim import gradients

FILE = "gradients.cu"
BLOCK = 256
ADD = 1024  # threads of the block that adds up the parts


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    each = [
        f"{kernel}<{ctype}, {loader.vector(dtype)}, {BLOCK}>"
        for dtype, ctype in loader.CTYPES.items()
        for kernel in ("squares", "clip")
    ]
    return {FILE: [*each, *(f"add_parts<{a}, {ADD}>" for a in ("float", "double"))]}


@gradients.sum_of_squares.kernel("cupy")
def sum_of_squares(x: Array) -> Any:
    """See `xpnet.optim.gradients.sum_of_squares`: the order of additions depends on the size alone."""
    dtype = x.dtype.name
    if dtype not in loader.CTYPES or not x.flags.c_contiguous:
        return NotImplemented
    xp, n, vec, scalar = namespace(x), x.size, loader.vector(dtype), loader.ACCUMULATOR[dtype]
    # at least 8 pieces a thread; the device's size must not change the sum
    blocks = max(1, min(1024, n // (8 * vec * BLOCK)))
    out, parts = xp.empty((), dtype=scalar), xp.empty(blocks, dtype=scalar)
    run = loader.kernel(FILE, f"squares<{loader.CTYPES[dtype]}, {vec}, {BLOCK}>")
    run((blocks,), (BLOCK,), (x, parts, np.int64(n)))
    accumulator = "double" if dtype == "float64" else "float"
    add = loader.kernel(FILE, f"add_parts<{accumulator}, {ADD}>")
    add((1,), (ADD,), (parts, out, np.int32(blocks)))
    return out


@gradients.clip_to_norm.kernel("cupy")
def clip_to_norm(x: Array, norm: Array, max_norm: float) -> Any:
    """See `xpnet.optim.gradients.clip_to_norm`: reads the norm on the device; a small one costs no pass."""
    dtype = x.dtype.name
    scalar = loader.ACCUMULATOR.get(dtype)
    if scalar is None or norm.dtype != scalar or not x.flags.c_contiguous:
        return NotImplemented
    if x.size:
        norm = namespace(x).asarray(norm)  # NumPy's square root of a 0-d array is a scalar
        vec = loader.vector(dtype)
        run = loader.kernel(FILE, f"clip<{loader.CTYPES[dtype]}, {vec}, {BLOCK}>")
        run(
            (loader.flat_blocks(x.size, vec * BLOCK),),
            (BLOCK,),
            (x, norm, scalar(max_norm), np.int64(x.size)),
        )
    return None
