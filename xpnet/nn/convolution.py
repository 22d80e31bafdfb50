"""Convolution and pooling layers; the formulas are in xpnet.functional.convolution."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import initializer, size, window
from xpnet.core.memory_format import channels_last
from xpnet.functional.images import padding_widths
from xpnet.nn import edges
from xpnet.nn.module import Layer
from xpnet.nn.parameter import Parameter

Size = int | tuple[int, int]


class Conv2d(Layer):
    """A convolution of (N, C, H, W) or (C, H, W).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the window.
        stride: step of the window.
        padding: how much on every side; "same" for the size of the input (stride 1), "valid" for none.
        dilation: distance between the elements of the window.
        groups: independent parts of the channels.
        bias: whether to add one; not needed before a norm.
        padding_mode: what lies beyond the ends: "zeros"; "reflect", "replicate" or "circular", as of `F.pad`.
        weight_init: makes the weight from its shape; default `init.torch_default`.
        bias_init: likewise; default uniform in +-1/sqrt(fan-in), as in PyTorch.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small, groups do not divide the channels, or an unknown word for padding or
            its mode.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Conv2d(3, 8, 3, padding="same")(xpnet.asarray([[[[0.5] * 6] * 5] * 3])).shape
    (1, 8, 5, 6)
    """

    memory_format = "contiguous_format"  # `model.to(memory_format=...)` says it of every convolution

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        weight_init: init.Initializer = init.torch_default,
        bias_init: init.Initializer | None = None,
        dtype: str = "float32",
    ) -> None:
        in_channels = size("Conv2d", "in_channels", in_channels)
        out_channels = size("Conv2d", "out_channels", out_channels)
        kernel_size, stride = window("Conv2d", "kernel_size", kernel_size), window("Conv2d", "stride", stride)
        dilation = window("Conv2d", "dilation", dilation)
        if isinstance(padding, str):
            padding_widths(padding, (1, 1), stride, dilation)  # says what is wrong with it
        else:
            padding = window("Conv2d", "padding", padding, 0)
        groups = size("Conv2d", "groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} must divide {in_channels} and {out_channels} channels")
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.padding_mode = edges.padding_mode("Conv2d", padding_mode)
        shape = (out_channels, in_channels // groups, *kernel)
        self.weight = Parameter(initializer("Conv2d", "weight_init", weight_init)(shape, dtype=dtype))
        bound = math.prod(shape[1:]) ** -0.5
        if bias_init is None:
            bias_init = lambda shape, dtype: init.uniform(shape, -bound, bound, dtype=dtype)
        initializer("Conv2d", "bias_init", bias_init)
        self.bias = Parameter(bias_init((out_channels,), dtype=dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, O, H', W')."""
        x, padding = edges.extended(self, x)
        options = self.stride, padding, self.dilation, self.groups
        with channels_last() if self.memory_format == "channels_last" else nullcontext():
            return F.conv2d(x, self.weight, self.bias, *options)

    def extra_repr(self) -> str:
        """Channels, window and stride."""
        channels = f"{self.in_channels}, {self.out_channels}"
        mode = "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode!r}"
        return f"{channels}, {self.kernel_size}, stride={self.stride}, padding={self.padding}{mode}"


class _Pool2d(Layer):
    def _set(self, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size = 1) -> None:
        name = type(self).__name__
        self.kernel_size = window(name, "kernel_size", kernel_size)
        self.stride = None if stride is None else window(name, "stride", stride)
        self.padding = window(name, "padding", padding, 0)
        sides = (self.kernel_size, self.padding, window(name, "dilation", dilation))
        pairs = ((side, side) if isinstance(side, int) else side for side in sides)
        if any(2 * p > d * (k - 1) + 1 for k, p, d in zip(*pairs, strict=True)):
            raise ValueError(
                f"{name}: padding {self.padding} must be at most half the window {self.kernel_size}"
            )

    def extra_repr(self) -> str:
        """The window."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """The maximum of each window of (N, C, H, W) or (C, H, W).

    Args:
        kernel_size: of the window, a number or (height, width).
        stride: step of the window; default: the kernel size.
        padding: added on every side, never chosen; at most half the window.
        dilation: distance between the elements of the window.
        return_indices: give the pair of the maxima and their places, as `functional.max_pool2d` does.
        ceil_mode: windows that only begin in the image count, too.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.MaxPool2d(2)(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]))
    array([[[4.]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._set(kernel_size, stride, padding, dilation)
        self.dilation, self.ceil_mode = window("MaxPool2d", "dilation", dilation), ceil_mode
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W'), or with `return_indices` the pair of this and the places."""
        options: dict[str, Any] = {"return_indices": True} if self.return_indices else {}
        window = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return F.max_pool2d(x, *window, **options)


class AvgPool2d(_Pool2d):
    """The mean of each window of (N, C, H, W) or (C, H, W).

    Args:
        kernel_size: of the window, a number or (height, width).
        stride: step of the window; default: the kernel size.
        padding: zeros added on every side; at most half the window.
        ceil_mode: windows that only begin in the image count, too.
        count_include_pad: divide by the padding's zeros, too.
        divisor_override: divide by this instead.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AvgPool2d(2)(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]))
    array([[[2.5]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._set(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        if divisor_override is not None:
            divisor_override = size("AvgPool2d", "divisor_override", divisor_override)
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        options = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, *options)


class GlobalAvgPool2d(Layer):
    """The mean over all positions: (N, C, H, W) -> (N, C).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.GlobalAvgPool2d()(xpnet.asarray([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[2.5]], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """One value a channel."""
        return F.global_avg_pool2d(x)
