"""Convolution and pooling of sequences, in terms of those of images; and transposed convolutions of both."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import col2im, matmul, meeting, pad, sum_in_float32, unpad, windows
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable, inside
from xpnet.core.operators import reshape
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional import convolution, images
from xpnet.functional.convolution import pair, sizes

Sizes = int | tuple[int, ...]


def _row(value: Any, name: str, least: int, beside: int) -> tuple[int, int]:
    """A size of a sequence as one of an image of height 1."""
    return beside, sizes(value, 1, name, least)[0]


def _sequence(name: str, x: Any) -> Any:
    """(N, C, L) or (C, L) as images of height 1."""
    if x.ndim not in (2, 3):
        raise ValueError(f"{name}: expected x of shape (N, C, L) or (C, L), got {tuple(x.shape)}")
    return reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def _flat(y: Any) -> Any:
    return reshape(y, (*y.shape[:-2], y.shape[-1]))


@takes_input
def conv1d(
    x: Array | Tensor,
    weight: Array | Tensor,
    bias: Array | Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of sequences: y[n, o, l] = b[o] + sum_ci W[o, c, i] x[n, c, s l + d i - p].

    Args:
        x: (N, C, L) or (C, L).
        weight: (O, C / groups, K).
        bias: (O,) or None.
        stride: step of the window.
        padding: zeros added at both ends; "same" for the length of x (stride 1), "valid" for none.
        dilation: distance between the elements of the window.
        groups: O and C are split into this many independent parts.

    Returns:
        (N, O, L') or (O, L'), L' = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1.

    Raises:
        ValueError: shapes that do not fit, "same" with a stride, or an unknown word.

    >>> import xpnet, xpnet.functional as F
    >>> F.conv1d(xpnet.asarray([[1.0, 2.0, 4.0]]), xpnet.asarray([[[1.0, -1.0]]]))
    array([[-1., -2.]], dtype=float32)
    """
    if weight.ndim != 3:
        raise ValueError(f"conv1d: expected a weight of shape (O, C / groups, K), got {tuple(weight.shape)}")
    padding = padding if isinstance(padding, str) else _row(padding, "padding", 0, 0)
    stride, dilation = _row(stride, "stride", 1, 1), _row(dilation, "dilation", 1, 1)
    if x.ndim in (2, 3):
        convolution.check_channels("conv1d", x.shape[-2], weight, groups)
    if not isinstance(padding, str) and x.ndim == 3:
        convolution.output_size(x, weight.shape[2:], stride[1:], padding[1:], dilation[1:], "conv1d")
    x = _sequence("conv1d", x)
    return _flat(images.conv2d(x, _sequence("conv1d", weight), bias, stride, padding, dilation, groups))


def full_size(
    name: str,
    x: Any,
    weight: Any,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int,
    dilation: tuple[int, ...],
) -> list[int]:
    """The size of a transposed convolution's output with its padding, which is to be taken off.

    Raises:
        ValueError: sizes that do not fit.
    """
    channels, size, kernel = x.shape[1], x.shape[2:], weight.shape[2:]
    if weight.shape[0] != channels or groups < 1 or channels % groups:
        raise ValueError(
            f"{name}: an input of {channels} channels does not fit a weight of shape {tuple(weight.shape)} "
            f"with groups={groups}: it needs {weight.shape[0]} channels, and groups must divide them"
        )
    if any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise ValueError(f"{name}: output_padding {output_padding} must be below stride or dilation")
    full = [
        max((h - 1) * s + d * (k - 1) + 1 + o, 0)
        for h, s, d, k, o in zip(size, stride, dilation, kernel, output_padding, strict=True)
    ]
    if any(f - 2 * p < 1 for f, p in zip(full, padding, strict=True)):
        raise ValueError(f"{name}: padding {padding} leaves nothing of {tuple(full)}")
    return full


