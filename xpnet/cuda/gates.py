"""Launches kernels/gates.cu: SiLU and its kind, GLU and SwiGLU, one pass forward and one backward."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

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


class Plan(NamedTuple):
    """The output's shape; both kernels, grid and sizes for single elements, and for pieces of 16 bytes."""

    output: tuple[int, ...]
    ways: tuple[tuple[dict[str, str], tuple[int], tuple[np.uint32, np.uint32]], ...]


@lru_cache(1024)
def _plan(act: str, dtype: Any, shape: tuple[int, ...], dim: int) -> Plan | None:
    """Of halves along an axis; None if the kernels do not take it."""
    t, size = element(dtype), math.prod(shape)
    if t is None or not -len(shape) <= dim < len(shape) or shape[dim] % 2 or not 0 < size < MOST:
        return None
    dim %= len(shape)
    half, ways = shape[dim] // 2 * math.prod(shape[dim + 1 :]), []
    for vec in (1, t.vector) if half % t.vector == 0 else (1, 1):
        pieces = size // 2 // vec
        names = {way: _halves(way, act, t, vec) for way in ("gate", "gate_gradient")}
        ways.append((names, (loader.ceil_div(pieces, BLOCK),), (np.uint32(pieces), np.uint32(half // vec))))
    return Plan((*shape[:dim], shape[dim] // 2, *shape[dim + 1 :]), tuple(ways))


def _gate(act: str, x: Array, dim: int) -> Any:
    shape = x.shape
    p = _plan(act, x.dtype, shape, dim)
    if p is None:
        return NotImplemented
    x = loader.contiguous(x)

    def launch(way: str, given: tuple[Array, ...], out: Array) -> Array:
        bits = loader.address(out)
        for a in given:
            bits |= loader.address(a)
        names, grid, sizes = p.ways[bits % 16 == 0]
        loader.kernel(FILE, names[way])(grid, (BLOCK,), (*given, out, *sizes))
        return out

    y = loader.empty(x, p.output, x.dtype)

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
