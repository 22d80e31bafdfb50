"""Launches kernels/activations.cu: activations, alone or with a bias, and sums over rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.core import arrays
from xpnet.core.backend import Array
from xpnet.core.node import Joint
from xpnet.cuda import layout, loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import activations
from xpnet.functional.linear import bias_activation as bias_activation_op

FILE = "activations.cu"
BLOCK = 256
FEW_ROWS = 1024  # that one block sums up: at most 8 loads of each thread after each other, 5 microseconds
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


@cache
def _alone(way: str, act: str, t: Element) -> str:
    return f"{way}<{act}, {t.ctype}, {t.vector}, {BLOCK}>"


@cache
def _with_bias(act: str, t: Element, vec: int) -> str:
    return f"bias_activation<{act}, {t.ctype}, {vec}, {BLOCK}>"


@cache
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
def both(act: str, t: Element) -> tuple[str, str]:
    """The two kernels of an activation."""
    return _alone("activation", act, t), _alone("activation_gradient", act, t)


@lru_cache(1024)
def flat(act: str, dtype: Any, n: int, p: float) -> tuple[tuple[str, str], tuple[int], Any, Any] | None:
    """Both kernels, grid, parameter and size, for n elements; None if the kernels do not take it."""
    t = element(dtype)
    if t is None or not p >= 0:  # from y alone, the sign of x is known for a alpha of at least 0
        return None
    return both(act, t), (loader.flat_blocks(n, t.vector * BLOCK),), t.scalar(p), np.int64(n)


def elementwise(act: str, x: Array, p: float = 0.0, *, file: str = FILE, keeps_input: bool = False) -> Any:
    """One pass forward and one backward, which is made from the output or from the input."""
    found = flat(act, x.dtype, x.size, p)
    if found is None:
        return NotImplemented
    (forward, backward), grid, parameter, n = found
    x = layout.dense(x)
    y = layout.empty(x.shape, x, not loader.is_contiguous(x))
    if n:
        loader.kernel(file, forward)(grid, (BLOCK,), (x, y, parameter, n))
    kept = x if keeps_input else y
    return y, lambda dy: of_elementwise(dy, kept, file, backward, *found[1:])


def of_elementwise(
    dy: Array, kept: Array, file: str, backward: str, grid: tuple[int], parameter: Any, n: Any
) -> Array:
    """The gradient of the input, from that of the output and what is kept; the launch is that of `flat`."""
    dx = layout.empty(kept.shape, kept, not loader.is_contiguous(kept))
    if n:
        loader.kernel(file, backward)(grid, (BLOCK,), (layout.like(dy, kept), kept, dx, parameter, n))
    return dx


@activations.relu.kernel("cupy")
def relu(x: Array) -> Any:
    """See `xpnet.functional.relu`."""
    return elementwise("ReLU", x)


@activations.leaky_relu.kernel("cupy")
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Any:
    """See `xpnet.functional.leaky_relu`."""
    return elementwise("LeakyReLU", x, negative_slope)


@activations.elu.kernel("cupy")
def elu(x: Array, alpha: float = 1.0) -> Any:
    """See `xpnet.functional.elu`."""
    return elementwise("ELU", x, alpha)


@activations.sigmoid.kernel("cupy")
def sigmoid(x: Array) -> Any:
    """See `xpnet.functional.sigmoid`."""
    return elementwise("Sigmoid", x)


@activations.tanh.kernel("cupy")
def tanh(x: Array) -> Any:
    """See `xpnet.functional.tanh`."""
    return elementwise("Tanh", x)


@activations.gelu.kernel("cupy")
def gelu(x: Array) -> Any:
    """See `xpnet.functional.gelu`."""
    return elementwise("GELU", x, keeps_input=True)


# ---- over the columns of a matrix -------------------------------------------------------------------------


class Tiles(NamedTuple):
    """How a matrix is divided: a block takes `lanes * vec` columns and `chunk` rows."""

    grid: tuple[int, int]
    vec: int
    lanes: np.int32
    chunk: np.int64


@cache
def tiles(
    rows: int, columns: int, vec: int, multiprocessors: int, most: int = 1 << 15, summed: bool = False
) -> Tiles:
    """Blocks to fill the device, as long as every thread has a few rows; at most `most` chunks of rows.

    `summed`: sums of several chunks would have to be added up.
    """
    lanes = min(32, loader.power_of_two(loader.ceil_div(columns, vec)))
    across = loader.ceil_div(columns, lanes * vec)
    fewest = 16 * BLOCK // lanes // vec  # rows: those that the threads read at once
    chunk = max(1, fewest, loader.ceil_div(rows, max(1, min(most, 8 * multiprocessors // across))))
    if summed and rows <= FEW_ROWS:  # one launch, no second one for the sums of chunks
        lanes, chunk = min(lanes, 8), max(1, rows)
        across = loader.ceil_div(columns, lanes * vec)
    grid = across, max(1, loader.ceil_div(rows, chunk))
    return Tiles(grid, vec, loader.int32(lanes), loader.int64(chunk))


def _width(t: Element, columns: int, *arrays: Array | None) -> int:
    """16-byte pieces if every row of every array starts aligned, else single elements."""
    bits = columns * 16 // t.vector
    for a in arrays:
        if a is not None:
            bits |= loader.address(a)
    return 1 if bits % 16 else t.vector


def _bias_gradient(
    act: str,
    t: Element,
    p: float,
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
    name, grid, sizes = _summing(act, t, rows, columns, vec, loader.target().multiprocessors)
    several = grid[1] > 1 or t.scalar != out.dtype
    sums = loader.empty(dy, (grid[1], columns), t.scalar) if several else out
    loader.kernel(FILE, name)(
        grid, (BLOCK,), (dy, loader.int64(ldy), kept, bias, dx, sums, loader.scalar(t.scalar, p), *sizes)
    )
    if several:
        add_parts(t, sums, out)
    return out


@lru_cache(1024)
def _summing(
    act: str, t: Element, rows: int, columns: int, vec: int, multiprocessors: int
) -> tuple[str, tuple[int, int], tuple[Any, ...]]:
    """What `_bias_gradient` launches first: kernel, grid, and what comes last."""
    cut = tiles(rows, columns, vec, multiprocessors, MOST_PARTS, summed=True)
    sizes = loader.int64(rows), loader.int64(columns), cut.lanes, cut.chunk
    return _gradient(act, t, t.wide, vec), cut.grid, sizes


@lru_cache(1024)
def _adding_bias(
    act: str, t: Element, rows: int, columns: int, vec: int, multiprocessors: int
) -> tuple[str, tuple[int, int], tuple[Any, ...]]:
    """What `bias_forward` launches: kernel, grid, and what comes last."""
    cut = tiles(rows, columns, vec, multiprocessors)
    sizes = loader.int64(rows), loader.int64(columns), cut.lanes, cut.chunk
    return _with_bias(act, t, vec), cut.grid, sizes


def add_parts(t: Element, sums: Array, out: Array) -> None:
    """out = the sum of the rows of `sums`, as one chunk."""
    parts, columns = sums.shape
    vec = _width(t.wide, columns, sums)
    name, grid, ld, tail = _adding(t, parts, columns, vec)
    loader.kernel(FILE, name)(grid, (BLOCK,), (sums, ld, None, None, None, out, *tail))


@lru_cache(1024)
def _adding(t: Element, parts: int, columns: int, vec: int) -> tuple[str, tuple[int, int], Any, Any]:
    """What `add_parts` launches: kernel, grid, row stride, and what comes after the arrays."""
    cut = tiles(parts, columns, vec, 1, summed=True)
    ld = np.int64(columns)
    tail = t.scalar(0), np.int64(parts), ld, cut.lanes, np.int64(parts)
    return _gradient("Identity", t.wide, t, vec), (cut.grid[0], 1), ld, tail


@arrays.sum_rows.kernel("cupy")
def sum_rows(x: Array, out: Array | None = None) -> Any:
    """See `xpnet.core.arrays.sum_rows`."""
    t = element(x.dtype)
    if x.ndim != 2 or t is None or x.shape[1] == 0:
        return NotImplemented
    ldx = loader.row_stride(x)
    if ldx is None:
        return NotImplemented
    if out is None or out.dtype != x.dtype or not loader.is_contiguous(out):
        out = loader.empty(x, x.shape[1:], x.dtype)
    return _bias_gradient("Identity", t, 0.0, x, ldx, None, None, None, out)


def slope(activation: str, p: float | None) -> float | None:
    """The parameter of an activation; None if the kernels do not take it."""
    alpha = _DEFAULTS.get(activation, 0.0) if p is None else p
    return alpha if activation in FUNCTIONS and alpha >= 0 else None


_DEFAULTS = {"leaky_relu": 0.01, "elu": 1.0}


def bias_forward(activation: str, t: Element, alpha: float, x: Array, bias: Array) -> Array:
    """y = activation(x + b) of contiguous arrays."""
    columns = x.shape[-1]
    rows = x.size // columns
    y = loader.empty(x, x.shape, x.dtype)
    vec, multiprocessors = _width(t, columns, x, bias, y), loader.target().multiprocessors
    name, grid, sizes = _adding_bias(FUNCTIONS[activation], t, rows, columns, vec, multiprocessors)
    loader.kernel(FILE, name)(grid, (BLOCK,), (x, bias, y, loader.scalar(t.scalar, alpha), *sizes))
    return y


def bias_pullback(
    activation: str, t: Element, alpha: float, kept: Array, bias: Array
) -> Callable[[Array, Array | None], tuple[Array, Array]]:
    """From dy, and room for the second, to the gradients of x and the bias.

    Args:
        activation: its name.
        t: of the arrays.
        alpha: its parameter.
        kept: the output; of gelu x.
        bias: the bias.
    """
    shape, columns = kept.shape, kept.shape[-1]

    def pullback(dy: Array, room: Array | None) -> tuple[Array, Array]:
        dy = loader.contiguous(dy)
        if dy.ndim != 2:
            dy = dy.reshape(kept.size // columns, columns)
        dx = loader.empty(kept, shape, kept.dtype)
        dbias = loader.room(room, bias)
        _bias_gradient(FUNCTIONS[activation], t, alpha, dy, columns, kept, bias, dx, dbias)
        return dx, dbias

    return pullback


@bias_activation_op.kernel("cupy")
def bias_activation(x: Array, bias: Array, activation: str = "relu", p: float | None = None) -> Any:
    """See `xpnet.functional.bias_activation`: one pass forward, one backward with both gradients."""
    t, alpha = element(x.dtype), slope(activation, p)
    if t is None or alpha is None or bias.dtype != x.dtype or x.ndim == 0 or 0 in x.shape:
        return NotImplemented
    if bias.shape != x.shape[-1:]:
        return NotImplemented
    x, bias = loader.contiguous(x), loader.contiguous(bias)
    y = bias_forward(activation, t, alpha, x, bias)
    pullback = bias_pullback(activation, t, alpha, x if activation == "gelu" else y, bias)
    return y, Joint(lambda dy, room: pullback(dy, room.get(1)))
