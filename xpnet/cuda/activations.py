"""Launches kernels/activations.cu: activations, alone or with a bias, and sums over rows."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.core import arrays
from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import activations
from xpnet.functional.linear import bias_activation as bias_activation_op

FILE = "activations.cu"
BLOCK = 256
MOST_PARTS = 256  # sums of blocks, which a second launch adds up
FUNCTIONS = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "gelu": "GELU",
}
"""The functor of each activation."""


def _alone(way: str, act: str, t: Element) -> str:
    return f"{way}<{act}, {t.ctype}, {t.vector}, {BLOCK}>"


def _with_bias(act: str, t: Element, vec: int) -> str:
    return f"bias_activation<{act}, {t.ctype}, {vec}, {BLOCK}>"


def _gradient(act: str, t: Element, out: Element, vec: int) -> str:
    return f"bias_gradient<{act}, {t.ctype}, {out.ctype}, {vec}, {BLOCK}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names: set[str] = set()
    for t in ELEMENTS.values():
        for act in FUNCTIONS.values():
            names.update(_alone(way, act, t) for way in ("activation", "activation_gradient"))
            names.update(_with_bias(act, t, vec) for vec in (t.vector, 1))
        for act in (*FUNCTIONS.values(), "Identity"):
            names.update(_gradient(act, t, t.wide, vec) for vec in (t.vector, 1))
        names.update(_gradient("Identity", t.wide, t, vec) for vec in (t.wide.vector, 1))
    return {FILE: sorted(names)}


# ---- elementwise ------------------------------------------------------------------------------------------


@cache
def _both(act: str, t: Element) -> tuple[str, str]:
    """The two kernels of an activation."""
    return _alone("activation", act, t), _alone("activation_gradient", act, t)


def _elementwise(act: str, x: Array, p: float = 0.0) -> Any:
    """One pass forward and one backward, which keeps the output (for gelu the input)."""
    t = element(x.dtype)
    if t is None or not p >= 0:  # from y alone, the sign of x is known for a alpha of at least 0
        return NotImplemented
    forward, backward = _both(act, t)
    xp, x = namespace(x), loader.contiguous(x)
    shape, dtype, n = x.shape, x.dtype, x.size
    grid, tail = (loader.flat_blocks(n, t.vector * BLOCK),), (t.scalar(p), np.int64(n))

    def launch(kernel: str, *arrays: Array) -> Array:
        out = xp.empty(shape, dtype=dtype)
        if n:
            loader.kernel(FILE, kernel)(grid, (BLOCK,), (*arrays, out, *tail))
        return out

    y = launch(forward, x)
    kept = x if act == "GELU" else y
    return y, lambda dy: launch(backward, loader.contiguous(dy), kept)


@activations.relu.kernel("cupy")
def relu(x: Array) -> Any:
    """See `xpnet.functional.relu`."""
    return _elementwise("ReLU", x)


@activations.leaky_relu.kernel("cupy")
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Any:
    """See `xpnet.functional.leaky_relu`."""
    return _elementwise("LeakyReLU", x, negative_slope)


@activations.elu.kernel("cupy")
def elu(x: Array, alpha: float = 1.0) -> Any:
    """See `xpnet.functional.elu`."""
    return _elementwise("ELU", x, alpha)


@activations.sigmoid.kernel("cupy")
def sigmoid(x: Array) -> Any:
    """See `xpnet.functional.sigmoid`."""
    return _elementwise("Sigmoid", x)


@activations.tanh.kernel("cupy")
def tanh(x: Array) -> Any:
    """See `xpnet.functional.tanh`."""
    return _elementwise("Tanh", x)


@activations.gelu.kernel("cupy")
def gelu(x: Array) -> Any:
    """See `xpnet.functional.gelu`."""
    return _elementwise("GELU", x)


# ---- over the columns of a matrix -------------------------------------------------------------------------


class Tiles(NamedTuple):
    """How a matrix is divided: a block takes `lanes * vec` columns and `chunk` rows."""

    grid: tuple[int, int]
    vec: int
    lanes: np.int32
    chunk: np.int64


@cache
def tiles(rows: int, columns: int, vec: int, multiprocessors: int, most: int = 1 << 15) -> Tiles:
    """Blocks to fill the device, as long as every thread has a few rows; at most `most` chunks of rows."""
    lanes = min(32, loader.power_of_two(loader.ceil_div(columns, vec)))
    across = loader.ceil_div(columns, lanes * vec)
    fewest = 16 * BLOCK // lanes // vec  # rows: those that the threads read at once
    chunk = max(1, fewest, loader.ceil_div(rows, max(1, min(most, 8 * multiprocessors // across))))
    return Tiles((across, max(1, loader.ceil_div(rows, chunk))), vec, np.int32(lanes), np.int64(chunk))


def _width(t: Element, columns: int, *arrays: Array | None) -> int:
    """16-byte pieces if every row of every array starts aligned, else single elements."""
    if columns % t.vector:
        return 1
    return t.vector if all(a is None or loader.address(a) % 16 == 0 for a in arrays) else 1


def _bias_gradient(
    act: str,
    t: Element,
    p: Any,
    dy: Array,
    ldy: int,
    kept: Array | None,
    bias: Array | None,
    dx: Array | None,
    out: Array,
) -> Array:
    """dx and the sum of its rows, to `out`: one pass, and a small one over the blocks' sums."""
    rows, columns = dy.shape
    vec = _width(t, columns if ldy % t.vector == 0 else 1, dy, kept, bias, dx)
    cut = tiles(rows, columns, vec, loader.target().multiprocessors, MOST_PARTS)
    several = cut.grid[1] > 1 or t.scalar != out.dtype
    sums = namespace(dy).empty((cut.grid[1], columns), dtype=t.scalar) if several else out
    sizes = (np.int64(rows), np.int64(columns), cut.lanes, cut.chunk)
    run = loader.kernel(FILE, _gradient(act, t, t.wide, vec))
    run(cut.grid, (BLOCK,), (dy, np.int64(ldy), kept, bias, dx, sums, p, *sizes))
    if several:
        _add_parts(t, sums, out)
    return out


