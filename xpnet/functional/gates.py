"""Activations that multiply: x times a gate of x, or of the other half of the channels; and their gates."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import floating, keep, narrow, sum_in_float32, widen, zero
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional import activations
from xpnet.functional.public import of, result

Result = tuple[Array, Pullback]


def _sigmoid(z: Array) -> Array:
    return activations.sigmoid.body(z)[0]


@differentiable
def silu_op(x: Array) -> Result:
    """x sigmoid(x)."""
    z = widen(floating("silu", x))
    s = _sigmoid(z)
    return narrow(z * s, x), lambda dy: narrow(widen(dy) * (s * (1 + z * (1 - s))), x)


@differentiable
def mish_op(x: Array) -> Result:
    """x tanh(log(1 + exp(x)))."""
    xp, z = namespace(x), widen(floating("mish", x))
    t = xp.tanh(xp.maximum(z, zero(z)) + xp.log1p(xp.exp(-xp.abs(z))))
    return narrow(z * t, x), lambda dy: narrow(widen(dy) * (t + z * (1 - t * t) * _sigmoid(z)), x)


@differentiable
def hardsigmoid_op(x: Array) -> Result:
    """x / 6 + 1/2, clipped to [0, 1]."""
    xp, z = namespace(x), widen(floating("hardsigmoid", x))
    y = narrow(xp.clip(z * (1 / 6) + 0.5, 0.0, 1.0), x)
    return y, lambda dy: keep(dy, ~((x <= -3) | (x >= 3))) * (1 / 6)


@differentiable
def hardswish_op(x: Array) -> Result:
    """x hardsigmoid(x)."""
    xp, z = namespace(x), widen(floating("hardswish", x))
    y = narrow(z * xp.clip(z * (1 / 6) + 0.5, 0.0, 1.0), x)

    def pullback(dy: Array) -> Array:
        wide = widen(dy)
        return narrow(xp.where(z >= 3, wide, keep(wide * (z * (1 / 3) + 0.5), ~(z <= -3))), x)

    return y, pullback


@takes_input
@of(silu_op)
def silu(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x) (Elfwing et al., 2017; "swish").

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.silu(xpnet.asarray([-1.0, 0.0, 1.0]))]
    [-0.2689, 0.0, 0.7311]
    """
    return result(x, silu_op(x), inplace)


@takes_input
@of(mish_op)
def mish(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra, 2019).

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.mish(xpnet.asarray([-1.0, 0.0, 1.0]))]
    [-0.3034, 0.0, 0.8651]
    """
    return result(x, mish_op(x), inplace)


@takes_input
@of(hardsigmoid_op)
def hardsigmoid(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2 clipped to [0, 1]: `sigmoid` of three straight lines (Courbariaux et al., 2015).

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.hardsigmoid(xpnet.asarray([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ], dtype=float32)
    """
    return result(x, hardsigmoid_op(x), inplace)


