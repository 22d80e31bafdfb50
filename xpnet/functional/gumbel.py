"""Samples of classes that gradients pass through."""

from __future__ import annotations

from xpnet.core import random
from xpnet.core.arrays import arange, carries_gradients, constant, floating, narrow, widen
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import Tensor
from xpnet.functional.activations import softmax


@differentiable
def perturbed(x: Array, tau: float, key: random.Key) -> tuple[Array, Pullback]:
    """(x + g) / tau, g of Gumbel's distribution: the largest is at k with the probability softmax(x)_k."""
    like, wide = x.data if carries_gradients(x) else x, widen(x)
    noise = random.gumbel(tuple(x.shape), key, backend_of(like))
    noise = constant(namespace(noise).astype(noise, wide.dtype), x)
    return narrow((wide + noise) / tau, x), lambda dy: dy / tau


@differentiable(forward="pointwise")  # as its pullback: the slope of the body is 0
def largest(p: Array, dim: int) -> tuple[Array, Pullback]:
    """1 at the largest element along an axis, else 0; the gradient passes as if it were p (Bengio, 2013)."""
    xp = namespace(p)
    index = xp.argmax(p, axis=dim, keepdims=True)
    places = xp.reshape(arange(p.shape[dim], index), (-1, *(1,) * (p.ndim - 1 - dim % p.ndim)))
    hard = xp.astype(index == places, p.dtype)
    return xp.where(p == p, hard, p), lambda dy: dy


def gumbel_softmax(
    logits: Array | Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((z + g) / tau), g of Gumbel's distribution: nearly a sample of a class (Jang et al., 2017).

    Args:
        logits: z, any shape.
        tau: above 0; the smaller, the nearer the results are to 0 and 1.
        hard: give 0 and 1, a sample of softmax(z); the gradient is that of the soft result.
        eps: taken for PyTorch's sake; it changes nothing.
        dim: the axis of classes.

    Returns:
        The shape of the logits; along `dim` the elements add up to 1.

    Raises:
        ValueError: tau is not above 0.
        TypeError: the logits are not of floats.

    g comes from the noise stream of `xpnet.random`: the same on every backend for the same seed.

    >>> import xpnet, xpnet.functional as F
    >>> y = F.gumbel_softmax(xpnet.asarray([[0.0, 0.0, 0.0]]), hard=True)
    >>> sorted(y[0].tolist())
    [0.0, 0.0, 1.0]
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau must be above 0, got {tau}")
    floating("gumbel_softmax", logits, "the logits")
    y = softmax(perturbed(logits, tau, random.generators[random.NOISE].next_key()), dim)
    return largest(y, dim) if hard else y
