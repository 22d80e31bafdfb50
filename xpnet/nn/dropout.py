"""Dropout as a layer."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.checks import number
from xpnet.core.recording import depends_on
from xpnet.nn.module import Layer


class Dropout(Layer):
    """In training, set each element to 0 with probability `p` and scale the rest by 1/(1 - p).

    Args:
        p: the probability of *dropping*, in [0, 1].
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        ValueError: p is outside [0, 1].

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Dropout(0.2).eval()(xpnet.asarray([1.0, 2.0]))
    array([1., 2.], dtype=float32)
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        p = number("Dropout", "p", p)
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is the probability of dropping, in [0, 1], got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, x: Any) -> Any:
        """The same shape."""
        depends_on(self, "training", "p")
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
