"""Pooling of images (N, C, H, W): one value for each window; and where windows of any axes are."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import arange, floating, keep, pad, unpad, widen, windows
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import mean
from xpnet.core.places import backend_of, device, namespace
from xpnet.core.registry import fusable
from xpnet.functional.convolution import Size, check_images, output_size, pair, sizes

Result = tuple[Array, Pullback]
Whole = tuple[int, ...]


class Windows(NamedTuple):
    """Where the windows are.

    Attributes:
        kernel: height and width of a window, or its size along the axes of a sequence or volume.
        stride: of the windows.
        padding: before the image.
        size: how many windows there are along each axis.
        widths: all padding, for `pad`: with `ceil_mode` the last windows may need more after the image.
        places: for each element of a window, the index of the values that it meets.
    """

    kernel: Whole
    stride: Whole
    padding: Whole
    size: Whole
    widths: list[tuple[int, int]]
    places: list[tuple[slice, ...]]


def windows_over(
    x: Array,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    name: str,
    axes: int = 2,
) -> Windows:
    """The windows over x, (N, C, and so many axes).

    Raises:
        ValueError: they do not fit.
    """
    check_images(x, name, axes)
    kernel, pads = sizes(kernel_size, axes, "kernel_size", 1), sizes(padding, axes, "padding", 0)
    strides = kernel if stride is None else sizes(stride, axes, "stride", 1)
    spread = sizes(dilation, axes, "dilation", 1)
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(pads, kernel, spread, strict=True)):
        raise ValueError(f"{name}: padding {pads} must be at most half the window {kernel}")
    size, extra = (0,) * axes, [0] * axes
    if not ceil_mode:
        size = output_size(x, kernel, strides, pads, spread, name)
    else:
        for i, (n, k, s, p, d) in enumerate(zip(x.shape[2:], kernel, strides, pads, spread, strict=True)):
            reach = d * (k - 1) + 1
            count = -(-(n + 2 * p - reach) // s) + 1
            if count < 1:
                output_size(x, kernel, strides, pads, spread, name)  # which says what does not fit
            if (count - 1) * s >= n + p:  # a window that would begin behind the image is left out
                count -= 1
            size = (*size[:i], count, *size[i + 1 :])
            extra[i] = max(0, (count - 1) * s + reach - n - 2 * p)
    widths = [(0, 0), (0, 0), *((p, p + e) for p, e in zip(pads, extra, strict=True))]
    return Windows(kernel, strides, pads, size, widths, windows(kernel, strides, spread, size))


def _winners(padded: Array, w: Windows) -> Result:
    """The maximum of each window, and its place in the window."""
    xp = namespace(padded)
    y = padded[w.places[0]] + 0
    kind = xp.uint8 if len(w.places) < 256 else xp.int32
    winner = xp.zeros(y.shape, dtype=kind, device=device(padded))
    for i, place in enumerate(w.places[1:], start=1):
        candidate = padded[place]
        better = (candidate > y) | (candidate != candidate)
        y = xp.where(better, candidate, y)
        winner = xp.where(better, xp.full_like(winner, i), winner)
    return y, winner


@fusable
def max_pool2d_indices(
    x: Array, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
) -> Array:
    """Where each maximum is in its image, as h W + w: (N, C, H', W'), int64."""
    xp = namespace(x)
    w = windows_over(x, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
    padded = pad(x, w.widths, -math.inf) if any(map(any, w.widths)) else x
    winner = xp.astype(_winners(padded, w)[1], xp.int64)
    spread = pair(dilation, "dilation", 1)
    steps = winner // w.kernel[1], winner % w.kernel[1]
    places = []
    for axis in (0, 1):
        first = arange(w.size[axis], x) * w.stride[axis] - w.padding[axis]
        place = xp.reshape(first, (-1, 1) if axis == 0 else (1, -1)) + steps[axis] * spread[axis]
        places.append(xp.where(place < 0, place % spread[axis], place))  # nothing but -inf in the window
    return places[0] * x.shape[3] + places[1]


def _max_pool(x: Array, w: Windows) -> Result:
    xp = namespace(x)
    plain = not any(map(any, w.widths))
    padded = x if plain else pad(x, w.widths, -math.inf)
    y, winner = _winners(padded, w)

    def pullback(dy: Array) -> Array:
        dx = xp.zeros_like(padded)
        for i, place in enumerate(w.places):
            dx[place] += keep(dy, winner == i)
        return dx if plain else unpad(dx, w.widths)

    return y, pullback


@differentiable
def max_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Result:
    """The maximum of each window: the form that kernels take."""
    x = floating("max_pool2d", x)
    return _max_pool(x, windows_over(x, kernel_size, stride, padding, 1, False, "max_pool2d"))


@differentiable
def max_pool2d_spread(
    x: Array, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
) -> Result:
    """The maximum of each window, with dilation and windows that are cut off at the end."""
    x = floating("max_pool2d", x)
    return _max_pool(x, windows_over(x, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d"))


@differentiable
def avg_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Result:
    """The mean of each window; arguments as for the public function."""
    if divisor_override is not None and not divisor_override:
        raise ValueError("avg_pool2d: divisor_override must not be 0")
    xp, x = namespace(x), floating("avg_pool2d", x)
    w = windows_over(x, kernel_size, stride, padding, 1, ceil_mode, "avg_pool2d")
    plain = not any(map(any, w.widths))
    padded = x if plain else pad(x, w.widths)
    fraction = shares(x, w, count_include_pad, divisor_override)
    y = widen(padded[w.places[0]]) + 0  # the sum may be too large for float16, where the mean is not
    for place in w.places[1:]:
        y += padded[place]
    y = xp.astype(y * fraction, x.dtype, copy=False)

    def pullback(dy: Array) -> Array:
        dx, part = xp.zeros_like(padded), xp.astype(dy * fraction, x.dtype, copy=False)
        for place in w.places:
            dx[place] += part
        return dx if plain else unpad(dx, w.widths)

    return y, pullback


@differentiable
def global_avg_pool2d(x: Array) -> Result:
    """The mean over all positions: (N, C, H, W) -> (N, C)."""
    check_images(x, "global_avg_pool2d")
    return mean.body(x, (-2, -1))


def shares(x: Array, w: Windows, count_include_pad: bool, divisor: int | None) -> float | Array:
    """1 / the number of elements that each window counts: a number, or one a window where they differ."""
    if divisor is not None:
        return 1 / divisor
    counts = []
    for n, k, s, p, size in zip(x.shape[2:], w.kernel, w.stride, w.padding, w.size, strict=True):
        ends = [(i * s - p, min(i * s - p + k, n + p)) for i in range(size)]
        counts.append([e - b if count_include_pad else min(e, n) - max(b, 0) for b, e in ends])
    if all(len(set(axis)) <= 1 for axis in counts):
        return 1 / math.prod(axis[0] for axis in counts)
    fractions = 1 / functools.reduce(np.multiply.outer, [np.asarray(axis) for axis in counts])
    return asarray(fractions, dtype_name(widen(x[:0, ...]).dtype), backend=backend_of(x))
