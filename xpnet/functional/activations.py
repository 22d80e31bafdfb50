"""Activations: each is its formula and its derivative (deck S2, S3)."""

from __future__ import annotations

import math

from xpnet.arrays import erf, floating, keep, widen, zero
from xpnet.autograd import Pullback, differentiable
from xpnet.backend import Array, namespace

Result = tuple[Array, Pullback]


@differentiable
def relu(x: Array) -> Result:
    """max(x, 0); derivative 1 for x > 0, else 0 (Nair & Hinton, 2010).

    >>> import xpnet, xpnet.functional as F
    >>> F.relu(xpnet.asarray([-1.0, 0.0, 2.0]))
    array([0., 0., 2.], dtype=float32)
    """
    xp = namespace(x)
    y = xp.maximum(x, zero(x))
    return y, lambda dy: keep(dy, y > 0)


@differentiable
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Result:
    """x for x > 0, else negative_slope * x (Maas et al., 2013)."""
    floating("leaky_relu", x)
    xp = namespace(x)
    slope = xp.astype(x > 0, x.dtype) * (1 - negative_slope) + negative_slope
    return x * slope, lambda dy: dy * slope


@differentiable
def elu(x: Array, alpha: float = 1.0) -> Result:
    """x for x > 0, else alpha (exp(x) - 1) (Clevert et al., 2016; deck S3 swaps the cases)."""
    floating("elu", x)
    xp = namespace(x)
    y = xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, zero(x))))
    return y, lambda dy: dy * xp.where(x > 0, xp.ones_like(y), y + alpha)


@differentiable
def sigmoid(x: Array) -> Result:
    """1 / (1 + exp(-x)); g' = g (1 - g). Does not overflow."""
    floating("sigmoid", x)
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    y = xp.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return y, lambda dy: dy * y * (1 - y)


@differentiable
def tanh(x: Array) -> Result:
    """tanh(x) = 2 sigmoid(2x) - 1; g' = 1 - g^2."""
    floating("tanh", x)
    y = namespace(x).tanh(x)
    return y, lambda dy: dy * (1 - y * y)


@differentiable
def lecun_tanh(x: Array) -> Result:
    """1.7159 tanh(2x/3): f(1) = 1 and f(-1) = -1 (LeCun et al., 1998, "Efficient BackProp")."""
    floating("lecun_tanh", x)
    t = namespace(x).tanh(x * (2 / 3))
    return 1.7159 * t, lambda dy: dy * (1.7159 * 2 / 3 * (1 - t * t))


@differentiable
def hardtanh(x: Array) -> Result:
    """x clipped to [-1, 1]; derivative 1 strictly inside, else 0."""
    floating("hardtanh", x)
    xp = namespace(x)
    return xp.clip(x, -1.0, 1.0), lambda dy: keep(dy, (x > -1) & (x < 1))


@differentiable
def maxout(x: Array, pieces: int = 2) -> Result:
    """The maximum of each group of `pieces` neighbours on the last axis (Goodfellow et al., 2013).

    Args:
        x: (..., units * pieces), the outputs of `pieces` linear maps a unit.
        pieces: linear maps a unit. The first of equal maxima gets the gradient.

    Returns:
        (..., units).

    Raises:
        ValueError: the last axis is not a multiple of `pieces`.

    >>> import xpnet, xpnet.functional as F
    >>> F.maxout(xpnet.asarray([[1.0, 2.0, 5.0, -1.0]]))
    array([[2., 5.]], dtype=float32)
    """
    xp = namespace(x)
    if x.shape[-1] % pieces:
        raise ValueError(
            f"maxout: the last axis has {x.shape[-1]} elements, not a multiple of pieces={pieces}"
        )
    groups = xp.reshape(x, (*x.shape[:-1], x.shape[-1] // pieces, pieces))
    y = xp.max(groups, axis=-1)

    def pullback(dy: Array) -> Array:
        winner = xp.expand_dims(xp.argmax(groups, axis=-1), axis=-1)
        piece = xp.arange(pieces, dtype=winner.dtype, device=groups.device)
        return xp.reshape(xp.where(winner == piece, xp.expand_dims(dy, axis=-1), zero(dy)), x.shape)

    return y, pullback


@differentiable
def softplus(x: Array) -> Result:
    """log(1 + exp(x)), without overflow; its derivative is the sigmoid."""
    floating("softplus", x)
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    y = xp.maximum(x, zero(x)) + xp.log1p(e)
    return y, lambda dy: dy * (xp.where(x >= 0, xp.ones_like(e), e) / (1 + e))


@differentiable
def gelu(x: Array) -> Result:
    """x Phi(x), Phi the standard normal distribution (Hendrycks & Gimpel, 2016); exact, not the tanh form."""
    floating("gelu", x)
    xp, z = namespace(x), widen(x)  # the polynomials of erf leave the range of float16
    phi = 0.5 * (1 + erf(z * (1 / math.sqrt(2))))
    density = 1 / math.sqrt(2 * math.pi)

    def pullback(dy: Array) -> Array:
        return xp.astype(dy * (phi + z * density * xp.exp(-0.5 * z * z)), x.dtype, copy=False)

    return xp.astype(z * phi, x.dtype, copy=False), pullback


@differentiable
def softmax(x: Array, axis: int = -1) -> Result:
    """exp(x) / sum exp(x) along `axis`; shifted by the largest element, so that it cannot overflow."""
    floating("softmax", x)
    xp = namespace(x)
    z = widen(x)
    e = xp.exp(z - _largest(z, axis))
    y = e / xp.sum(e, axis=axis, keepdims=True)

    def pullback(dy: Array) -> Array:
        dy = widen(dy)
        return xp.astype(y * (dy - xp.sum(dy * y, axis=axis, keepdims=True)), x.dtype, copy=False)

    return xp.astype(y, x.dtype, copy=False), pullback


@differentiable
def log_softmax(x: Array, axis: int = -1) -> Result:
    """log(softmax(x)) = x - max - log sum exp(x - max)."""
    floating("log_softmax", x)
    xp = namespace(x)
    z = widen(x)
    shifted = z - _largest(z, axis)
    y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))

    def pullback(dy: Array) -> Array:
        dy = widen(dy)
        return xp.astype(dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True), x.dtype, copy=False)

    return xp.astype(y, x.dtype, copy=False), pullback


def _largest(z: Array, axis: int) -> Array:
    """The maximum along `axis`, which stays; of nothing it is nothing."""
    return namespace(z).max(z, axis=axis, keepdims=True) if math.prod(z.shape) else z