@takes_input
@of(hardswish_op)
def hardswish(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x) (Howard et al., 2019).

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.hardswish(xpnet.asarray([-4.0, 0.0, 1.5, 4.0]))
    array([-0.   ,  0.   ,  1.125,  4.   ], dtype=float32)
    """
    return result(x, hardswish_op(x), inplace)


@differentiable
def logsigmoid(x: Array) -> Result:
    """log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)), which does not overflow; derivative sigmoid(-x).

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.logsigmoid(xpnet.asarray([-1000.0, 0.0, 1000.0]))]
    [-1000.0, -0.6931, 0.0]
    """
    xp, z = namespace(x), widen(floating("logsigmoid", x))
    y = xp.minimum(z, zero(z)) - xp.log1p(xp.exp(-xp.abs(z)))
    return narrow(y, x), lambda dy: narrow(widen(dy) * _sigmoid(-z), x)


@differentiable
def prelu(x: Array, weight: Array) -> Result:
    """x for x > 0, else weight * x, with a slope that is learned, one for all or one a channel (He, 2015).

    Args:
        x: any shape; channels are on axis 1, of one axis or none there is one channel.
        weight: (1,) or (C,).

    Returns:
        The shape of x.

    Raises:
        ValueError: the weight has neither one element nor one a channel.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.prelu(xpnet.asarray([[-1.0, -1.0]]), xpnet.asarray([0.5, 0.25]))
    array([[-0.5 , -0.25]], dtype=float32)
    """
    xp = namespace(floating("prelu", x), floating("prelu", weight, "the weight"))
    count, channels = math.prod(weight.shape), x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or count not in (1, channels):
        raise ValueError(
            f"prelu: a weight of shape {tuple(weight.shape)} does not fit x of shape {tuple(x.shape)}: it "
            f"must have 1 element, or one for each of the {channels} channels on axis 1"
        )
    slope = xp.reshape(weight, (count, *(1,) * (x.ndim - 2)) if x.ndim > 1 else (1,) * x.ndim)
    up = x > 0
    others = (0, *range(2, x.ndim)) if count > 1 else None

    def by_weight(dy: Array) -> Array:
        total = sum_in_float32(widen(keep(dy, ~up)) * widen(x), axis=others)
        return xp.astype(xp.reshape(total, weight.shape), weight.dtype, copy=False)

    return xp.where(up, x, slope * x), lambda dy: (
        lambda out: xp.where(up, dy, slope * dy),
        lambda out: by_weight(dy),
    )


def _halves(name: str, x: Array, dim: int) -> tuple[Array, Array]:
    """The first and the second half of x along an axis."""
    floating(name, x)
    if not -x.ndim <= dim < x.ndim or x.shape[dim] % 2:
        raise ValueError(f"{name}: x of shape {tuple(x.shape)} does not split in halves along dim={dim}")
    lead, n = (slice(None),) * (dim % x.ndim), x.shape[dim] // 2
    return x[(*lead, slice(0, n), ...)], x[(*lead, slice(n, 2 * n), ...)]


@differentiable
def glu(x: Array, dim: int = -1) -> Result:
    """a sigmoid(b), a and b the halves of x along an axis (Dauphin et al., 2017).

    Args:
        x: any shape.
        dim: the axis, of even length.

    Returns:
        The shape of x, with half of that axis.

    Raises:
        ValueError: x has no such axis, or it has an odd length.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.glu(xpnet.asarray([[3.0, 0.0], [2.0, 0.0]]))
    array([[1.5],
           [1. ]], dtype=float32)
    """
    xp = namespace(x)
    a, b = map(widen, _halves("glu", x, dim))
    s = _sigmoid(b)

    def pullback(dy: Array) -> Array:
        wide = widen(dy)
        return narrow(xp.concat([wide * s, wide * a * s * (1 - s)], axis=dim), x)

    return narrow(a * s, x), pullback


@differentiable
def swiglu(x: Array, dim: int = -1) -> Result:
    """silu(a) b, a and b the halves of x along an axis (Shazeer, 2020).

    Args:
        x: any shape.
        dim: the axis, of even length.

    Returns:
        The shape of x, with half of that axis.

    Raises:
        ValueError: x has no such axis, or it has an odd length.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.swiglu(xpnet.asarray([1.0, 3.0]))]
    [2.1932]
    """
    xp = namespace(x)
    a, b = map(widen, _halves("swiglu", x, dim))
    s = _sigmoid(a)

    def pullback(dy: Array) -> Array:
        wide = widen(dy)
        return narrow(xp.concat([wide * b * (s * (1 + a * (1 - s))), wide * a * s], axis=dim), x)

    return narrow(a * s * b, x), pullback


@takes_input
def softmin(x: Array | Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """softmax(-x): the smallest element has the largest share.

    Args:
        x: any shape.
        dim: the axis; default the last one.
        dtype: of the result.

    Returns:
        The shape of x; along `dim` the elements add up to 1.

    Raises:
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.softmin(xpnet.asarray([0.0, 1000.0]))
    array([1., 0.], dtype=float32)
    """
    return activations.softmax(-x, dim, dtype=dtype)
