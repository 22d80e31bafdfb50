"""Convolution and pooling as PyTorch offers them: of batches and of single images, with every option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from xpnet.core.arrays import pad, unpad
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import reshape
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional import convolution, pooling
from xpnet.functional.convolution import Size, pair
from xpnet.functional.public import of


def _on_images(op: Callable[..., Any], x: Any, *arguments: Any) -> Any:
    """`op` of a batch; one image (C, H, W) is a batch of one."""
    if x.ndim != 3:
        return op(x, *arguments)
    y = op(reshape(x, (1, *x.shape)), *arguments)
    return reshape(y, tuple(y.shape[1:]))


def _indices(x: Array, *arguments: Any) -> Array:
    if x.ndim != 3:
        return pooling.max_pool2d_indices(x, *arguments)
    return pooling.max_pool2d_indices(x[None, ...], *arguments)[0, ...]


@differentiable
def zero_pad(x: Array, widths: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Array, Pullback]:
    """Zeros above and below, left and right of images (N, C, H, W)."""
    full = [(0, 0), (0, 0), *widths]
    return pad(x, full), lambda dy: unpad(dy, full)


@takes_input
@of(convolution.conv2d)
def conv2d(
    x: Array | Tensor,
    weight: Array | Tensor,
    bias: Array | Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation: y[n, o, h, w] = b[o] + sum_cij W[o, c, i, j] x[n, c, s h + d i - p, s w + d j - p].

    Args:
        x: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, kH, kW).
        bias: (O,) or None.
        stride: step of the window.
        padding: zeros added on every side; "same" for the size of x (stride 1), "valid" for none.
        dilation: distance between the elements of the window.
        groups: O and C are split into this many independent parts.

    Returns:
        (N, O, H', W') or (O, H', W'), H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.

    Raises:
        ValueError: shapes that do not fit, "same" with a stride, or an unknown word.

    >>> import xpnet, xpnet.functional as F
    >>> x, w = xpnet.asarray([[[[1.0, 2.0], [3.0, 4.0]]]]), xpnet.asarray([[[[1.0, 1.0], [1.0, 1.0]]]])
    >>> float(F.conv2d(x, w)[0, 0, 0, 0])
    10.0
    >>> F.conv2d(x, w, padding="same").shape
    (1, 1, 2, 2)
    """
    if not isinstance(padding, str):
        return _on_images(convolution.conv2d, x, weight, bias, stride, padding, dilation, groups)
    widths = padding_widths(padding, tuple(weight.shape[2:]), stride, dilation)
    if all(before == after for before, after in widths):
        even = (widths[0][0], widths[1][0])
        return _on_images(convolution.conv2d, x, weight, bias, stride, even, dilation, groups)

    def padded(images: Any, *arguments: Any) -> Any:
        return convolution.conv2d(zero_pad(images, widths), *arguments)

    return _on_images(padded, x, weight, bias, stride, 0, dilation, groups)


def padding_widths(padding: str, kernel: Any, stride: Size, dilation: Size) -> Any:
    """The padding that a word means, before and after height and width."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise ValueError(f'conv2d: padding must be numbers, "same" or "valid", got {padding!r}')
    if pair(stride, "stride", 1) != (1, 1):
        raise ValueError(f'conv2d: padding="same" needs stride 1, got {stride}')
    return tuple(same_widths(kernel, pair(dilation, "dilation", 1)))


def same_widths(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Before and after each axis, so that a window with stride 1 gives an output of the input's size."""
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(r // 2, r - r // 2) for r in reach]


@overload
def max_pool2d(
    x: Array | Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    x: Array | Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Array]: ...
@takes_input
@of(pooling.max_pool2d)
def max_pool2d(
    x: Array | Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; the first of equal maxima gets the gradient. NaN wins.

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: added on every side, never chosen; at most half the window.
        dilation: distance between the elements of the window.
        ceil_mode: windows that only begin in the image count, too.
        return_indices: whether the places of the maxima are wanted, too.

    Returns:
        (N, C, H', W') or (C, H', W'), H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1, or
        one more with `ceil_mode`; with `return_indices` the pair of this and an int64 array of its shape,
        h W + w for the maximum at row h and column w of its image.

    Raises:
        ValueError: a window larger than the image, or too much padding.

    >>> import xpnet, xpnet.functional as F
    >>> y, places = F.max_pool2d(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]), 2, return_indices=True)
    >>> y.tolist(), places.tolist()
    ([[[4.0]]], [[[2]]])
    """
    stride = None if isinstance(stride, tuple) and not stride else stride  # PyTorch takes both
    if return_indices:
        places = _indices(array_of(x), kernel_size, stride, padding, dilation, ceil_mode)
        return max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode), places
    if dilation in (1, (1, 1)) and not ceil_mode:
        return _on_images(pooling.max_pool2d, x, kernel_size, stride, padding)
    return _on_images(pooling.max_pool2d_spread, x, kernel_size, stride, padding, dilation, ceil_mode)


@takes_input
@of(pooling.avg_pool2d)
def avg_pool2d(
    x: Array | Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: zeros added on every side; at most half the window.
        ceil_mode: windows that only begin in the image count, too.
        count_include_pad: divide by the padding's zeros, too.
        divisor_override: divide by this instead.

    Returns:
        (N, C, H', W') or (C, H', W'), H' = floor((H + 2 padding - kH) / stride) + 1, or one more with
        `ceil_mode`.

    Raises:
        ValueError: a window larger than the image, too much padding, or a divisor of 0.

    >>> import xpnet, xpnet.functional as F
    >>> F.avg_pool2d(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]), 2)
    array([[[2.5]]], dtype=float32)
    """
    stride = None if isinstance(stride, tuple) and not stride else stride  # PyTorch takes both
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _on_images(pooling.avg_pool2d, x, *options)


def global_avg_pool2d(x: Array | Tensor) -> Tensor:
    """The mean over all positions: (N, C, H, W) -> (N, C), (C, H, W) -> (C,) (Lin et al., 2014).

    >>> import xpnet, xpnet.functional as F
    >>> F.global_avg_pool2d(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]))
    array([2.5], dtype=float32)
    """
    if x.ndim not in (3, 4):
        raise ValueError(f"global_avg_pool2d: expected images of shape (N, C, H, W), got {tuple(x.shape)}")
    return _on_images(pooling.global_avg_pool2d, x)
