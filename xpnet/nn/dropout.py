"""Dropout of elements, channels and branches, as layers."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.checks import probability
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
        self.p, self.inplace = probability(type(self).__name__, "p", p), inplace

    def forward(self, x: Any) -> Any:
        """The same shape."""
        depends_on(self, "training", "p")
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Dropout1d(Dropout):
    """In training, set each channel of (N, C, L) or (C, L) to 0 with probability `p` and scale the rest.

    Args:
        p: the probability of *dropping*, in [0, 1].
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        ValueError: p is outside [0, 1]; when it is called, other numbers of axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Dropout1d(0.2).eval()(xpnet.asarray([[1.0, 2.0]])).shape
    (1, 2)
    """

    def forward(self, x: Any) -> Any:
        """The same shape."""
        depends_on(self, "training", "p")
        return F.dropout1d(x, self.p, self.training)


class Dropout2d(Dropout):
    """In training, set each channel of (N, C, H, W) to 0 with probability `p` and scale the rest.

    Args:
        p: the probability of *dropping*, in [0, 1].
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        ValueError: p is outside [0, 1]; when it is called, other numbers of axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Dropout2d(0.2).eval()(xpnet.asarray([[[[1.0, 2.0]]]])).shape
    (1, 1, 1, 2)
    """

    def forward(self, x: Any) -> Any:
        """The same shape."""
        depends_on(self, "training", "p")
        return F.dropout2d(x, self.p, self.training)


class Dropout3d(Dropout):
    """In training, set channels of (N, C, D, H, W) or (C, D, H, W) to 0 with probability `p`, scale the rest.

    Args:
        p: the probability of *dropping*, in [0, 1].
        inplace: taken for PyTorch's sake; it changes nothing.

    Raises:
        ValueError: p is outside [0, 1]; when it is called, other numbers of axes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Dropout3d(0.2).eval()(xpnet.asarray([[[[[1.0, 2.0]]]]])).shape
    (1, 1, 1, 1, 2)
    """

    def forward(self, x: Any) -> Any:
        """The same shape."""
        depends_on(self, "training", "p")
        return F.dropout3d(x, self.p, self.training)


class DropPath(Layer):
    """Stochastic depth: in training, the branch of a sample is dropped as a whole (Huang et al., 2016).

    Args:
        drop_prob: the probability of *dropping* a sample, in [0, 1].
        scale_by_keep: multiply the others by 1 / (1 - drop_prob).

    Raises:
        ValueError: drop_prob is outside [0, 1].

    >>> from xpnet import nn
    >>> nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.DropPath(0.1)))
    Residual(
      (body): Sequential(
        (0): Linear(4, 4)
        (1): DropPath(0.1)
      )
    )
    """

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        self.drop_prob = probability("DropPath", "drop_prob", drop_prob)
        self.scale_by_keep = scale_by_keep

    def forward(self, x: Any) -> Any:
        """The same shape."""
        depends_on(self, "training", "drop_prob")
        return F.drop_path(x, self.drop_prob, self.training, self.scale_by_keep)

    def extra_repr(self) -> str:
        """The probability."""
        return f"{self.drop_prob}"
