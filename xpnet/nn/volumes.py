"""Convolutions and pools of volumes; the formulas are in xpnet.functional.volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import size
from xpnet.nn import edges
from xpnet.nn.spatial import Sizes, _Conv, _ConvTranspose, _Pool, each


class Conv3d(_Conv):
    """A convolution of (N, C, D, H, W) or (C, D, H, W).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the window.
        stride: step of the window.
        padding: how much on every side; "same" for the size of the input (stride 1), "valid" for none.
        dilation: distance between the elements of the window.
        groups: independent parts of the channels.
        bias: whether to add one.
        padding_mode: what lies beyond the ends: "zeros"; "reflect", "replicate" or "circular", as of `F.pad`.
        weight_init: makes the weight from its shape; default `init.torch_default`.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small, groups do not divide the channels, or an unknown word for padding or
            its mode.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Conv3d(1, 8, 2)(xpnet.asarray([[[[[0.5] * 6] * 5] * 4]])).shape
    (1, 8, 3, 4, 5)
    """

    axes = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        weight_init: init.Initializer = init.torch_default,
        dtype: str = "float32",
    ) -> None:
        self.padding_mode = edges.padding_mode(type(self).__name__, padding_mode)
        options = (stride, padding, dilation, groups, bias, weight_init, dtype)
        self._set(in_channels, out_channels, kernel_size, *options)

    def forward(self, x: Any) -> Any:
        """(N, C, D, H, W) -> (N, O, D', H', W')."""
        x, padding = edges.extended(self, x)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose3d(_ConvTranspose):
    """The transpose of a convolution of (N, C, D, H, W) or (C, D, H, W).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the window.
        stride: step of the window in the output.
        padding: taken off every side of the output.
        output_padding: more of it on its far sides, below stride or dilation.
        groups: independent parts of the channels.
        bias: whether to add one.
        dilation: distance between the elements of the window.
        padding_mode: "zeros", as in PyTorch: there is no other.
        weight_init: makes the weight from its shape; default `init.torch_default`.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small, groups do not divide the channels, or another mode.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ConvTranspose3d(1, 8, 4, stride=2, padding=1)(xpnet.asarray([[[[[0.5] * 6] * 5] * 4]])).shape
    (1, 8, 8, 10, 12)
    """

    axes = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        *,
        weight_init: init.Initializer = init.torch_default,
        dtype: str = "float32",
    ) -> None:
        options = (stride, padding, dilation, groups, bias, weight_init, dtype)
        self._set(in_channels, out_channels, kernel_size, *options)
        self._set_output_padding(output_padding, padding_mode)

    def forward(self, x: Any, output_size: int | Sequence[int] | None = None) -> Any:
        """(N, C, D, H, W) -> (N, O, D', H', W'), of `output_size`, if given and the steps allow it."""
        return F.conv_transpose3d(x, *self._arguments(x, output_size))


class MaxPool3d(_Pool):
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W).

    Args:
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: added on every side, never chosen; at most half the window.
        dilation: distance between the elements of the window.
        return_indices: give the pair of the maxima and their places.
        ceil_mode: windows that only begin in the volume count, too.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.MaxPool3d((2, 1, 2))(xpnet.asarray([[[[1.0, 2.0]], [[4.0, 3.0]]]]))
    array([[[[4.]]]], dtype=float32)
    """

    axes = 3

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._set(kernel_size, stride, padding, ceil_mode)
        self.dilation = each("MaxPool3d", "dilation", dilation, 3)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """(N, C, D, H, W) -> (N, C, D', H', W'), or with `return_indices` the pair of this and the places."""
        window = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return F.max_pool3d(x, *window, self.return_indices)


class AvgPool3d(_Pool):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W).

    Args:
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: zeros added on every side; at most half the window.
        ceil_mode: windows that only begin in the volume count, too.
        count_include_pad: divide by the padding's zeros, too.
        divisor_override: divide by this instead.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AvgPool3d((2, 1, 2))(xpnet.asarray([[[[1.0, 2.0]], [[4.0, 3.0]]]]))
    array([[[[2.5]]]], dtype=float32)
    """

    axes = 3

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._set(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad
        if divisor_override is not None:
            divisor_override = size("AvgPool3d", "divisor_override", divisor_override)
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Any:
        """(N, C, D, H, W) -> (N, C, D', H', W')."""
        options = (self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)
        return F.avg_pool3d(x, self.kernel_size, self.stride, *options)
