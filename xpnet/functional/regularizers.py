"""Penalties on the size of the weights (decks S1, S2). Biases and norm parameters are left out by default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from xpnet.core.arrays import narrow, widen
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace
from xpnet.core.tensor import Tensor


class HasParameters(Protocol):
    """A module, say."""

    def parameters(self) -> Iterable[Tensor]:
        """What is trained."""


@differentiable
def squared_norm(w: Array, strength: float = 1.0) -> tuple[Array, Pullback]:
    """strength * sum w^2; gradient 2 strength w. 16-bit types are squared and added up in float32."""
    wide = widen(w)
    return _norm(w, wide * wide, strength), lambda dy: narrow(widen(dy) * (2 * strength) * wide, w)


@differentiable
def absolute_norm(w: Array, strength: float = 1.0) -> tuple[Array, Pullback]:
    """strength * sum |w|; gradient strength sign(w), 0 at 0."""
    xp, wide = namespace(w), widen(w)
    return _norm(w, xp.abs(wide), strength), lambda dy: narrow(widen(dy) * strength * xp.sign(wide), w)


def _norm(w: Array, terms: Array, strength: float) -> Array:
    return narrow(namespace(w).sum(terms, dtype=terms.dtype) * strength, w)


def weights(model: HasParameters | Iterable[Tensor]) -> list[Tensor]:
    """The parameters a penalty applies to: those with two or more axes, so no biases and no norms."""
    parameters: Any = model.parameters() if hasattr(model, "parameters") else model
    return [p for p in parameters if p.ndim >= 2]


def l2(model: HasParameters | Iterable[Tensor], strength: float) -> Tensor:
    """strength * sum of W^2 over the weights; gradient 2 strength W (deck S2; S1: strength = lambda / 2m).

    The reading in probability: a Gaussian prior on the weights.

    Args:
        model: a module, or parameters of any shape; those with fewer than two axes are left out.
        strength: how much it counts.

    Returns:
        A penalty without axes, to be added to the loss.

    Raises:
        ValueError: there are no weights.

    >>> import xpnet, xpnet.functional as F
    >>> w = xpnet.tensor([[3.0, 4.0]], requires_grad=True)
    >>> float(F.l2([w], 0.5))
    12.5
    """
    return _penalty(squared_norm, model, strength)


def l1(model: HasParameters | Iterable[Tensor], strength: float) -> Tensor:
    """strength * sum of |W| over the weights; a Laplace prior, which drives weights to exactly 0.

    Args:
        model: a module, or parameters of any shape; those with fewer than two axes are left out.
        strength: how much it counts.

    Returns:
        A penalty without axes, to be added to the loss.

    Raises:
        ValueError: there are no weights.

    >>> import xpnet, xpnet.functional as F
    >>> w = xpnet.tensor([[3.0, -4.0]], requires_grad=True)
    >>> float(F.l1([w], 0.5))
    3.5
    """
    return _penalty(absolute_norm, model, strength)


def _penalty(norm: Any, model: Any, strength: float) -> Tensor:
    total: Any = None
    for w in weights(model):
        term = norm(w, strength)
        total = term if total is None else total + term
    if total is None:
        raise ValueError("no weights to regularise: expected a model or parameters with two or more axes")
    return total
