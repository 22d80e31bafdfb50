"""Other sizes of images; the formulas are in xpnet.functional.resampling."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.checks import number, size
from xpnet.functional.resampling import MODES
from xpnet.nn.module import Layer


class Upsample(Layer):
    """Images, sequences or volumes in another size.

    Args:
        size: of the result, one number or one an axis.
        scale_factor: or how many times that of the input.
        mode: "nearest", "nearest-exact" or "area" of any; "linear", "bilinear" or "bicubic", "trilinear".
        align_corners: the elements at the ends stay there, of the linear and cubic modes.
        recompute_scale_factor: take the ratio of the sizes, which are whole, and not `scale_factor`.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: both or neither of the first two, or another mode; when called, a mode for other axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Upsample(scale_factor=2, mode="bilinear")(xpnet.asarray([[[[1.0, 3.0]]]])).shape
    (1, 1, 2, 4)
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        name = type(self).__name__
        if (size is None) == (scale_factor is None):
            raise ValueError(f"{name}: pass size or scale_factor, one of them")
        if mode not in MODES:
            raise ValueError(f"{name}: mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.size = None if size is None else _some(_whole, name, "size", size)
        self.scale_factor = (
            None if scale_factor is None else _some(number, name, "scale_factor", scale_factor)
        )
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Any) -> Any:
        """(N, C, ...) -> (N, C, ...) of that size."""
        options = (self.mode, self.align_corners, self.recompute_scale_factor)
        return F.interpolate(x, self.size, self.scale_factor, *options)

    def extra_repr(self) -> str:
        """The size, and the mode."""
        return f"{self.size or self.scale_factor}, mode={self.mode!r}"


_whole = size


def _some(check: Any, layer: str, name: str, value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(check(layer, name, v) for v in value)
    return check(layer, name, value)


class UpsamplingNearest2d(Upsample):
    """Images in another size, each element the nearest one: `Upsample` with its default mode.

    Args:
        size: of the result, one number or (H, W).
        scale_factor: or how many times that of the input.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: both or neither.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.UpsamplingNearest2d(scale_factor=2)(xpnet.asarray([[[[1.0, 3.0]]]]))[0, 0]
    array([[1., 1., 3., 3.],
           [1., 1., 3., 3.]], dtype=float32)
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Images in another size, linear between elements, of which those in the corners stay there.

    Args:
        size: of the result, one number or (H, W).
        scale_factor: or how many times that of the input.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: both or neither.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.UpsamplingBilinear2d((1, 3))(xpnet.asarray([[[[1.0, 3.0]]]]))[0, 0]
    array([[1., 2., 3.]], dtype=float32)
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class _Adaptive(Layer):
    axes = 1

    def __init__(self, output_size: Any) -> None:
        name = type(self).__name__
        given = output_size if isinstance(output_size, tuple | list) else (output_size,)
        if len(given) not in (1, self.axes):
            raise ValueError(f"{name}: output_size must be one number or {self.axes}, got {output_size!r}")
        each = tuple(n if n is None else size(name, "output_size", n) for n in given)
        self.output_size: Any = each if isinstance(output_size, tuple | list) else each[0]

    def extra_repr(self) -> str:
        """The size."""
        return f"{self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The means of so many nearly equal parts of (N, C, L) or (C, L).

    Args:
        output_size: L'.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AdaptiveAvgPool1d(2)(xpnet.asarray([[1.0, 2.0, 6.0]]))
    array([[1.5, 4. ]], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """(N, C, L) -> (N, C, L')."""
        return F.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of nearly equal parts of (N, C, H, W) or (C, H, W): as many, whatever the image's size.

    Args:
        output_size: one number or (H', W'); None keeps that of the input.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AdaptiveAvgPool2d(1)(xpnet.asarray([[[1.0, 2.0], [4.0, 5.0]]]))
    array([[[3.]]], dtype=float32)
    """

    axes = 2

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveAvgPool3d(_Adaptive):
    """The means of nearly equal parts of (N, C, D, H, W) or (C, D, H, W).

    Args:
        output_size: one number or (D', H', W'); None keeps that of the input.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AdaptiveAvgPool3d(1)(xpnet.asarray([[[[1.0, 2.0], [4.0, 5.0]]]]))
    array([[[[3.]]]], dtype=float32)
    """

    axes = 3

    def forward(self, x: Any) -> Any:
        """(N, C, D, H, W) -> (N, C, D', H', W')."""
        return F.adaptive_avg_pool3d(x, self.output_size)


class AdaptiveMaxPool1d(_Adaptive):
    """The maxima of so many nearly equal parts of (N, C, L) or (C, L).

    Args:
        output_size: L'.
        return_indices: give the pair of the maxima and their places.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AdaptiveMaxPool1d(2)(xpnet.asarray([[1.0, 2.0, 6.0]]))
    array([[2., 6.]], dtype=float32)
    """

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """(N, C, L) -> (N, C, L')."""
        return F.adaptive_max_pool1d(x, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_Adaptive):
    """The maxima of nearly equal parts of (N, C, H, W) or (C, H, W).

    Args:
        output_size: one number or (H', W'); None keeps that of the input.
        return_indices: give the pair of the maxima and their places.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AdaptiveMaxPool2d((1, None))(xpnet.asarray([[[1.0, 2.0], [4.0, 5.0]]]))
    array([[[4., 5.]]], dtype=float32)
    """

    axes = 2

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, H', W')."""
        return F.adaptive_max_pool2d(x, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_Adaptive):
    """The maxima of nearly equal parts of (N, C, D, H, W) or (C, D, H, W).

    Args:
        output_size: one number or (D', H', W'); None keeps that of the input.
        return_indices: give the pair of the maxima and their places.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.AdaptiveMaxPool3d((None, 1, 2))(xpnet.asarray([[[[1.0, 2.0], [4.0, 5.0]]]]))
    array([[[[4., 5.]]]], dtype=float32)
    """

    axes = 3

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        """(N, C, D, H, W) -> (N, C, D', H', W')."""
        return F.adaptive_max_pool3d(x, self.output_size, self.return_indices)


class PixelShuffle(Layer):
    """(N, C r^2, H, W) -> (N, C, r H, r W) (Shi et al., 2016).

    Args:
        upscale_factor: r.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.PixelShuffle(2)(xpnet.asarray([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]))
    array([[[1., 2.],
            [3., 4.]]], dtype=float32)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = size("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, x: Any) -> Any:
        """r times as high and wide."""
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return f"{self.upscale_factor}"


class PixelUnshuffle(Layer):
    """(N, C, r H, r W) -> (N, C r^2, H, W), the opposite of `PixelShuffle`.

    Args:
        downscale_factor: r.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.PixelUnshuffle(2)(xpnet.asarray([[[1.0, 2.0], [3.0, 4.0]]])).shape
    (4, 1, 1)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = size("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, x: Any) -> Any:
        """1/r as high and wide."""
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return f"{self.downscale_factor}"
