"""Penalties on the size of the weights (decks S1, S2). Biases and norm parameters are left out by default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xpnet.autograd import Pullback, Tensor, differentiable
from xpnet.backend import Array, namespace

if TYPE_CHECKING:
    from xpnet.nn import Module


@differentiable
def squared_norm(w: Array) -> tuple[Array, Pullback]:
    """sum w^2; gradient 2 w."""
    xp = namespace(w)
    return xp.sum(w * w, dtype=w.dtype), lambda dy: dy * 2 * w


@differentiable
def absolute_norm(w: Array) -> tuple[Array, Pullback]:
    """sum |w|; gradient sign(w), 0 at 0."""
    xp = namespace(w)
    return xp.sum(xp.abs(w), dtype=w.dtype), lambda dy: dy * xp.sign(w)


def weights(model: Module | Iterable[Tensor]) -> list[Tensor]:
    """The parameters a penalty applies to: those with two or more axes, so no biases and no norms."""
    parameters: Any = model.parameters() if hasattr(model, "parameters") else model
    return [p for p in parameters if p.ndim >= 2]


def l2(model: Module | Iterable[Tensor], strength: float) -> Tensor:
    """strength * sum of W^2 over the weights; gradient 2 strength W (deck S2; S1: strength = lambda / 2m).

    The reading in probability: a Gaussian prior on the weights.

    >>> import xpnet, xpnet.functional as F
    >>> w = xpnet.tensor([[3.0, 4.0]], requires_grad=True)
    >>> float(F.l2([w], 0.5))
    12.5
    """
    return _penalty(squared_norm, model, strength)


def l1(model: Module | Iterable[Tensor], strength: float) -> Tensor:
    """strength * sum of |W| over the weights; a Laplace prior, which drives weights to exactly 0."""
    return _penalty(absolute_norm, model, strength)


def _penalty(norm: Any, model: Any, strength: float) -> Tensor:
    total: Any = None
    for w in weights(model):
        total = norm(w) if total is None else total + norm(w)
    if total is None:
        raise ValueError("no weights to regularise: expected a model or parameters with two or more axes")
    return total * strength
