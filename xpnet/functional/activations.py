"""Activations: each is its formula and its derivative (deck S2, S3)."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import cast, erf, floating, keep, widen, zero
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace

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
    return y, lambda dy: keep(dy, y != 0)  # so that NaN has one


@differentiable
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Result:
    """x for x > 0, else negative_slope * x (Maas et al., 2013)."""
    floating("leaky_relu", x)
    xp = namespace(x)
    derivative = xp.astype(x > 0, x.dtype) * (1 - negative_slope) + negative_slope
    return x * derivative, lambda dy: dy * derivative


@differentiable
def elu(x: Array, alpha: float = 1.0) -> Result:
    """x for x > 0, else alpha (exp(x) - 1) (Clevert et al., 2016; deck S3 swaps the cases)."""
    floating("elu", x)
    xp = namespace(x)
    y = xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, zero(x))))
    return y, lambda dy: dy * xp.where(x > 0, xp.ones_like(y), y + alpha)


@differentiable
def sigmoid(x: Array) -> Result:
    """1 / (1 + exp(-x)); g' = g (1 - g). Does not overflow.

    >>> import xpnet, xpnet.functional as F
    >>> F.sigmoid(xpnet.asarray([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    floating("sigmoid", x)
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    y = xp.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return y, lambda dy: dy * y * (1 - y)


@differentiable
def tanh(x: Array) -> Result:
    """tanh(x) = 2 sigmoid(2x) - 1; g' = 1 - g^2.

    >>> import xpnet, xpnet.functional as F
    >>> F.tanh(xpnet.asarray([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.], dtype=float32)
    """
    floating("tanh", x)
    y = namespace(x).tanh(x)
    return y, lambda dy: dy * (1 - y * y)


@differentiable
def lecun_tanh(x: Array) -> Result:
    """1.7159 tanh(2x/3): f(1) = 1 and f(-1) = -1 (LeCun et al., 1998, "Efficient BackProp").

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 3) for y in F.lecun_tanh(xpnet.asarray([-1.0, 0.0, 1.0]))]
    [-1.0, 0.0, 1.0]
    """
    floating("lecun_tanh", x)
    t = namespace(x).tanh(x * (2 / 3))
    return 1.7159 * t, lambda dy: dy * (1.7159 * 2 / 3 * (1 - t * t))


@differentiable
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Result:
    """x clipped to [min_val, max_val]; derivative 1 strictly inside, else 0."""
    floating("hardtanh", x)
    if not min_val <= max_val:
        raise ValueError(f"hardtanh: min_val must be at most max_val, got {min_val} and {max_val}")
    xp = namespace(x)
    return xp.clip(x, min_val, max_val), lambda dy: keep(dy, ~((x <= min_val) | (x >= max_val)))


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
def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Result:
    """log(1 + exp(beta x)) / beta, without overflow; its derivative is sigmoid(beta x).

    Args:
        x: any shape.
        beta: how sharp the bend is, not 0.
        threshold: where beta x is above it, the result is x.

    Returns:
        The shape of x.

    Raises:
        ValueError: beta is 0.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.softplus(xpnet.asarray([-1.0, 0.0, 1000.0]))]
    [0.3133, 0.6931, 1000.0]
    """
    floating("softplus", x)
    if not beta:
        raise ValueError("softplus: beta must not be 0")
    xp, z = namespace(x), x * beta
    e = xp.exp(-xp.abs(z))
    line = z > threshold
    y = xp.where(line, x, (xp.maximum(z, zero(z)) + xp.log1p(e)) * (1 / beta))

    def pullback(dy: Array) -> Array:
        derivative = xp.where(z >= 0, xp.ones_like(e), e) / (1 + e)
        return xp.where(line, dy, dy * derivative)

    return y, pullback


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
def gelu_tanh(x: Array) -> Result:
    """x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3), which is nearly gelu."""
    floating("gelu", x)
    xp, z = namespace(x), widen(x)
    c, d = math.sqrt(2 / math.pi), 0.044715
    t = xp.tanh(c * (z + d * z * z * z))

    def pullback(dy: Array) -> Array:
        derivative = 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * (c * (1 + 3 * d * z * z))
        return xp.astype(dy * derivative, x.dtype, copy=False)

    return xp.astype(0.5 * z * (1 + t), x.dtype, copy=False), pullback


def one_axis(axis: int, dim: int | None) -> int:
    """PyTorch's spelling or NumPy's, of which one may be used."""
    if dim is not None and axis != -1:
        raise TypeError(f"axis and dim are one thing: pass one of them, got axis={axis} and dim={dim}")
    return axis if dim is None else dim


@differentiable
def softmax(x: Array, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Result:
    """exp(x) / sum exp(x) along `axis`; shifted by the largest element, so that it cannot overflow.

    Args:
        x: any shape.
        axis: the default is the last one.
        dim: PyTorch's name for `axis`.
        dtype: of the result, to which x is converted first, as in PyTorch.

    Returns:
        The shape of x; along `axis` the elements add up to 1.

    Raises:
        TypeError: `axis` and `dim` are both given, or x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.softmax(xpnet.asarray([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """
    given, x = x.dtype, cast(x, dtype)
    floating("softmax", x)
    axis = one_axis(axis, dim)
    xp = namespace(x)
    z = widen(x)
    e = xp.exp(z - _largest(z, axis))
    y = e / xp.sum(e, axis=axis, keepdims=True)

    def pullback(dy: Array) -> Array:
        dy = widen(dy)
        return xp.astype(y * (dy - xp.sum(dy * y, axis=axis, keepdims=True)), given, copy=False)

    return xp.astype(y, x.dtype, copy=False), pullback


@differentiable
def log_softmax(x: Array, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Result:
    """log(softmax(x)) = x - max - log sum exp(x - max), along `axis`.

    Args:
        x: any shape.
        axis: the default is the last one.
        dim: PyTorch's name for `axis`.
        dtype: of the result, to which x is converted first, as in PyTorch.

    Returns:
        The shape of x.

    Raises:
        TypeError: `axis` and `dim` are both given, or x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.log_softmax(xpnet.asarray([0.0, 0.0]))]
    [-0.6931, -0.6931]
    """
    given, x = x.dtype, cast(x, dtype)
    floating("log_softmax", x)
    axis = one_axis(axis, dim)
    xp = namespace(x)
    z = widen(x)
    shifted = z - _largest(z, axis)
    y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))

    def pullback(dy: Array) -> Array:
        dy = widen(dy)
        return xp.astype(dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True), given, copy=False)

    return xp.astype(y, x.dtype, copy=False), pullback


def _largest(z: Array, axis: int) -> Array:
    """The maximum along `axis`, which stays; of nothing it is nothing."""
    return namespace(z).max(z, axis=axis, keepdims=True) if math.prod(z.shape) else z
