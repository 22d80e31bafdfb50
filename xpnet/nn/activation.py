"""Activations as layers; the formulas are in xpnet.functional.activations."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core import checks
from xpnet.core.checks import number
from xpnet.functional import activations
from xpnet.nn.module import Layer


class ReLU(Layer):
    """max(x, 0), of any shape.

    Args:
        inplace: taken for PyTorch's sake; it changes nothing.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ReLU()(xpnet.asarray([-1.0, 2.0]))
    array([0., 2.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return activations.relu(x)


class LeakyReLU(Layer):
    """x for x > 0, else negative_slope * x, of any shape.

    Args:
        negative_slope: the derivative for x < 0.
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        TypeError: when it is called, x is not of floats.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.LeakyReLU(0.1)(xpnet.asarray([-1.0, 2.0]))
    array([-0.1,  2. ], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The derivative below 0."""
        return f"{self.negative_slope}"


class ELU(Layer):
    """x for x > 0, else alpha (exp(x) - 1), of any shape.

    Args:
        alpha: minus the limit for x to -infinity.
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        TypeError: when it is called, x is not of floats.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.ELU()(xpnet.asarray([-100.0, 2.0]))
    array([-1.,  2.], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = number("ELU", "alpha", alpha), inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Alpha."""
        return f"{self.alpha}"


class Sigmoid(Layer):
    """1 / (1 + exp(-x)), of any shape.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Sigmoid()(xpnet.asarray([0.0, 1000.0]))
    array([0.5, 1. ], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.sigmoid(x)


class Tanh(Layer):
    """tanh(x), of any shape.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Tanh()(xpnet.asarray([0.0, 1000.0]))
    array([0., 1.], dtype=float32)
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.tanh(x)


class LeCunTanh(Layer):
    """1.7159 tanh(2x/3), of any shape.

    >>> import xpnet
    >>> from xpnet import nn
    >>> round(float(nn.LeCunTanh()(xpnet.asarray([1.0]))[0]), 3)
    1.0
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.lecun_tanh(x)


class Hardtanh(Layer):
    """x clipped to [min_val, max_val], of any shape.

    Args:
        min_val: the smallest result.
        max_val: the largest result.
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        ValueError: `min_val` is not below `max_val`.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Hardtanh(0.0, 6.0)(xpnet.asarray([-1.0, 2.0, 9.0]))
    array([0., 2., 6.], dtype=float32)
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        min_val, max_val = number("Hardtanh", "min_val", min_val), number("Hardtanh", "max_val", max_val)
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val, got {min_val} and {max_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """The range."""
        return "" if (self.min_val, self.max_val) == (-1, 1) else f"{self.min_val}, {self.max_val}"


class Softplus(Layer):
    """log(1 + exp(beta x)) / beta; x where beta x is above the threshold.

    Args:
        beta: how sharp the bend is, not 0.
        threshold: where beta x is above it, the result is x.

    Raises:
        ValueError: beta is 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Softplus()(xpnet.asarray([-1000.0, 1000.0]))
    array([   0., 1000.], dtype=float32)
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        beta, threshold = number("Softplus", "beta", beta), number("Softplus", "threshold", threshold)
        if not beta:
            raise ValueError("Softplus: beta must not be 0")
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Beta."""
        return "" if self.beta == 1 else f"beta={self.beta}"


class GELU(Layer):
    """x Phi(x), of any shape, Phi the standard normal distribution.

    Args:
        approximate: "none", or "tanh" for nearly that, as in `functional.gelu`.

    Raises:
        ValueError: another word.

    >>> import xpnet
    >>> from xpnet import nn
    >>> round(float(nn.GELU()(xpnet.asarray([1.0]))[0]), 4)
    0.8413
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate must be "none" or "tanh", got {approximate!r}')
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """The form, if it is not exact."""
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


class Softmax(Layer):
    """exp(x) / sum exp(x) along `dim`, to read probabilities; train on the logits with `cross_entropy`.

    Args:
        dim: default the last axis.
        axis: NumPy's name for `dim`.

    Raises:
        TypeError: when it is called, x is not of floats.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Softmax(dim=1)(xpnet.asarray([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """

    def __init__(self, dim: int = -1, *, axis: int | None = None) -> None:
        self.dim = self.axis = checks.axis("Softmax", "dim", dim if axis is None else axis)

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.softmax(x, self.axis)


_FUSED: dict[type, Any] = {
    ReLU: lambda layer: ("relu",),
    LeakyReLU: lambda layer: ("leaky_relu", layer.negative_slope),
    ELU: lambda layer: ("elu", layer.alpha),
    Sigmoid: lambda layer: ("sigmoid",),
    Tanh: lambda layer: ("tanh",),
    GELU: lambda layer: ("gelu" if layer.approximate == "none" else "gelu_tanh",),
}


def fused_name(layer: Any) -> tuple[Any, ...] | None:
    """The last arguments of `linear_activation` for a layer of one of these classes; else None."""
    found = _FUSED.get(type(layer))
    return found(layer) if found is not None else None
