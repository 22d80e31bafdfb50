"""Launches kernels/gradients.cu: the squared norm of a gradient vector, and clipping by the norm."""

from __future__ import annotations

from functools import cache
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.optim import gradients

FILE = "gradients.cu"
BLOCK = 256
ADD = 1024  # threads of the block that adds up the parts


@cache
def _name(kernel: str, t: Element) -> str:
    return f"{kernel}<{t.ctype}, {t.vector}, {BLOCK}>"


@cache
def _add(t: Element) -> str:
    return f"add_parts<{t.accumulator}, {ADD}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    each = [_name(kernel, t) for t in ELEMENTS.values() for kernel in ("squares", "clip")]
    return {FILE: [*each, *sorted({_add(t) for t in ELEMENTS.values()})]}


@gradients.sum_of_squares.kernel("cupy")
def sum_of_squares(x: Array) -> Any:
    """See `xpnet.optim.gradients.sum_of_squares`: the order of additions depends on the size alone."""
    t = element(x.dtype)
    if t is None or not loader.is_contiguous(x):
        return NotImplemented
    n = x.size
    # at least 8 pieces a thread; the device's size must not change the sum
    blocks = max(1, min(1024, n // (8 * t.vector * BLOCK)))
    out, parts = loader.empty(x, (), t.scalar), loader.empty(x, (blocks,), t.scalar)
    run = loader.kernel(FILE, _name("squares", t))
    run((blocks,), (BLOCK,), (x, parts, loader.int64(n)))
    loader.kernel(FILE, _add(t))((1,), (ADD,), (parts, out, loader.int32(blocks)))
    return out


@gradients.clip_to_norm.kernel("cupy")
def clip_to_norm(x: Array, norm: Array, max_norm: float) -> Any:
    """See `xpnet.optim.gradients.clip_to_norm`: reads the norm on the device; a small one costs no pass."""
    t = element(x.dtype)
    if t is None or norm.dtype != t.scalar or not loader.is_contiguous(x):
        return NotImplemented
    if x.size:
        if type(norm) is not type(x):  # NumPy's square root of a 0-d array is a scalar
            norm = namespace(x).asarray(norm)
        grid = (loader.flat_blocks(x.size, t.vector * BLOCK),)
        args = (x, norm, t.scalar(max_norm), loader.int64(x.size))
        loader.kernel(FILE, _name("clip", t))(grid, (BLOCK,), args)
    return None
