"""Convolution of float32 images, with any stride, padding, dilation and groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.recording import by_values
from xpnet.cpu.launch import NOT_EMPTY, empty, run, single
from xpnet.functional import convolution
from xpnet.functional.linear import linear

Pair = tuple[int, int]

# elements of an image with its padding above which the body says that there is no memory for it
_MOST = 1 << 31

# channels of a group below which a vector of them is mostly empty
_LEAST = 4


@convolution.conv2d.kernel("numpy", NOT_EMPTY)
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """The three products without columns."""
    from xpnet.functional.convolution import output_size, pair

    if x.dtype != np.float32 or weight.dtype != np.float32 or x.ndim != 4 or weight.ndim != 4:
        return NotImplemented
    samples, channels, height, width = x.shape
    outputs, inputs, *window = weight.shape
    if groups < 1 or channels != groups * inputs or outputs % groups or not weight.size:
        return NotImplemented
    if groups > 1 and min(inputs, outputs // groups) < _LEAST:
        return NotImplemented
    if bias is not None and (bias.dtype != np.float32 or bias.shape != (outputs,)):
        return NotImplemented
    steps, pads, gaps = pair(stride, "stride", 1), pair(padding, "padding", 0), pair(dilation, "dilation", 1)
    size = output_size(x, tuple(window), steps, pads, gaps, "conv2d")
    if [height, width] == window and groups == 1 and not any(pads):
        return _affine(single(x), single(weight), bias)
    framed = [n + 2 * p for n, p in zip((height, width), pads, strict=True)]
    if framed[0] * framed[1] * channels > _MOST:
        return NotImplemented
    # where these are larger there is one window, or one element of it, in an axis
    limited = [min(a, n) for a, n in zip((*steps, *gaps), framed * 2, strict=True)]
    sizes = np.array(
        [samples, channels, height, width, outputs, *size, *window, *pads, *limited, groups], np.int64
    )
    x, weight = single(x), single(weight)
    y = empty((samples, outputs, *size), np.float32)
    run("correlate", x, weight, None if bias is None else single(bias), y, sizes)

    def pullback(dy: Array) -> tuple[Any, ...]:
        dy = single(dy)

        def by_x(out: Array | None) -> Array:
            dx = np.empty_like(x)
            _gradient_of_input(dx, x, weight, dy, sizes, (stride, padding, dilation, groups))
            return dx

        def by_weight(out: Array | None) -> Array:
            dw = np.empty_like(weight)
            run("weight_gradient", x, dw, None, dy, sizes)
            return dw

        def by_bias(out: Array | None) -> Array:
            rows = dy.reshape(samples, outputs, -1)
            planes = np.sum(rows, axis=2, dtype=np.float32)  # in pairs, rows are long
            return np.sum(planes, axis=0, dtype=np.float64).astype(np.float32)

        return by_x, by_weight, by_bias

    return y, pullback


@by_values
def _gradient_of_input(dx: Array, x: Array, weight: Array, dy: Array, sizes: Array, options: Any) -> None:
    """dx; by the body where a weight is not finite: 0 inf is NaN, and the kernel puts zeros around dy."""
    if np.isfinite(np.sum(weight)):
        run("input_gradient", dx, weight, None, dy, sizes)
    else:
        np.copyto(dx, convolution.conv2d.body(x, weight, None, *options)[1](dy)[0](None))


def _affine(x: Array, weight: Array, bias: Array | None) -> Any:
    """A window as large as the image meets every pixel once: y = W x + b, without the zeros around dy."""
    rows, matrix = x.reshape(x.shape[0], -1), weight.reshape(weight.shape[0], -1)
    y, of_rows = linear.body(rows, matrix, bias)

    def pullback(dy: Array) -> tuple[Any, ...]:
        dx, dw, dbias = of_rows(single(dy).reshape(y.shape))
        return lambda out: dx(None).reshape(x.shape), lambda out: dw(None).reshape(weight.shape), dbias

    return y[:, :, None, None], pullback
