"""Convolution and pooling of volumes, in terms of those of images."""

from __future__ import annotations

from typing import Any

from xpnet.core.arrays import arange, windows
from xpnet.core.backend import Array
from xpnet.core.operators import add, getitem, reshape, transpose
from xpnet.core.places import namespace
from xpnet.core.renamed import takes_input
from xpnet.core.structure import col2im
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional import images, spatial
from xpnet.functional.convolution import sizes
from xpnet.functional.padding import constant_pad
from xpnet.functional.pooling import windows_over
from xpnet.functional.spatial import Sizes


@takes_input
def conv3d(
    x: Array | Tensor,
    weight: Array | Tensor,
    bias: Array | Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of volumes: that of images whose channels are those of kD slices each.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        weight: (O, C / groups, kD, kH, kW).
        bias: (O,) or None.
        stride: step of the window.
        padding: zeros added on every side; "same" for the size of x (stride 1), "valid" for none.
        dilation: distance between the elements of the window.
        groups: O and C are split into this many independent parts.

    Returns:
        (N, O, D', H', W') or without N; sizes as of `conv2d`.

    Raises:
        ValueError: shapes that do not fit, "same" with a stride, or an unknown word.

    >>> import xpnet, xpnet.functional as F
    >>> x, w = xpnet.asarray([[[[1.0]], [[2.0]]]]), xpnet.asarray([[[[[1.0]], [[3.0]]]]])
    >>> float(F.conv3d(x, w)[0, 0, 0, 0])
    7.0
    """
    if x.ndim == 4:
        y = conv3d(reshape(x, (1, *x.shape)), weight, bias, stride, padding, dilation, groups)
        return reshape(y, tuple(y.shape[1:]))
    if x.ndim != 5 or weight.ndim != 5:
        raise ValueError(
            "conv3d: expected x of shape (N, C, D, H, W) or (C, D, H, W) and a weight (O, C / groups, kD, "
            f"kH, kW), got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    steps: Any = sizes(stride, 3, "stride", 1)
    spread: Any = sizes(dilation, 3, "dilation", 1)
    if isinstance(padding, str):
        flat = images.padding_widths(padding, tuple(weight.shape[3:]), steps[1:], spread[1:])
        deep = images.padding_widths(padding, (weight.shape[2], 1), (steps[0], 1), (spread[0], 1))[0]
        ends: Any = [deep, *flat]
    else:
        ends = [(p, p) for p in sizes(padding, 3, "padding", 0)]
    before, after = ends[0]
    n, channels, depth, height, width = x.shape
    kernel = weight.shape[2]
    slices = (depth + before + after - spread[0] * (kernel - 1) - 1) // steps[0] + 1
    if slices < 1:
        ends = f"with padding {(before, after)}"
        raise ValueError(f"conv3d: {depth} slices {ends} are fewer than the window's {kernel}")
    if any(side[0] != side[1] for side in ends[1:]):
        x, ends = constant_pad(x, ((0, 0), (0, 0), *ends)), [(0, 0)] * 3
        height, width = x.shape[3:]
    elif before or after:
        x = constant_pad(x, ((0, 0), (0, 0), (before, after), (0, 0), (0, 0)))
    # slice s d + e i of output d and window element i becomes channel (c, i) of image (n, d)
    numbers = [steps[0] * d + spread[0] * i for d in range(slices) for i in range(kernel)]
    if numbers != list(range(x.shape[2])):
        x = getitem(x, (slice(None), slice(None), numbers))
    x = transpose(reshape(x, (n, channels, slices, kernel, height, width)), (0, 2, 1, 3, 4, 5))
    x = reshape(x, (n * slices, channels * kernel, height, width))
    w = reshape(weight, (weight.shape[0], weight.shape[1] * kernel, *weight.shape[3:]))
    rest: Any = (steps[1:], tuple(side[0] for side in ends[1:]), spread[1:], groups)
    y = images.conv2d(x, w, bias, *rest)
    return transpose(reshape(y, (n, slices, *y.shape[1:])), (0, 2, 1, 3, 4))


@takes_input
def conv_transpose3d(
    x: Array | Tensor,
    weight: Array | Tensor,
    bias: Array | Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv3d`: each slice becomes kD slices by that of `conv2d`, added where they belong.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        weight: (C, O / groups, kD, kH, kW).
        bias: (O,) or None.
        stride: step of the window in the output.
        padding: taken off every side of the output.
        output_padding: more of it on its far sides, below stride or dilation.
        groups: C and O are split into this many independent parts.
        dilation: distance between the elements of the window.

    Returns:
        (N, O, D', H', W') or (O, D', H', W'), sizes as of `conv_transpose2d`.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> x, w = xpnet.asarray([[[[1.0]], [[2.0]]]]), xpnet.asarray([[[[[1.0]], [[3.0]]]]])
    >>> F.conv_transpose3d(x, w)[0, :, 0, 0]
    array([1., 5., 6.], dtype=float32)
    """
    if x.ndim == 4:
        options = (stride, padding, output_padding, groups, dilation)
        y = conv_transpose3d(reshape(x, (1, *x.shape)), weight, bias, *options)
        return reshape(y, tuple(y.shape[1:]))
    name = "conv_transpose3d"
    if x.ndim != 5 or weight.ndim != 5:
        raise ValueError(
            f"{name}: expected x of shape (N, C, D, H, W) or (C, D, H, W) and a weight (C, O / groups, kD, "
            f"kH, kW), got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    steps, pads = sizes(stride, 3, "stride", 1), sizes(padding, 3, "padding", 0)
    more, spread = sizes(output_padding, 3, "output_padding", 0), sizes(dilation, 3, "dilation", 1)
    full = spatial.full_size(name, x, weight, steps, pads, more, groups, spread)[0]
    n, channels, depth = x.shape[:3]
    outputs, kernel = weight.shape[1] * groups, weight.shape[2]
    slices = reshape(transpose(x, (0, 2, 1, 3, 4)), (n * depth, channels, *x.shape[3:]))
    w = reshape(weight, (channels, weight.shape[1] * kernel, *weight.shape[3:]))
    y = spatial.conv_transpose2d(slices, w, None, steps[1:], pads[1:], more[1:], groups, spread[1:])
    size, area = tuple(y.shape[2:]), y.shape[2] * y.shape[3]
    y = transpose(reshape(y, (n, depth, outputs, kernel, area)), (2, 3, 0, 1, 4))
    places = windows((kernel, 1), (steps[0], 1), (spread[0], 1), (depth, area))
    y = col2im(y, places, (depth, area), (n, outputs, full, area))
    y = getitem(y, (slice(None), slice(None), slice(pads[0], full - pads[0])))
    y = reshape(y, (n, outputs, full - 2 * pads[0], *size))
    return y if bias is None else add(y, reshape(bias, (outputs, 1, 1, 1)))


def _slices(x: Any) -> Any:
    """(N, C, D, H, W) as images (N, C D, H, W)."""
    return reshape(x, (x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]))


def _columns(y: Any, x: Any) -> Any:
    """Slices (N, C D, H, W) of the volumes x as images of D rows, (N, C, D, H W)."""
    return reshape(y, (*x.shape[:3], y.shape[2] * y.shape[3]))


@takes_input
def max_pool3d(
    x: Array | Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of volumes: of slices, then across them; the first of equal ones is taken.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: added on every side, never chosen; at most half the window.
        dilation: distance between the elements of the window.
        ceil_mode: windows that only begin in the volume count, too.
        return_indices: whether the places of the maxima are wanted, too.

    Returns:
        (N, C, D', H', W') or (C, D', H', W'), sizes as of `max_pool2d`; with `return_indices` the pair of
        this and the places, (d H + h) W + w, int64. The first of equal maxima has the gradient, and NaN wins.

    Raises:
        ValueError: a window larger than the volume, or too much padding.

    >>> import xpnet, xpnet.functional as F
    >>> x = xpnet.asarray([[[[1.0, 2.0]], [[4.0, 3.0]]]])
    >>> y, places = F.max_pool3d(x, (2, 1, 2), return_indices=True)
    >>> y.tolist(), places.tolist()
    ([[[[4.0]]]], [[[[2]]]])
    """
    if x.ndim == 4:
        options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        found = max_pool3d(reshape(x, (1, *x.shape)), *options)
        first = lambda y: reshape(y, tuple(y.shape[1:]))
        return (first(found[0]), found[1][0, ...]) if return_indices else first(found)
    stride = None if stride == () else stride  # PyTorch takes both
    w = windows_over(x, kernel_size, stride, padding, dilation, ceil_mode, "max_pool3d", 3)
    spread = sizes(dilation, 3, "dilation", 1)
    within: Any = (w.kernel[1:], w.stride[1:], w.padding[1:], spread[1:], ceil_mode)
    across: Any = ((w.kernel[0], 1), (w.stride[0], 1), (w.padding[0], 0), (spread[0], 1), ceil_mode)
    shape, flat = (*x.shape[:2], *w.size), _slices(x)
    columns = _columns(images.max_pool2d(flat, *within), x)
    y = reshape(images.max_pool2d(columns, *across), shape)
    if not return_indices:
        return y
    in_slice = images.max_pool2d(array_of(flat), *within, return_indices=True)[1]
    winner = images.max_pool2d(array_of(columns), *across, return_indices=True)[1]  # d H' W' + place in y
    xp, rows = namespace(winner), shape[0] * shape[1]
    area = columns.shape[2] * columns.shape[3]
    start = xp.reshape(arange(rows, winner) * area, (*shape[:2], 1, 1))
    chosen = xp.take(xp.reshape(in_slice, (-1,)), xp.reshape(winner + start, (-1,)))
    places = xp.reshape(winner // columns.shape[3], (-1,)) * (x.shape[3] * x.shape[4]) + chosen
    return y, xp.reshape(places, shape)


@takes_input
def avg_pool3d(
    x: Array | Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of volumes: of slices, then across them.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: zeros added on every side; at most half the window.
        ceil_mode: windows that only begin in the volume count, too.
        count_include_pad: divide by the padding's zeros, too.
        divisor_override: divide by this instead.

    Returns:
        (N, C, D', H', W') or (C, D', H', W'), sizes as of `avg_pool2d`.

    Raises:
        ValueError: a window larger than the volume, too much padding, or a divisor of 0.

    >>> import xpnet, xpnet.functional as F
    >>> F.avg_pool3d(xpnet.asarray([[[[1.0, 2.0]], [[4.0, 3.0]]]]), (2, 1, 2))
    array([[[[2.5]]]], dtype=float32)
    """
    if x.ndim == 4:
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        y = avg_pool3d(reshape(x, (1, *x.shape)), *options)
        return reshape(y, tuple(y.shape[1:]))
    if divisor_override is not None and not divisor_override:
        raise ValueError("avg_pool3d: divisor_override must not be 0")
    stride = None if stride == () else stride  # PyTorch takes both
    w = windows_over(x, kernel_size, stride, padding, 1, ceil_mode, "avg_pool3d", 3)
    rest: Any = (ceil_mode, count_include_pad)
    within: Any = (w.kernel[1:], w.stride[1:], w.padding[1:], *rest, divisor_override)
    across: Any = ((w.kernel[0], 1), (w.stride[0], 1), (w.padding[0], 0), *rest, divisor_override and 1)
    columns = _columns(images.avg_pool2d(_slices(x), *within), x)
    y = images.avg_pool2d(columns, *across)
    return reshape(y, (*x.shape[:2], *w.size))
