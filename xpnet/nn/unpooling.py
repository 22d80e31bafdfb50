"""Layers that put maxima back; the formulas are in xpnet.functional.unpooling."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.nn.module import Module
from xpnet.nn.spatial import each


class _MaxUnpool(Module):
    axes = 1

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        name = type(self).__name__
        self.kernel_size = each(name, "kernel_size", kernel_size, self.axes)
        self.stride = None if stride is None else each(name, "stride", stride, self.axes)
        self.padding = each(name, "padding", padding, self.axes, 0)

    def forward(self, x: Any, indices: Any, output_size: Any = None) -> Any:
        """Maxima and their places -> zeros, and the maxima there."""
        unpool = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}[self.axes]
        return unpool(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """The window."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Maxima of windows of sequences where they were.

    Args:
        kernel_size: of the windows.
        stride: step of the windows; default: the kernel size.
        padding: of the pool.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> y, places = nn.MaxPool1d(2, return_indices=True)(xpnet.asarray([[1.0, 2.0, 4.0, 3.0]]))
    >>> nn.MaxUnpool1d(2)(y, places)
    array([[0., 2., 4., 0.]], dtype=float32)
    """


class MaxUnpool2d(_MaxUnpool):
    """Maxima of windows of images where they were.

    Args:
        kernel_size: of the windows.
        stride: step of the windows; default: the kernel size.
        padding: of the pool.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> y, places = nn.MaxPool2d(2, return_indices=True)(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]))
    >>> nn.MaxUnpool2d(2)(y, places)
    array([[[0., 0.],
            [4., 0.]]], dtype=float32)
    """

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """Maxima of windows of volumes where they were.

    Args:
        kernel_size: of the windows.
        stride: step of the windows; default: the kernel size.
        padding: of the pool.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is too small; when it is called, shapes that do not fit.

    >>> import xpnet
    >>> from xpnet import nn
    >>> y, places = nn.MaxPool3d((1, 2, 2), return_indices=True)(xpnet.asarray([[[[1.0, 2.0], [4.0, 3.0]]]]))
    >>> nn.MaxUnpool3d((1, 2, 2))(y, places)
    array([[[[0., 0.],
             [4., 0.]]]], dtype=float32)
    """

    axes = 3
