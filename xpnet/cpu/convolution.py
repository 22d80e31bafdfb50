"""Convolution of float32 images with stride 1; strides, groups and large weights stay with the body."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import compiled, threads
from xpnet.functional import convolution

Pair = tuple[int, int]

# elements of a plane that a thread takes at a time: x of 64 channels is then a quarter of a MiB
_SPAN = 1024
# elements of a weight from which on it leaves the caches, and columns and a matrix product are no slower
_LARGE = 1 << 18
# elements of x below which compiling would take longer than most programs spend here
_LEAST = 1 << 12
# multiply-adds that take as long as one element of the kernels that only pass over memory
_PRODUCTS = 64


@convolution.conv2d.kernel("numpy", _LEAST)
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """The three products without columns; dx is a convolution of dy with the flipped, transposed weight."""
    from xpnet.functional.convolution import output_size, pair

    if x.dtype != np.float32 or weight.dtype != np.float32 or x.ndim != 4 or weight.ndim != 4:
        return NotImplemented
    if groups != 1 or x.shape[1] != weight.shape[1] or pair(stride, "stride", 1) != (1, 1):
        return NotImplemented
    if bias is not None and (bias.dtype != np.float32 or bias.shape != (weight.shape[0],)):
        return NotImplemented
    if weight.size >= _LARGE:
        return NotImplemented
    window, pads, spread = weight.shape[2:], pair(padding, "padding", 0), pair(dilation, "dilation", 1)
    reach = tuple(d * (k - 1) for d, k in zip(spread, window, strict=True))
    if any(p > r for p, r in zip(pads, reach, strict=True)):
        return NotImplemented
    size = output_size(x, window, (1, 1), pads, spread, "conv2d")
    correlate = compiled("convolution", "correlate")
    weight_gradient = compiled("convolution", "weight_gradient")
    if correlate is None or weight_gradient is None:
        return NotImplemented
    x = np.ascontiguousarray(x)
    samples, outputs, terms = x.shape[0], weight.shape[0], math.prod(weight.shape[1:])
    places = samples * math.prod(size)
    work = x.size + places * (outputs + outputs * terms // _PRODUCTS)

    def convolve(a: np.ndarray, w: np.ndarray, b: np.ndarray | None, edges: Pair, shape: Any) -> np.ndarray:
        out = np.empty(shape, np.float32)
        blocks = _by_eights(w)
        biases = np.zeros(blocks.shape[::2], np.float32)
        if b is not None:
            biases.reshape(-1)[: len(b)] = b
        correlate(a, blocks, biases, out, window, edges, spread, _rows(a, edges), threads(), work=work)
        return out

    def by_body(number: int, dy: Array) -> Array:
        """The gradient of x (0) or the weight (1), without zeros between rows: 0 inf is NaN."""
        options = stride, padding, dilation, groups
        return convolution.conv2d.body(x, weight, None, *options)[1](dy)[number](None)

    def by_x(dy: Array) -> Array:
        if not np.isfinite(np.sum(weight)):
            return by_body(0, dy)
        flipped = np.swapaxes(weight, 0, 1)[:, :, ::-1, ::-1]
        edges = (reach[0] - pads[0], reach[1] - pads[1])
        return convolve(np.ascontiguousarray(dy, np.float32), flipped, None, edges, x.shape)

    def by_weight(dy: Array) -> Array:
        dy = np.ascontiguousarray(dy, np.float32)
        sums = weight_gradient(x, dy, window, pads, spread, _rows(x, pads), threads(), work=work)
        dw = np.empty((sums.shape[1], 4, terms), np.float32)
        dw[...] = np.swapaxes(np.sum(sums, axis=0)[:, :terms], 1, 2)
        if not np.isfinite(np.sum(dw)):
            return by_body(1, dy)
        return dw.reshape(-1, terms)[:outputs].reshape(weight.shape)

    def by_bias(dy: Array) -> Array:
        planes = np.sum(dy.reshape(*dy.shape[:2], -1), axis=2, dtype=np.float32)  # in pairs, as rows are long
        return np.sum(planes, axis=0, dtype=np.float64).astype(np.float32)

    return convolve(x, weight, bias, pads, (samples, outputs, *size)), lambda dy: (
        lambda out: by_x(dy),
        lambda out: by_weight(dy),
        lambda out: by_bias(dy),
    )


def _rows(x: np.ndarray, pads: Pair) -> int:
    """How many padded rows a thread takes at a time: about `_SPAN` elements, and as many for each thread."""
    total, width = x.shape[0] * (x.shape[2] + pads[0]), x.shape[3] + pads[1]
    rounds = math.ceil(total * width / (_SPAN * threads()))
    return max(1, math.ceil(total / max(1, rounds * threads())))


def _by_eights(weight: np.ndarray) -> np.ndarray:
    """(O, C, kH, kW) -> (ceil(O / 8), C kH kW, 8), zeros where there is no output."""
    whole, rest = divmod(weight.shape[0], 8)
    out = np.zeros((whole + (rest > 0), *weight.shape[1:], 8), np.float32)
    blocks = np.moveaxis(out, -1, 1)
    blocks[:whole] = weight[: 8 * whole].reshape(whole, 8, *weight.shape[1:])
    blocks[whole:, :rest] = weight[8 * whole :]
    return out.reshape(len(out), -1, 8)
