"""Launches kernels/convolution.cu: products with the windows of images, which are read where they lie."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import sum_in_float32
from xpnet.core.backend import Array
from xpnet.core.precision import get_matmul_precision
from xpnet.cuda import cudnn, loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import convolution

FILE, DEPTHWISE = "convolution.cu", "depthwise.cu"
BLOCK, TAPS = 256, 9  # of depthwise.cu
ADD = 256  # threads of a block that adds up parts
MOST = (1 << 31) - 1  # elements of an image, of a weight, of one channel
TERMS = 1 << 21  # of a sum for y or dx
BEYOND = 1 << 20  # how far an index may run past the end


class Tile(NamedTuple):
    """The part of a product that a block makes.

    Attributes:
        rows: of it.
        columns: of it.
        down: rows of a thread's part, or of a warp's on tensor cores.
        across: columns of that.
        depth: terms that are staged at a time.
    """

    rows: int
    columns: int
    down: int
    across: int
    depth: int

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows // self.down * (self.columns // self.across) * (32 if self.on_tensor_cores else 1)

    @property
    def on_tensor_cores(self) -> bool:
        """Whether a part is a warp's."""
        return self.down >= 16

    @property
    def work(self) -> float:
        """Instructions for one term, up to a factor: its products, and about ten to bring each element."""
        return self.rows * self.columns / (8 if self.on_tensor_cores else 1) + 10 * (self.rows + self.columns)

    def cut(self, rows: int, columns: int) -> tuple[int, int]:
        """How many tiles a product has: across, down."""
        return loader.ceil_div(columns, self.columns), loader.ceil_div(rows, self.rows)


FACTORS = {"float32": "float", "tf32": "tf32", "bf16": "__nv_bfloat16"}
"""What float32 factors are rounded to, by `matmul_precision`."""


@cache
def tiles(t: Element, arch: int, precision: str = "float32") -> tuple[tuple[Tile, ...], tuple[Tile, ...]]:
    """For y and dx, and for dW: from the largest to the smallest."""
    if arch >= 80 and (t.dtype in ("float16", "bfloat16") or precision != "float32"):
        depth = (
            8 if t.dtype == "float32" and precision == "tf32" else 16
        )  # of the largest: registers are scarce
        return (
            (
                *(Tile(128, 128, 32, 64, depth), Tile(64, 128, 32, 32, 16)),
                *(Tile(32, 64, 16, 32, 16), Tile(16, 128, 16, 32, 16)),
            ),
            (Tile(64, 64, 32, 32, 2 * depth), Tile(16, 64, 16, 16, 32)),
        )
    large = () if t.dtype == "float64" else (Tile(128, 128, 8, 8, 8), Tile(64, 128, 4, 8, 8))
    return (
        (*large, Tile(32, 64, 4, 4, 8), Tile(16, 128, 4, 4, 8)),
        (Tile(64, 64, 8, 4, 16), Tile(16, 64, 4, 4, 16)),
    )


def _factor(t: Element, precision: str) -> str:
    """The C++ name of what a product takes."""
    return FACTORS[precision] if t.dtype == "float32" else t.ctype


def _correlate(t: Element, factor: str, tile: Tile, back: bool) -> str:
    return f"correlate<{t.ctype}, {factor}, {', '.join(map(str, tile))}, {str(back).lower()}>"


def _weight_gradient(t: Element, factor: str, tile: Tile) -> str:
    return f"weight_gradient<{t.ctype}, {factor}, {', '.join(map(str, tile))}>"


def _depthwise(t: Element) -> tuple[str, str]:
    return f"depthwise<{t.ctype}, false, {BLOCK}>", f"depthwise<{t.ctype}, true, {BLOCK}>"


def _depthwise_weight(t: Element) -> str:
    return f"depthwise_weight<{t.ctype}, {BLOCK}>"


