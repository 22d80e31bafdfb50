"""Weights made of others: of a length and a direction, and of spectral norm 1."""

from __future__ import annotations

from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace

Result = tuple[Array, Pullback]


@differentiable
def of_length(v: Array, g: Array, dim: int | None) -> Result:
    """w = g v / |v| (Salimans & Kingma, 2016), |v| over all axes but `dim`; over all, if that is None.

    dg = v.dw / |v|, dv = g / |v| (dw - v (v.dw) / |v|^2).
    """
    xp = namespace(v, g)
    axes = tuple(i for i in range(v.ndim) if dim is None or i != dim % v.ndim)
    total = lambda x: xp.sum(x, axis=axes, keepdims=dim is not None, dtype=x.dtype) if axes else x
    length = xp.sqrt(total(v * v))
    direction = v / length

    def pullback(dw: Array) -> tuple[Array, Array]:
        dg = total(dw * direction)
        return (dw - direction * dg) * (g / length), dg

    return direction * g, pullback


@differentiable
def of_norm_1(weight: Array, u: Array, v: Array, dim: int) -> Result:
    """w / sigma, sigma = u^T W v of the matrix W whose rows are the parts along `dim`; u and v are constant.

    dW = (dY - (dY . Y) u v^T) / sigma.
    """
    xp = namespace(weight)
    matrix = as_matrix(weight, dim)
    outer = u[:, None] * v[None, :]
    sigma = xp.sum(matrix * outer, dtype=matrix.dtype)
    y = weight / sigma

    def pullback(dy: Array) -> tuple[Array, None, None]:
        share = xp.sum(dy * y, dtype=dy.dtype) / sigma
        return dy / sigma - share * _from_matrix(outer, weight, dim), None, None

    return y, pullback


def as_matrix(weight: Array, dim: int) -> Array:
    """(n, rest), n along `dim`."""
    xp = namespace(weight)
    return xp.reshape(xp.permute_dims(weight, _first(weight, dim)), (weight.shape[dim], -1))


def _first(like: Array, dim: int) -> tuple[int, ...]:
    """The axes with `dim` before the others."""
    return (dim, *(i for i in range(like.ndim) if i != dim))


def _from_matrix(matrix: Array, like: Array, dim: int) -> Array:
    """The opposite of `as_matrix`."""
    xp, order = namespace(matrix), _first(like, dim)
    apart = xp.reshape(matrix, tuple(like.shape[axis] for axis in order))
    return xp.permute_dims(apart, tuple(order.index(axis) for axis in range(like.ndim)))
