"""Distances and angles of pairs of vectors, as layers."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.checks import axis, number
from xpnet.functional.distances import check_p
from xpnet.nn.module import Module


class CosineSimilarity(Module):
    """x1 . x2 / (|x1| |x2|) along an axis.

    Args:
        dim: the axis.
        eps: the smallest length.

    Raises:
        TypeError: `dim` or `eps` is no number.
        ValueError: `eps` is below 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.CosineSimilarity()(xpnet.asarray([[3.0, 0.0]]), xpnet.asarray([[4.0, 3.0]])).item()
    0.8...
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = axis("CosineSimilarity", "dim", dim), number("CosineSimilarity", "eps", eps, 0)

    def forward(self, x1: Any, x2: Any) -> Any:
        """The shape without that axis."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class PairwiseDistance(Module):
    """(sum |x1 - x2 + eps|^p)^(1/p) over the last axis.

    Args:
        p: of the norm, above 0; infinity for the largest difference.
        eps: added to each difference.
        keepdim: keep the last axis, as 1.

    Raises:
        ValueError: p is not above 0.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.PairwiseDistance(eps=0.0)(xpnet.asarray([[3.0, 4.0]]), xpnet.asarray([[0.0, 0.0]]))
    array([5.], dtype=float32)
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, number("PairwiseDistance", "eps", eps), keepdim
        check_p("PairwiseDistance", p)

    def forward(self, x1: Any, x2: Any) -> Any:
        """(..., D) and (..., D) -> (...), or (..., 1)."""
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        """The norm."""
        return f"p={self.p}"