@cache
def _add(t: Element) -> str:
    return f"add_parts<{t.ctype}, {ADD}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names = []
    for t in ELEMENTS.values():
        for precision in FACTORS if t.dtype == "float32" and arch >= 80 else ("float32",):
            for_images, for_weight = tiles(t, arch, precision)
            factor = _factor(t, precision)
            names += [_correlate(t, factor, tile, back) for tile in for_images for back in (False, True)]
            names += [_weight_gradient(t, factor, tile) for tile in for_weight]
        names.append(_add(t))
    alone = [name for t in ELEMENTS.values() for name in (*_depthwise(t), _depthwise_weight(t))]
    return {FILE: names, DEPTHWISE: alone}


class Launch(NamedTuple):
    """A kernel with its grid, its block and its file."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int]
    file: str = FILE


class Plan(NamedTuple):
    """What a convolution launches, and the sizes that its kernels take.

    Attributes:
        shape: of x, y, window, stride, padding, dilation and groups, as in XP_SHAPE.
        output: the shape of y.
        forward: makes y.
        backward: makes dx.
        weight: makes the sums of dW over `chunk` places of y in each of `parts`.
    """

    shape: tuple[np.int32, ...]
    output: tuple[int, int, int, int]
    forward: Launch
    backward: Launch
    weight: Launch
    parts: int
    chunk: np.int32


@lru_cache(512)
def plan(
    t: Element,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    arch: int,
    multiprocessors: int,
    precision: str = "float32",
) -> Plan | None:
    """How to convolve arrays of these shapes; None if the kernels cannot count so far.

    Raises:
        ValueError: they do not fit.
    """
    g = convolution.geometry(loader.Shaped(x), loader.Shaped(weight), stride, padding, dilation, groups)
    n, c, h, w = x
    o, depth, r, s = weight
    p, q = g.size
    rows, classes, all_places = o // groups, math.prod(g.stride), n * p * q
    # of dx, in the largest of its classes
    places = n * math.prod(loader.ceil_div(size, step) for size, step in zip((h, w), g.stride, strict=True))
    counted = max(c * h * w, o * p * q, math.prod(weight), all_places + BEYOND, places * classes + BEYOND)
    if counted > MOST or 0 in weight or max(o, depth) * r * s > TERMS:
        return None
    for_images, for_weight = tiles(t, arch, precision)
    factor = _factor(t, precision)

    def correlate(back: bool, rows: int, columns: int, deep: int) -> Launch:
        """With the tile that takes least time when a multiprocessor makes one after the other."""
        rounds = lambda tile: loader.ceil_div(math.prod(tile.cut(rows, columns)) * deep, multiprocessors)
        tile = min(for_images, key=lambda tile: rounds(tile) * tile.work)
        return Launch(_correlate(t, factor, tile, back), (*tile.cut(rows, columns), deep), (tile.threads,))

    def weight_gradient() -> tuple[Launch, int, int]:
        """The launch, how many parts of the places it sums, and how many places each has."""
        tile = min(for_weight, key=lambda tile: math.prod(tile.cut(rows, depth * r * s)) * tile.work)
        across, down = tile.cut(rows, depth * r * s)
        chunk, parts = cut(tile.depth, across * down * groups)
        kernel = _weight_gradient(t, factor, tile)
        return Launch(kernel, (across * parts, down, groups), (tile.threads,)), parts, chunk

    def cut(step: int, blocks: int) -> tuple[int, int]:
        """Places a part, and parts, to fill the device four times; a part is 16 steps at least."""
        wanted = min(loader.ceil_div(4 * multiprocessors, blocks), max(1, all_places // (16 * step)))
        chunk = loader.ceil_div(loader.ceil_div(all_places, wanted), step) * step
        return chunk, max(1, loader.ceil_div(all_places, max(1, chunk)))

    if depth == 1 and groups > 1:
        taps = loader.ceil_div(r * s, TAPS)
        chunk, parts = cut(BLOCK, o * taps)
        forward, backward = (
            Launch(kernel, (loader.ceil_div(area, BLOCK), planes, n), (BLOCK,), DEPTHWISE)
            for kernel, area, planes in zip(_depthwise(t), (p * q, h * w), (o, c), strict=True)
        )
        gradient = Launch(_depthwise_weight(t), (parts, o, taps), (BLOCK,), DEPTHWISE)
    else:
        forward = correlate(False, rows, n * p * q, groups)
        backward = correlate(True, depth, places, groups * classes)
        gradient, parts, chunk = weight_gradient()
    numbers = (n, c, h, w, o, p, q, r, s, *g.stride, *g.padding, *g.dilation, groups)
    shape = tuple(map(np.int32, numbers))
    made = Plan(shape, (n, o, p, q), forward, backward, gradient, parts, loader.int32(chunk))
    grids = [launch.grid for launch in (made.forward, made.backward, made.weight)]
    return made if all(g[0] <= MOST and max(g[1:]) < 1 << 16 for g in grids) else None


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@convolution.conv2d.kernel("cupy")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """See `xpnet.functional.conv2d`: a launch each for y and dx, one with a small one for dW and db."""
    t = element(x.dtype)
    if t is None or weight.dtype != x.dtype or x.ndim != 4 or weight.ndim != 4:
        return NotImplemented
    if bias is not None and (bias.dtype != x.dtype or bias.shape != weight.shape[:1]):
        return NotImplemented
    if not loader.is_replaced() and cudnn.is_wanted(x, weight, stride, groups):
        g = convolution.geometry(x, weight, stride, padding, dilation, groups)
        found = cudnn.conv2d(x, weight, bias, g)
        if found is not NotImplemented:
            return found
    here = loader.target()
    options = (_hashable(stride), _hashable(padding), _hashable(dilation), groups)
    rounded = t.dtype == "float32" and here.arch >= 80 and get_matmul_precision() != "float32"
    precision = get_matmul_precision() if rounded else "float32"
    made = plan(t, x.shape, weight.shape, *options, here.arch, here.multiprocessors, precision)
    if made is None:
        return NotImplemented
    x, weight = loader.contiguous(x), loader.contiguous(weight)

    def run(launch: Launch, *args: Any) -> None:
        loader.kernel(launch.file, launch.kernel)(launch.grid, launch.block, (*args, *made.shape))

    y = loader.empty(x, made.output, x.dtype)
    if y.size:
        run(made.forward, x, weight, None if bias is None else loader.contiguous(bias), y)

    def by_x(dy: Array) -> Array:
        dx = loader.empty(x, x.shape, x.dtype)
        if dx.size:
            run(made.backward, dy, weight, None, dx)
        return dx

    def pullback(dy: Array) -> Any:
        dy = loader.contiguous(dy)
        with_bias = bias is not None and not rounded  # a sum of dy as it is
        length = weight.size + (weight.shape[0] if with_bias else 0)
        sums: list[Array] = []

        def total(like: Array, first: int, out: Array | None) -> Array:
            """The sum over all parts, from an element on; the parts are made for weight and bias at once."""
            if not sums:
                sums.append(loader.empty(x, (made.parts, length), t.scalar))
                run(made.weight, x, dy, sums[0], loader.int32(with_bias), made.chunk)
            out = loader.room(None if out is None or out.shape != like.shape else out, like)
            lanes = min(ADD, max(32, ADD // loader.power_of_two(made.parts)))
            sizes = (*map(loader.int64, (like.size, length)), *map(loader.int32, (made.parts, lanes)))
            grid = (loader.ceil_div(like.size, lanes),)
            loader.kernel(FILE, _add(t))(grid, (ADD,), (sums[0], loader.int64(first), out, *sizes))
            return out

        return (
            lambda out: by_x(dy),
            lambda out: total(weight, 0, out),
            lambda out: total(bias, weight.size, out) if with_bias else sum_in_float32(dy, axis=(0, 2, 3)),
        )

    return y, pullback
