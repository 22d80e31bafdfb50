"""Activations as layers; the formulas are in xpnet.functional.activations."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.functional import activations
from xpnet.nn.module import Layer


class ReLU(Layer):
    """max(x, 0); `inplace` is taken, and changes nothing."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return activations.relu(x)


class LeakyReLU(Layer):
    """x for x > 0, else negative_slope * x; `inplace` is taken, and changes nothing."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"{self.negative_slope}"


class ELU(Layer):
    """x for x > 0, else alpha (exp(x) - 1); `inplace` is taken, and changes nothing."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = alpha, inplace

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Alpha."""
        return f"{self.alpha}"


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.sigmoid(x)


class Tanh(Layer):
    """tanh(x)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.tanh(x)


class LeCunTanh(Layer):
    """1.7159 tanh(2x/3)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.lecun_tanh(x)


class Hardtanh(Layer):
    """x clipped to [min_val, max_val]; `inplace` is taken, and changes nothing."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
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
    """log(1 + exp(beta x)) / beta; x where beta x is above the threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
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
    """x Phi(x); with `approximate="tanh"` nearly so, as in `functional.gelu`."""

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
    """

    def __init__(self, dim: int = -1, *, axis: int | None = None) -> None:
        self.dim = self.axis = dim if axis is None else axis

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.softmax(x, self.axis)
