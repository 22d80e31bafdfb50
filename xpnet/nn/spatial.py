"""Convolutions and pools of sequences; transposed convolutions, of images too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import initializer, size
from xpnet.functional.images import padding_widths
from xpnet.nn import edges
from xpnet.nn.module import Layer
from xpnet.nn.parameter import Parameter

Sizes = int | tuple[int, ...]


def each(layer: str, name: str, value: Any, axes: int, least: int = 1) -> Sizes:
    """One whole number, or `axes` of them.

    Raises:
        TypeError: not a whole number.
        ValueError: too small, or another number of them.
    """
    if not isinstance(value, tuple | list):
        return size(layer, name, value, least)
    if len(value) != axes:
        raise ValueError(f"{layer}: {name} must be one number or {axes}, got {value!r}")
    return tuple(size(layer, name, v, least) for v in value)


class _Conv(Layer):
    """A weight for windows of some axes, and a bias."""

    axes = 1
    transposed = False
    padding_mode = "zeros"

    def _set(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        groups: int,
        bias: bool,
        weight_init: init.Initializer,
        dtype: str,
    ) -> None:
        name, axes = type(self).__name__, self.axes
        self.in_channels = size(name, "in_channels", in_channels)
        self.out_channels = size(name, "out_channels", out_channels)
        kernel = each(name, "kernel_size", kernel_size, axes)
        self.kernel_size = (kernel,) * axes if isinstance(kernel, int) else kernel
        self.stride, self.dilation = (
            each(name, "stride", stride, axes),
            each(name, "dilation", dilation, axes),
        )
        if isinstance(padding, str):
            steps = 1 if self.stride in (1, (1,) * axes) else 2
            padding_widths(padding, (1, 1), steps, 1)  # says what is wrong with it
            self.padding: Sizes | str = padding
        else:
            self.padding = each(name, "padding", padding, axes, 0)
        self.groups = groups = size(name, "groups", groups)
        if self.in_channels % groups or self.out_channels % groups:
            raise ValueError(f"{name}: groups={groups} must divide {in_channels} and {out_channels} channels")
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(initializer(name, "weight_init", weight_init)(shape, dtype=dtype))
        bound = math.prod(shape[1:]) ** -0.5
        self.bias = (
            Parameter(init.uniform((self.out_channels,), -bound, bound, dtype=dtype)) if bias else None
        )

    def extra_repr(self) -> str:
        """Channels, window and stride."""
        channels = f"{self.in_channels}, {self.out_channels}"
        mode = "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode!r}"
        return f"{channels}, {self.kernel_size}, stride={self.stride}, padding={self.padding}{mode}"


class Conv1d(_Conv):
    """A convolution of (N, C, L) or (C, L).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the window.
        stride: step of the window.
        padding: how much at both ends; "same" for the length of the input (stride 1), "valid" for none.
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
    >>> nn.Conv1d(1, 8, 3, padding=1)(xpnet.asarray([[[0.5] * 6]])).shape
    (1, 8, 6)
    """

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
        """(N, C, L) -> (N, O, L')."""
        x, padding = edges.extended(self, x)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _ConvTranspose(_Conv):
    transposed = True

    def _set_output_padding(self, output_padding: Sizes, padding_mode: str) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'{type(self).__name__}: padding_mode must be "zeros", got {padding_mode!r}')
        self.output_padding = each(type(self).__name__, "output_padding", output_padding, self.axes, 0)

    def _arguments(self, x: Any, output_size: Any) -> tuple[Any, ...]:
        more = self.output_padding if output_size is None else self._up_to(x, output_size)
        return self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation

    def _up_to(self, x: Any, output_size: Any) -> tuple[int, ...]:
        """The output padding that makes an output of this size, of which axes of samples and channels go."""
        name, axes = type(self).__name__, self.axes
        given = [output_size] * axes if isinstance(output_size, int) else list(output_size)
        wanted = [size(name, "output_size", n) for n in (given[-axes:] if len(given) == x.ndim else given)]
        along = lambda value: (value,) * axes if isinstance(value, int) else value
        options = map(along, (self.stride, self.padding, self.dilation))
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, k, s, p, d in zip(x.shape[-axes:], self.kernel_size, *options, strict=True)
        ]
        most = [n + s - 1 for n, s in zip(least, along(self.stride), strict=True)]
        if len(wanted) != axes or any(not a <= n <= b for a, n, b in zip(least, wanted, most, strict=False)):
            raise ValueError(
                f"{name}: output_size {output_size} of an input {tuple(x.shape)}, expected {tuple(least)} to "
                f"{tuple(most)}"
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """The transpose of a convolution of (N, C, L) or (C, L).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the window.
        stride: step of the window in the output.
        padding: places taken off both ends of the output.
        output_padding: more of them at its end, below stride or dilation.
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
    >>> nn.ConvTranspose1d(1, 8, 4, stride=2, padding=1)(xpnet.asarray([[[0.5] * 6]])).shape
    (1, 8, 12)
    """

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
        """(N, C, L) -> (N, O, L'); L' is `output_size`, if that is given and a window's step allows it."""
        return F.conv_transpose1d(x, *self._arguments(x, output_size))


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution of (N, C, H, W) or (C, H, W): of a generator, or on the way up a U.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the window.
        stride: step of the window in the output.
        padding: rows and columns taken off every side of the output.
        output_padding: more of them on its far sides, below stride or dilation.
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
    >>> nn.ConvTranspose2d(1, 8, 4, stride=2, padding=1)(xpnet.asarray([[[[0.5] * 6] * 5]])).shape
    (1, 8, 10, 12)
    """

    axes = 2

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
        """(N, C, H, W) -> (N, O, H', W'), of `output_size`, if that is given and the steps allow it."""
        return F.conv_transpose2d(x, *self._arguments(x, output_size))


class _Pool(Layer):
    axes = 1

    def _set(self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool) -> None:
        name, axes = type(self).__name__, self.axes
        self.kernel_size = each(name, "kernel_size", kernel_size, axes)
        self.stride = None if stride is None else each(name, "stride", stride, axes)
        self.padding, self.ceil_mode = each(name, "padding", padding, axes, 0), ceil_mode

    def extra_repr(self) -> str:
        """The window."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(_Pool):
    """The maximum of each window of (N, C, L) or (C, L).

    Args:
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: added at both ends, never chosen; at most half the window.
        dilation: distance between the elements of the window.
        return_indices: give the pair of the maxima and their places.
        ceil_mode: windows that only begin in the sequence count, too.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.MaxPool1d(2)(xpnet.asarray([[1.0, 2.0, 4.0, 3.0]]))
    array([[2., 4.]], dtype=float32)
    """

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
        self.dilation = each("MaxPool1d", "dilation", dilation, 1)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """(N, C, L) -> (N, C, L'), or with `return_indices` the pair of this and the places."""
        window = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return F.max_pool1d(x, *window, self.return_indices)


class AvgPool1d(_Pool):
    """The mean of each window of (N, C, L) or (C, L).

    Args:
        kernel_size: of the window.
        stride: step of the window; default: the kernel size.
        padding: zeros at both ends; at most half the window.
        ceil_mode: windows that only begin in the sequence count, too.
        count_include_pad: divide by the padding's zeros, too.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AvgPool1d(2)(xpnet.asarray([[1.0, 2.0, 4.0, 3.0]]))
    array([[1.5, 3.5]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self._set(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        """(N, C, L) -> (N, C, L')."""
        options = (self.padding, self.ceil_mode, self.count_include_pad)
        return F.avg_pool1d(x, self.kernel_size, self.stride, *options)


class Bilinear(Layer):
    """y_o = x1^T W_o x2 + b_o.

    Args:
        in1_features: size of the last axis of the first input.
        in2_features: of the second one.
        out_features: of the output.
        bias: whether to add b.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1; when called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Bilinear(2, 1, 3)(xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([[3.0]])).shape
    (1, 3)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        self.in1_features = size("Bilinear", "in1_features", in1_features)
        self.in2_features = size("Bilinear", "in2_features", in2_features)
        self.out_features = size("Bilinear", "out_features", out_features)
        bound = self.in1_features**-0.5
        draw = lambda *shape: Parameter(init.uniform(shape, -bound, bound, dtype))
        self.weight = draw(self.out_features, self.in1_features, self.in2_features)
        self.bias = draw(self.out_features) if bias else None

    def forward(self, input1: Any, input2: Any) -> Any:
        """(..., in1) and (..., in2) -> (..., out)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in1_features}, {self.in2_features}, {self.out_features}"