def _add_parts(t: Element, sums: Array, out: Array) -> None:
    """out = the sum of the rows of `sums`, as one chunk."""
    parts, columns = sums.shape
    vec = _width(t.wide, columns, sums)
    cut = tiles(1, columns, vec, 1)
    sizes = (np.int64(parts), np.int64(columns), cut.lanes, np.int64(parts))
    args = (sums, np.int64(columns), None, None, None, out, t.scalar(0), *sizes)
    loader.kernel(FILE, _gradient("Identity", t.wide, t, vec))((cut.grid[0], 1), (BLOCK,), args)


@arrays.sum_rows.kernel("cupy")
def sum_rows(x: Array, out: Array | None = None) -> Any:
    """See `xpnet.core.arrays.sum_rows`."""
    t = element(x.dtype)
    if x.ndim != 2 or t is None or x.shape[1] == 0:
        return NotImplemented
    ldx = loader.row_stride(x)
    if ldx is None:
        return NotImplemented
    if out is None or out.dtype != x.dtype or not out.flags.c_contiguous:
        out = namespace(x).empty(x.shape[1], dtype=x.dtype)
    return _bias_gradient("Identity", t, t.scalar(0), x, ldx, None, None, None, out)


@bias_activation_op.kernel("cupy")
def bias_activation(x: Array, bias: Array, activation: str = "relu", p: float | None = None) -> Any:
    """See `xpnet.functional.bias_activation`: one pass forward, one backward with both gradients."""
    t, act = element(x.dtype), FUNCTIONS.get(activation)
    if t is None or act is None or bias.dtype != x.dtype or x.ndim == 0 or 0 in x.shape:
        return NotImplemented
    columns = x.shape[-1]
    alpha = {"leaky_relu": 0.01, "elu": 1.0}.get(activation, 0.0) if p is None else p
    if bias.shape != (columns,) or not alpha >= 0:
        return NotImplemented
    x, bias = loader.contiguous(x), loader.contiguous(bias)
    xp, rows = namespace(x), x.size // columns
    y = xp.empty(x.shape, dtype=x.dtype)
    vec = _width(t, columns, x, bias, y)
    cut = tiles(rows, columns, vec, loader.target().multiprocessors)
    number = t.scalar(alpha)
    run = loader.kernel(FILE, _with_bias(act, t, vec))
    run(cut.grid, (BLOCK,), (x, bias, y, number, np.int64(rows), np.int64(columns), cut.lanes, cut.chunk))
    kept = x if act == "GELU" else y

    def pullback(dy: Array) -> tuple[Array, Array]:
        dy = loader.contiguous(dy).reshape(rows, columns)
        dx, dbias = xp.empty(x.shape, dtype=x.dtype), xp.empty(columns, dtype=x.dtype)
        _bias_gradient(act, t, number, dy, columns, kept, bias, dx, dbias)
        return dx, dbias

    return y, pullback
