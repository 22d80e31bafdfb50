"""Convolution of images (N, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

from xpnet.core.arrays import (
    carries_gradients,
    col2im,
    im2col,
    matmul,
    meeting,
    pad,
    sum_in_float32,
    unpad,
    windows,
)
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_name, device, namespace

Result = tuple[Array, Pullback]
Size = int | tuple[int, int]

# elements of the column matrix made at a time: memory stays bounded whatever the batch
_COLUMNS = 1 << 21
_OF_MEMORY = 32  # on a CUDA device they may take this part of its memory


def _most_columns(x: Array) -> int:
    if backend_name(x) != "cupy":
        return _COLUMNS
    return max(_COLUMNS, namespace(x).memory(x.data.device_id) // (_OF_MEMORY * x.dtype.itemsize))


def sizes(value: Any, n: int, name: str, least: int) -> tuple[int, ...]:
    """n whole numbers, from as many or from one for all.

    Raises:
        ValueError: something else, or below `least`.
    """
    given = (value,) * n if isinstance(value, Integral) else value if isinstance(value, tuple | list) else ()
    given = given * n if len(given) == 1 else given
    if len(given) != n or not all(isinstance(v, Integral) and int(v) >= least for v in given):
        several = "a pair" if n == 2 else n
        raise ValueError(
            f"{name} must be an integer of at least {least}, or {several} of them, got {value!r}"
        )
    return tuple(int(v) for v in given)


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """Height and width, from two numbers or from one for both. Raises as `sizes` does."""
    height, width = sizes(value, 2, name, least)
    return height, width


_SAMPLES = {
    1: "sequences of shape (N, C, L) or (C, L)",
    2: "images of shape (N, C, H, W) or (C, H, W)",
    3: "volumes of shape (N, C, D, H, W) or (C, D, H, W)",
}


def check_images(x: Array, name: str, axes: int = 2) -> None:
    """Refuse anything but a batch of images, or of what has another number of axes."""
    if x.ndim != axes + 2:
        raise ValueError(f"{name}: expected {_SAMPLES[axes]}, got {tuple(x.shape)}")


def output_size(x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, name: str) -> Any:
    """Output height and width, floor((n + 2p - d(k - 1) - 1) / s) + 1; or the size along other axes."""
    check_images(x, name, len(kernel))
    size = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    if min(size) < 1:
        raise ValueError(
            f"{name}: {_SAMPLES[len(kernel)].split()[0]} of {tuple(x.shape[2:])} with padding {padding} are "
            f"smaller than the window {kernel} (dilation {dilation})"
        )
    return size


def check_channels(name: str, channels: int, weight: Any, groups: int) -> None:
    """Refuse an input of other channels than those of the weight (O, C / groups, ...)."""
    outputs, depth = weight.shape[:2]
    if groups < 1 or outputs % groups or channels != depth * groups:
        raise ValueError(
            f"{name}: an input of {channels} channels does not fit a weight of shape {tuple(weight.shape)} "
            f"with groups={groups}: it needs {depth * groups} channels, and groups must divide {outputs}"
        )


class Geometry(NamedTuple):
    """The sizes of a convolution, each (down, across): of the window, its steps, the padding, and y."""

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    size: tuple[int, int]


def geometry(x: Array, weight: Array, stride: Size, padding: Size, dilation: Size, groups: int) -> Geometry:
    """The sizes of a convolution.

    Raises:
        ValueError: they do not fit.
    """
    strides, pads, spread = (
        pair(stride, "stride", 1),
        pair(padding, "padding", 0),
        pair(dilation, "dilation", 1),
    )
    if weight.ndim != 4:
        raise ValueError(
            f"conv2d: expected a weight of shape (O, C / groups, kH, kW), got {tuple(weight.shape)}"
        )
    kernel = weight.shape[2:]
    size = output_size(x, kernel, strides, pads, spread, "conv2d")
    check_channels("conv2d", x.shape[1], weight, groups)
    return Geometry((kernel[0], kernel[1]), strides, pads, spread, size)


@differentiable
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Result:
    """Cross-correlation: y[n, o, h, w] = b[o] + sum_cij W[o, c, i, j] x[n, c, s h + d i - p, s w + d j - p].

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, kH, kW).
        bias: (O,) or None.
        stride: step of the window.
        padding: zeros added on every side.
        dilation: distance between the elements of the window.
        groups: O and C are split into this many independent parts.

    Returns:
        (N, O, H', W'), H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.

    Raises:
        ValueError: shapes that do not fit.

    A window becomes a column, and the convolution one matrix product: W (O, C kH kW) times columns
    (C kH kW, n H' W'), for as many samples n at a time as a bounded column matrix holds. The columns are made
    again in the backward pass instead of being kept.

    >>> import xpnet, xpnet.functional as F
    >>> x, w = xpnet.asarray([[[[1.0, 2.0], [3.0, 4.0]]]]), xpnet.asarray([[[[1.0, 1.0], [1.0, 1.0]]]])
    >>> float(F.conv2d(x, w)[0, 0, 0, 0])
    10.0
    """
    xp = meeting("conv2d", x, weight, bias)
    kernel, strides, pads, spread, (height, width) = geometry(x, weight, stride, padding, dilation, groups)
    outputs, depth = weight.shape[:2]
    samples, area = x.shape[0], height * width
    places = windows(kernel, strides, spread, (height, width))
    matrix = xp.reshape(weight, (groups, outputs // groups, depth * math.prod(kernel)))
    step = max(1, _most_columns(x) // max(1, matrix.shape[2] * groups * area))
    chunks = [slice(i, min(i + step, samples)) for i in range(0, samples, step)]

    def columns(chunk: slice) -> Array:
        return im2col(pad_images(x[chunk, ...], pads), places, (height, width), groups)

    def outputs_of(chunk: slice) -> Array:
        product = xp.reshape(matmul(matrix, columns(chunk)), (outputs, -1, height, width))
        if bias is not None:
            product += xp.reshape(bias, (outputs, 1, 1, 1))
        return xp.permute_dims(product, (1, 0, 2, 3))

    def of_all(part: Callable[[slice], Array], shape: tuple[int, ...]) -> Array:
        """What `part` makes of each chunk of samples, one after the other."""
        if chunks and any(carries_gradients(a) for a in (x, weight, bias)):
            return xp.concat([part(chunk) for chunk in chunks], axis=0)
        whole = xp.empty(shape, dtype=x.dtype, device=device(x))
        for chunk in chunks:
            whole[chunk, ...] = part(chunk)
        return whole

    y = of_all(outputs_of, (samples, outputs, height, width))

    def by_output(dy: Array) -> Array:
        """(n, O, H', W') as the rows that the matrix product has: (groups, O / groups, n H' W')."""
        return xp.reshape(xp.permute_dims(dy, (1, 0, 2, 3)), (groups, outputs // groups, dy.shape[0] * area))

    def by_x(dy: Array) -> Array:
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], pads, strict=True))

        def part(chunk: slice) -> Array:
            gradients = matmul(xp.matrix_transpose(matrix), by_output(dy[chunk, ...]))
            shape = (chunk.stop - chunk.start, x.shape[1], *padded)
            return unpad_images(col2im(gradients, places, (height, width), shape), pads)

        return of_all(part, x.shape)

    def by_weight(dy: Array) -> Array:
        total = xp.zeros_like(matrix)
        for chunk in chunks:
            total += matmul(by_output(dy[chunk, ...]), xp.matrix_transpose(columns(chunk)))
        return xp.reshape(total, weight.shape)

    return y, lambda dy: (
        lambda out: by_x(dy),
        lambda out: by_weight(dy),
        lambda out: sum_in_float32(dy, axis=(0, 2, 3)),
    )


def pad_images(x: Array, padding: tuple[int, int], value: float = 0.0) -> Array:
    """x with `padding` rows and columns of `value` on each side; x itself if there are none."""
    return x if padding == (0, 0) else pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], value)


def unpad_images(x: Array, padding: tuple[int, int]) -> Array:
    """The inside of padded images."""
    return x if padding == (0, 0) else unpad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
