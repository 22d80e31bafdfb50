"""Launches kernels/gates.cu: SiLU and its kind, GLU and SwiGLU, one pass forward and one backward."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from xpnet.core.backend import Array
from xpnet.cuda import loader
from xpnet.cuda.activations import both, elementwise
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import activations, gates

FILE = "gates.cu"
BLOCK = 256
ALONE = ("SiLU", "GELUTanh", "Mish")
HALVES = ("GLU", "SwiGLU")
MOST = (1 << 31) - (1 << 16)  # pieces: their numbers are 32 bits wide


@cache
def _halves(way: str, act: str, t: Element, vec: int) -> str:
    return f"{way}<{act}, {t.ctype}, {vec}, {BLOCK}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names: list[str] = []
    for t in ELEMENTS.values():
        for act in ALONE:
            names += both(act, t)
        for act in HALVES:
            names += [_halves(way, act, t, vec) for way in ("gate", "gate_gradient") for vec in (t.vector, 1)]
    return {FILE: names}


@gates.silu_op.kernel("cupy")
def silu(x: Array) -> Any:
    """See `xpnet.functional.silu`."""
    return elementwise("SiLU", x, file=FILE, keeps_input=True)


@gates.mish_op.kernel("cupy")
def mish(x: Array) -> Any:
    """See `xpnet.functional.mish`."""
    return elementwise("Mish", x, file=FILE, keeps_input=True)


@activations.gelu_tanh.kernel("cupy")
def gelu_tanh(x: Array) -> Any:
    """See `xpnet.functional.gelu`, approximate="tanh"."""
    return elementwise("GELUTanh", x, file=FILE, keeps_input=True)


def _gate(act: str, x: Array, dim: int) -> Any:
    t = element(x.dtype)
    if t is None or not -x.ndim <= dim < x.ndim or x.shape[dim] % 2 or not 0 < x.size < MOST:
        return NotImplemented
    x, shape, dim = loader.contiguous(x), x.shape, dim % x.ndim
    half = shape[dim] // 2 * math.prod(shape[dim + 1 :])

    def launch(way: str, given: tuple[Array, ...], out: Array) -> Array:
        bits = half * 16 // t.vector
        for a in (*given, out):
            bits |= loader.address(a)
        vec = 1 if bits % 16 else t.vector
        pieces = x.size // 2 // vec
        run = loader.kernel(FILE, _halves(way, act, t, vec))
        sizes = (loader.uint32(pieces), loader.uint32(half // vec))
        run((loader.ceil_div(pieces, BLOCK),), (BLOCK,), (*given, out, *sizes))
        return out

    y = loader.empty(x, (*shape[:dim], shape[dim] // 2, *shape[dim + 1 :]), x.dtype)

    def pullback(dy: Array) -> Array:
        return launch("gate_gradient", (x, loader.contiguous(dy)), loader.empty(x, shape, x.dtype))

    return launch("gate", (x,), y), pullback


@gates.glu.kernel("cupy")
def glu(x: Array, dim: int = -1) -> Any:
    """See `xpnet.functional.glu`."""
    return _gate("GLU", x, dim)


@gates.swiglu.kernel("cupy")
def swiglu(x: Array, dim: int = -1) -> Any:
    """See `xpnet.functional.swiglu`."""
    return _gate("SwiGLU", x, dim)
