"""Launches kernels/softmax.cu: softmax and its logarithm over the last axis, one pass each way.

Backward computes from the output, as PyTorch does: of 16 bits, from the rounded one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from xpnet.core.backend import Array
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import activations

FILE = "softmax.cu"
HELD = 4  # pieces a thread, and the threads of a row, as in rows.cuh
LANES = (32, 128, 512)


def _name(way: str, t: Element, vec: int, lanes: int, log: bool) -> str:
    return f"softmax_{way}<{t.ctype}, {vec}, {lanes}, {str(log).lower()}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    return {
        FILE: [
            _name(way, t, vec, lanes, log)
            for t in ELEMENTS.values()
            for vec in (t.vector, 1)
            for lanes in LANES
            for log in (False, True)
            for way in ("forward", "backward")
        ]
    }


@lru_cache(1024)
def _plan(dtype: Any, size: int, n: int, aligned: bool, log: bool) -> tuple[Any, ...] | None:
    """Both kernels, grid, block, and what comes after the arrays; None for rows that no block holds."""
    t, rows = element(dtype), size // n
    assert t is not None
    vec = t.vector if aligned and n % t.vector == 0 else 1
    for lanes in LANES:
        if n <= HELD * vec * lanes:
            block = max(128, lanes)
            forward, backward = (_name(way, t, vec, lanes, log) for way in ("forward", "backward"))
            grid = (loader.ceil_div(rows, block // lanes),)
            return forward, backward, grid, (block,), (loader.int64(rows), loader.int32(n))
    return None


def _softmax(x: Array, axis: int, dim: int | None, dtype: Any, log: bool) -> Any:
    axis = activations.one_axis(axis, dim)
    if (
        element(x.dtype) is None
        or dtype is not None
        or x.ndim == 0
        or x.size == 0
        or axis not in (-1, x.ndim - 1)
    ):
        return NotImplemented
    x, n = loader.contiguous(x), x.shape[-1]
    y = loader.empty(x, x.shape, x.dtype)

    def run(way: int, *arrays: Array) -> bool:
        bits = 0
        for a in arrays:
            bits |= loader.address(a)
        p = _plan(x.dtype, x.size, n, bits % 16 == 0, log)
        if p is None:
            return False
        loader.kernel(FILE, p[way])(p[2], p[3], (*arrays, *p[4]))
        return True

    if not run(0, x, y):
        return NotImplemented

    def pullback(dy: Array) -> Array:
        dy, dx = loader.contiguous(dy), loader.empty(x, x.shape, x.dtype)
        if not run(1, y, dy, dx):  # dy lies askew, and single values of it would be too many
            run(1, y, dy + 0, dx)
        return dx

    return y, pullback


@activations.softmax.kernel("cupy")
def softmax(x: Array, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Any:
    """See `xpnet.functional.softmax`."""
    return _softmax(x, axis, dim, dtype, log=False)


@activations.log_softmax.kernel("cupy")
def log_softmax(x: Array, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Any:
    """See `xpnet.functional.log_softmax`."""
    return _softmax(x, axis, dim, dtype, log=True)