@differentiable
def transposed(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    groups: int,
    dilation: tuple[int, int],
) -> tuple[Array, Pullback]:
    """The transpose of `conv2d`: each value is spread over a window; the gradient is `conv2d` again."""
    xp = meeting("conv_transpose2d", x, weight, bias)
    name = "conv_transpose2d"
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"{name}: expected x of shape (N, C, H, W) or (C, H, W) and a weight (C, O / groups, kH, kW), "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    full = full_size(name, x, weight, stride, padding, output_padding, groups, dilation)
    n, channels, *size = x.shape
    kernel, outputs = tuple(weight.shape[2:]), weight.shape[1] * groups
    places = windows(kernel, stride, dilation, tuple(size))
    matrix = xp.reshape(weight, (groups, channels // groups, outputs // groups * math.prod(kernel)))
    rows = xp.reshape(xp.permute_dims(x, (1, 0, 2, 3)), (groups, channels // groups, n * math.prod(size)))
    columns = matmul(xp.matrix_transpose(matrix), rows)
    widths = [(0, 0), (0, 0), *((p, p) for p in padding)]
    y = unpad(col2im(columns, places, tuple(size), (n, outputs, *full)), widths)
    if bias is not None:
        y = y + xp.reshape(bias, (outputs, 1, 1))

    def pullback(dy: Array) -> tuple[Any, ...]:
        seen, of_conv = inside(convolution.conv2d, dy, weight, None, stride, padding, dilation, groups)
        seen = seen[:, :, : size[0], : size[1]]  # output_padding may add a window

        def by_weight() -> Array:
            wide = tuple((0, a - b) for a, b in zip(whole, size, strict=True))
            given = pad(x, [(0, 0), (0, 0), *wide]) if any(map(any, wide)) else x
            found = of_conv(given)[1]
            return found(None) if callable(found) else found

        whole = [
            (f - d * (k - 1) - 1) // s + 1 for f, s, d, k in zip(full, stride, dilation, kernel, strict=True)
        ]
        return (
            lambda out: seen,
            lambda out: by_weight(),
            lambda out: sum_in_float32(dy, axis=(0, 2, 3)),
        )

    return y, pullback


@takes_input
def conv_transpose2d(
    x: Array | Tensor,
    weight: Array | Tensor,
    bias: Array | Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv2d` (Zeiler et al., 2010): what its gradient does with that of its output.

    Args:
        x: (N, C, H, W) or (C, H, W).
        weight: (C, O / groups, kH, kW).
        bias: (O,) or None.
        stride: step of the window in the output.
        padding: rows and columns taken off every side of the output.
        output_padding: more of them on its far sides, below stride or dilation.
        groups: C and O are split into this many independent parts.
        dilation: distance between the elements of the window.

    Returns:
        (N, O, H', W') or (O, H', W'), H' = (H - 1) stride - 2 padding + dilation (kH - 1) + 1 +
        output_padding.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> F.conv_transpose2d(xpnet.asarray([[[1.0, 2.0]]]), xpnet.asarray([[[[1.0, 3.0]]]]))
    array([[[1., 5., 6.]]], dtype=float32)
    """
    name = "conv_transpose2d"
    steps, pads = pair(stride, "stride", 1), pair(padding, "padding", 0)
    more, spread = pair(output_padding, "output_padding", 0), pair(dilation, "dilation", 1)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: expected x of shape (N, C, H, W) or (C, H, W), got {tuple(x.shape)}")
    batch = x if x.ndim == 4 else reshape(x, (1, *x.shape))
    y = transposed(batch, weight, bias, steps, pads, more, groups, spread)
    return y if x.ndim == 4 else reshape(y, tuple(y.shape[1:]))


@takes_input
def conv_transpose1d(
    x: Array | Tensor,
    weight: Array | Tensor,
    bias: Array | Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv1d`.

    Args:
        x: (N, C, L) or (C, L).
        weight: (C, O / groups, K).
        bias: (O,) or None.
        stride: step of the window in the output.
        padding: places taken off both ends of the output.
        output_padding: more of them at its end, below stride or dilation.
        groups: C and O are split into this many independent parts.
        dilation: distance between the elements of the window.

    Returns:
        (N, O, L') or (O, L'), L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> F.conv_transpose1d(xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([[[1.0, 3.0]]]))
    array([[1., 5., 6.]], dtype=float32)
    """
    name = "conv_transpose1d"
    steps, pads = _row(stride, "stride", 1, 1), _row(padding, "padding", 0, 0)
    more, spread = _row(output_padding, "output_padding", 0, 0), _row(dilation, "dilation", 1, 1)
    if weight.ndim != 3:
        raise ValueError(f"{name}: expected a weight of shape (C, O / groups, K), got {tuple(weight.shape)}")
    if x.ndim in (2, 3):
        batch = x if x.ndim == 3 else reshape(x, (1, *x.shape))
        full_size(name, batch, weight, steps[1:], pads[1:], more[1:], groups, spread[1:])
    options = (steps, pads, more, groups, spread)
    return _flat(conv_transpose2d(_sequence(name, x), _sequence(name, weight), bias, *options))


@takes_input
def max_pool1d(
    x: Array | Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of sequences; the first of equal maxima gets the gradient. NaN wins.

    Args:
        x: (N, C, L) or (C, L).
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: added at both ends, never chosen; at most half the window.
        dilation: distance between the elements of the window.
        ceil_mode: windows that only begin in the sequence count, too.
        return_indices: whether the places of the maxima are wanted, too.

    Returns:
        (N, C, L') or (C, L'); with `return_indices` the pair of this and the places, int64.

    Raises:
        ValueError: a window larger than the sequence, or too much padding.

    >>> import xpnet, xpnet.functional as F
    >>> F.max_pool1d(xpnet.asarray([[1.0, 2.0, 4.0, 3.0]]), 2)
    array([[2., 4.]], dtype=float32)
    """
    steps = None if stride is None or stride == () else _row(stride, "stride", 1, 1)
    kernel, pads = _row(kernel_size, "kernel_size", 1, 1), _row(padding, "padding", 0, 0)
    rest: Any = (steps, pads, _row(dilation, "dilation", 1, 1), ceil_mode)
    x = _sequence("max_pool1d", x)
    if return_indices:
        y, places = images.max_pool2d(x, kernel, *rest, return_indices=True)
        return _flat(y), _flat(places)
    return _flat(images.max_pool2d(x, kernel, *rest))


@takes_input
def avg_pool1d(
    x: Array | Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of sequences.

    Args:
        x: (N, C, L) or (C, L).
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: zeros added at both ends; at most half the window.
        ceil_mode: windows that only begin in the sequence count, too.
        count_include_pad: divide by the padding's zeros, too.

    Returns:
        (N, C, L') or (C, L').

    Raises:
        ValueError: a window larger than the sequence, or too much padding.

    >>> import xpnet, xpnet.functional as F
    >>> F.avg_pool1d(xpnet.asarray([[1.0, 2.0, 4.0, 3.0]]), 2)
    array([[1.5, 3.5]], dtype=float32)
    """
    steps = None if stride is None or stride == () else _row(stride, "stride", 1, 1)
    kernel, pads = _row(kernel_size, "kernel_size", 1, 1), _row(padding, "padding", 0, 0)
    y = images.avg_pool2d(_sequence("avg_pool1d", x), kernel, steps, pads, ceil_mode, count_include_pad)
    return _flat(y)


def bilinear(
    input1: Array | Tensor, input2: Array | Tensor, weight: Array | Tensor, bias: Array | Tensor | None = None
) -> Tensor:
    """y_o = x1^T W_o x2 + b_o.

    Args:
        input1: (..., in1).
        input2: (..., in2), the same leading axes.
        weight: (out, in1, in2).
        bias: (out,) or None.

    Returns:
        (..., out).

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> F.bilinear(xpnet.asarray([[2.0]]), xpnet.asarray([[3.0]]), xpnet.asarray([[[0.5]]]))
    array([[3.]], dtype=float32)
    """
    if (
        weight.ndim != 3
        or not min(input1.ndim, input2.ndim)
        or tuple(input1.shape[:-1]) != tuple(input2.shape[:-1])
        or (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:])
    ):
        raise ValueError(
            f"bilinear: inputs of shapes {tuple(input1.shape)} and {tuple(input2.shape)} do not fit a "
            f"weight of shape {tuple(weight.shape)}: (..., in1), (..., in2) and (out, in1, in2)"
        )
    return two_sided(input1, input2, weight, bias)


@differentiable
def two_sided(a: Array, b: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Pullback]:
    """y_o = a^T W_o b + b_o, the products with W as those of one matrix."""
    xp = meeting("bilinear", a, weight, bias)
    meeting("bilinear", b, weight, None)
    outputs, m, n = weight.shape
    lead, count = tuple(a.shape[:-1]), math.prod(a.shape[:-1])
    p, q = xp.reshape(a, (count, m)), xp.reshape(b, (count, n))
    of_left = xp.reshape(xp.permute_dims(weight, (1, 0, 2)), (m, outputs * n))
    half = xp.reshape(matmul(p, of_left), (count, outputs, n))  # a^T W
    y = xp.sum(half * q[:, None, :], axis=-1, dtype=a.dtype)
    if bias is not None:
        y = y + bias

    def pullback(dy: Array) -> tuple[Any, ...]:
        g = xp.reshape(dy, (count, outputs))
        outer = lambda: xp.reshape(g[:, :, None] * q[:, None, :], (count, outputs * n))

        def by_weight() -> Array:
            return xp.permute_dims(xp.reshape(matmul(p.T, outer()), (m, outputs, n)), (1, 0, 2))

        return (
            lambda out: xp.reshape(matmul(outer(), of_left.T), a.shape),
            lambda out: xp.reshape(xp.sum(half * g[:, :, None], axis=1, dtype=b.dtype), b.shape),
            lambda out: by_weight(),
            lambda out: sum_in_float32(g, axis=0),
        )

    return xp.reshape(y, (*lead, outputs)), pullback
