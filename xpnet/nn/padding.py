"""Padding layers; the places are those of xpnet.functional.padding."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.checks import axis, number
from xpnet.nn.module import Layer

Widths = int | tuple[int, ...]


class _Pad(Layer):
    """More elements at the ends of the last axes."""

    axes, mode = 1, "constant"
    value: float | None = None

    def __init__(self, padding: Widths) -> None:
        name = type(self).__name__
        if isinstance(padding, tuple | list):
            if len(padding) != 2 * self.axes:
                raise ValueError(f"{name}: padding must be one number or {2 * self.axes}, got {padding!r}")
            self.padding: Widths = tuple(axis(name, "padding", p) for p in padding)
        else:
            self.padding = axis(name, "padding", padding)

    def forward(self, x: Any) -> Any:
        """The shape with these axes longer."""
        name, n = type(self).__name__, self.axes
        if x.ndim not in (n + 1, n + 2) and (x.ndim != n or self.mode != "constant"):
            raise ValueError(f"{name}: expected x of {n + 1} or {n + 2} axes, got {tuple(x.shape)}")
        widths = (self.padding,) * (2 * n) if isinstance(self.padding, int) else self.padding
        return F.pad(x, widths, self.mode, self.value)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}" if self.value is None else f"{self.padding}, value={self.value}"


class ConstantPad1d(_Pad):
    """Elements of one value around x of shape (C, L) or (N, C, L).

    Args:
        padding: one number or (left, right).
        value: of the new elements.

    Raises:
        TypeError: a width is not a whole number.
        ValueError: another number of widths; when called, other numbers of axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ConstantPad1d(2, 0.5)(xpnet.asarray([[1.0, 2.0, 3.0]]))[0].tolist()
    [0.5, 0.5, 1.0, 2.0, 3.0, 0.5, 0.5]
    """

    axes, mode = 1, "constant"

    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = number("ConstantPad1d", "value", value)


class ConstantPad2d(_Pad):
    """Elements of one value around x of shape (C, H, W) or (N, C, H, W).

    Args:
        padding: one number or (left, right, top, bottom).
        value: of the new elements.

    Raises:
        TypeError: a width is not a whole number.
        ValueError: another number of widths; when called, other numbers of axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ConstantPad2d(1, 0.5)(xpnet.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])).shape
    (1, 4, 5)
    """

    axes, mode = 2, "constant"

    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = number("ConstantPad2d", "value", value)


class ConstantPad3d(_Pad):
    """Elements of one value around x of shape (C, D, H, W) or (N, C, D, H, W).

    Args:
        padding: one number or (left, right, top, bottom, front, back).
        value: of the new elements.

    Raises:
        TypeError: a width is not a whole number.
        ValueError: another number of widths; when called, other numbers of axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ConstantPad3d(1, 0.5)(xpnet.asarray([[[[1.0, 2.0]] * 2, [[1.0, 2.0]] * 2]])).shape
    (1, 4, 4, 4)
    """

    axes, mode = 3, "constant"

    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = number("ConstantPad3d", "value", value)


class ZeroPad1d(_Pad):
    """Zeros around x of shape (C, L) or (N, C, L).

    Args:
        padding: one number or (left, right).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ZeroPad1d(2)(xpnet.asarray([[1.0, 2.0, 3.0]]))[0].tolist()
    [0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0]
    """

    axes, mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Zeros around x of shape (C, H, W) or (N, C, H, W).

    Args:
        padding: one number or (left, right, top, bottom).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ZeroPad2d(1)(xpnet.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])).shape
    (1, 4, 5)
    """

    axes, mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Zeros around x of shape (C, D, H, W) or (N, C, D, H, W).

    Args:
        padding: one number or (left, right, top, bottom, front, back).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ZeroPad3d(1)(xpnet.asarray([[[[1.0, 2.0]] * 2, [[1.0, 2.0]] * 2]])).shape
    (1, 4, 4, 4)
    """

    axes, mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """Elements mirrored at the ends, without these, around x of shape (C, L) or (N, C, L).

    Args:
        padding: one number or (left, right).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReflectionPad1d(2)(xpnet.asarray([[1.0, 2.0, 3.0]]))[0].tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """

    axes, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Elements mirrored at the ends, without these, around x of shape (C, H, W) or (N, C, H, W).

    Args:
        padding: one number or (left, right, top, bottom).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReflectionPad2d(1)(xpnet.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])).shape
    (1, 4, 5)
    """

    axes, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Elements mirrored at the ends, without these, around x of shape (C, D, H, W) or (N, C, D, H, W).

    Args:
        padding: one number or (left, right, top, bottom, front, back).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReflectionPad3d(1)(xpnet.asarray([[[[1.0, 2.0]] * 2, [[1.0, 2.0]] * 2]])).shape
    (1, 4, 4, 4)
    """

    axes, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The end again around x of shape (C, L) or (N, C, L).

    Args:
        padding: one number or (left, right).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReplicationPad1d(2)(xpnet.asarray([[1.0, 2.0, 3.0]]))[0].tolist()
    [1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0]
    """

    axes, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The end again around x of shape (C, H, W) or (N, C, H, W).

    Args:
        padding: one number or (left, right, top, bottom).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReplicationPad2d(1)(xpnet.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])).shape
    (1, 4, 5)
    """

    axes, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The end again around x of shape (C, D, H, W) or (N, C, D, H, W).

    Args:
        padding: one number or (left, right, top, bottom, front, back).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReplicationPad3d(1)(xpnet.asarray([[[[1.0, 2.0]] * 2, [[1.0, 2.0]] * 2]])).shape
    (1, 4, 4, 4)
    """

    axes, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Elements from the other end around x of shape (C, L) or (N, C, L).

    Args:
        padding: one number or (left, right).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.CircularPad1d(2)(xpnet.asarray([[1.0, 2.0, 3.0]]))[0].tolist()
    [2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0]
    """

    axes, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Elements from the other end around x of shape (C, H, W) or (N, C, H, W).

    Args:
        padding: one number or (left, right, top, bottom).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.CircularPad2d(1)(xpnet.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])).shape
    (1, 4, 5)
    """

    axes, mode = 2, "circular"


class CircularPad3d(_Pad):
    """Elements from the other end around x of shape (C, D, H, W) or (N, C, D, H, W).

    Args:
        padding: one number or (left, right, top, bottom, front, back).

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.CircularPad3d(1)(xpnet.asarray([[[[1.0, 2.0]] * 2, [[1.0, 2.0]] * 2]])).shape
    (1, 4, 4, 4)
    """

    axes, mode = 3, "circular"
