"""Activations as layers; the formulas are in xpnet.functional.activations."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.relu(x)


class LeakyReLU(Module):
    """x for x > 0, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"{self.negative_slope}"


class ELU(Module):
    """x for x > 0, else alpha (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Alpha."""
        return f"{self.alpha}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.sigmoid(x)


class Tanh(Module):
    """tanh(x)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.tanh(x)


class LeCunTanh(Module):
    """1.7159 tanh(2x/3)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.lecun_tanh(x)


class Hardtanh(Module):
    """x clipped to [-1, 1]."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.hardtanh(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.softplus(x)


class GELU(Module):
    """x Phi(x)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return F.gelu(x)


class Softmax(Module):
    """exp(x) / sum exp(x) along `axis`, to read probabilities; train on the logits with `cross_entropy`."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """The same shape."""
        return F.softmax(x, self.axis)
