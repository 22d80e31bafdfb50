"""Activations that PyTorch has besides, as layers; the formulas are in xpnet.functional.more_activations."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core import checks
from xpnet.core.checks import number
from xpnet.nn.module import Layer


class SELU(Layer):
    """1.0507 x for x > 0, else 1.0507 * 1.6733 (exp(x) - 1), of any shape (Klambauer et al., 2017).

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> [round(float(y), 4) for y in nn.SELU()(xpnet.asarray([-1.0, 0.0, 1.0]))]
    [-1.1113, 0.0, 1.0507]
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.selu(x)


class CELU(Layer):
    """x for x > 0, else alpha (exp(x / alpha) - 1), of any shape (Barron, 2017).

    Args:
        alpha: minus the limit for x to -infinity; not 0.
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        ValueError: alpha is 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.CELU(0.5)(xpnet.asarray([-100.0, 0.0, 2.0]))
    array([-0.5,  0. ,  2. ], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = number("CELU", "alpha", alpha), inplace
        if not self.alpha:
            raise ValueError("CELU: alpha must not be 0")

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.celu(x, self.alpha)

    def extra_repr(self) -> str:
        """Alpha."""
        return f"{self.alpha}"


class ReLU6(Layer):
    """x clipped to [0, 6], of any shape.

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReLU6()(xpnet.asarray([-1.0, 2.0, 7.0]))
    array([0., 2., 6.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.relu6(x)


class Softsign(Layer):
    """x / (1 + |x|), of any shape.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Softsign()(xpnet.asarray([-1.0, 0.0, 3.0]))
    array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.softsign(x)


class Hardshrink(Layer):
    """x outside [-lambd, lambd], else 0, of any shape.

    Args:
        lambd: the end of what becomes 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Hardshrink()(xpnet.asarray([-1.0, 0.5, 0.6]))
    array([-1. ,  0. ,  0.6], dtype=float32)
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = number("Hardshrink", "lambd", lambd)

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        """Its end."""
        return f"{self.lambd}"


class Softshrink(Layer):
    """x - lambd above lambd, x + lambd below -lambd, else 0, of any shape.

    Args:
        lambd: the end of what becomes 0; not negative.

    Raises:
        ValueError: lambd is negative.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Softshrink()(xpnet.asarray([-1.5, 0.5, 0.75]))
    array([-1.  ,  0.  ,  0.25], dtype=float32)
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = number("Softshrink", "lambd", lambd, 0)

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        """Its end."""
        return f"{self.lambd}"


class Tanhshrink(Layer):
    """x - tanh(x), of any shape.

    >>> import xpnet
    >>> from xpnet import nn
    >>> [round(float(y), 4) for y in nn.Tanhshrink()(xpnet.asarray([-1.0, 0.0, 2.0]))]
    [-0.2384, 0.0, 1.036]
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.tanhshrink(x)


class Threshold(Layer):
    """x above a threshold, else a value, of any shape.

    Args:
        threshold: what x has to exceed.
        value: what stands in the place of other elements.
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        TypeError: one of both is no number.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Threshold(0.5, -1.0)(xpnet.asarray([0.0, 0.5, 1.0]))
    array([-1., -1.,  1.], dtype=float32)
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold = number("Threshold", "threshold", threshold)
        self.value, self.inplace = number("Threshold", "value", value), inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.threshold(x, self.threshold, self.value)

    def extra_repr(self) -> str:
        """Both numbers."""
        return f"{self.threshold}, {self.value}"


class Softmin(Layer):
    """softmax(-x) along `dim`: the smallest element has the largest share.

    Args:
        dim: default the last axis.
        axis: NumPy's name for `dim`.

    Raises:
        TypeError: when it is called, x is not of floats.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Softmin(dim=0)(xpnet.asarray([0.0, 1000.0]))
    array([1., 0.], dtype=float32)
    """

    def __init__(self, dim: int = -1, *, axis: int | None = None) -> None:
        self.dim = self.axis = checks.axis("Softmin", "dim", dim if axis is None else axis)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.softmin(x, self.axis)
