"""The affine map."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import matmul, meeting, sum_rows
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable, inside
from xpnet.core.places import namespace
from xpnet.functional import activations


@differentiable
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Pullback]:
    """y = x W^T + b.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,) or None.

    Returns:
        (..., out).

    Raises:
        ValueError: the last axis of x is not `in`.
        TypeError: x and the weight have different floating-point types.
        DeviceError: the arrays are not on one device.

    >>> import xpnet, xpnet.functional as F
    >>> F.linear(xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([[3.0, 4.0]]), xpnet.asarray([0.5]))
    array([[11.5]], dtype=float32)
    """
    xp = meeting("linear", x, weight, bias)
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x of shape {tuple(x.shape)} does not fit a weight of shape {tuple(weight.shape)}: "
            f"its last axis must be {weight.shape[1]}"
        )
    if x.ndim != 2:
        y, of_rows = inside(linear, xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])), weight, bias)

        def pullback(dy: Array) -> tuple[Any, ...]:
            dx, *others = of_rows(xp.reshape(dy, y.shape))
            return lambda out: xp.reshape(dx(None), x.shape), *others

        return xp.reshape(y, (*x.shape[:-1], y.shape[1])), pullback
    y = matmul(x, weight.T)
    if bias is not None:
        y += bias
    return y, lambda dy: (
        lambda out: matmul(dy, weight),
        lambda out: matmul(dy.T, x, out),
        lambda out: sum_rows(dy, out),
    )


@differentiable
def bias_activation(
    x: Array, bias: Array, activation: str = "relu", p: float | None = None
) -> tuple[Array, Pullback]:
    """y = activation(x + b): one kernel where `linear` without a bias comes before.

    Args:
        x: (..., out).
        bias: (out,).
        activation: `"relu"`, `"leaky_relu"`, `"elu"`, `"sigmoid"`, `"tanh"`, `"gelu"` or `"gelu_tanh"`.
        p: negative slope of leaky_relu or alpha of elu; default: theirs.

    Returns:
        (..., out). Backward gives the gradients of x and, summed over all other axes, of b in one pass.

    Raises:
        ValueError: the activation is unknown, or the shape of b is not that of the last axis.

    >>> import xpnet, xpnet.functional as F
    >>> F.bias_activation(xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([0.5, -3.0]))
    array([[1.5, 0. ]], dtype=float32)
    """
    if activation not in FUSED_ACTIVATIONS:
        raise ValueError(
            f"bias_activation: unknown activation {activation!r}; one of {', '.join(FUSED_ACTIVATIONS)}"
        )
    if x.ndim == 0 or tuple(bias.shape) != tuple(x.shape[-1:]):
        raise ValueError(
            f"bias_activation: a bias of shape {tuple(bias.shape)} does not fit the last axis of x of shape "
            f"{tuple(x.shape)}"
        )
    xp = namespace(x, bias)
    parameters = () if p is None else (p,)
    y, pullback = getattr(activations, activation).body(x + bias, *parameters)

    def gradients(dy: Array) -> tuple[Array, Array]:
        dx = pullback(dy)
        return dx, sum_rows(xp.reshape(dx, (math.prod(x.shape[:-1]), x.shape[-1])))

    return y, gradients


@differentiable
def linear_activation(
    x: Array, weight: Array, bias: Array, activation: str = "relu", p: float | None = None
) -> tuple[Array, Pullback]:
    """y = activation(x W^T + b), one node of the graph; on CUDA a pass less each way.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,).
        activation: as for `bias_activation`.
        p: as for `bias_activation`.

    Returns:
        (..., out).

    Raises:
        ValueError: the activation is unknown, or a shape does not fit.
        TypeError: the floating-point types differ.

    >>> import xpnet, xpnet.functional as F
    >>> x, weight = xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([[3.0, 4.0], [0.0, -1.0]])
    >>> F.linear_activation(x, weight, xpnet.asarray([0.0, 0.0]))
    array([[11.,  0.]], dtype=float32)
    """
    if activation not in FUSED_ACTIVATIONS:
        raise ValueError(
            f"linear_activation: unknown activation {activation!r}; one of {', '.join(FUSED_ACTIVATIONS)}"
        )
    z, of_linear = inside(linear, x, weight, bias)
    op = getattr(activations, activation)
    y, of_activation = inside(op, z) if p is None else inside(op, z, p)
    return y, lambda dy: of_linear(of_activation(dy))


FUSED_ACTIVATIONS = ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "gelu_tanh")
