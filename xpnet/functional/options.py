"""Activations and losses with the options that PyTorch has; the formulas are in the ops that they call."""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import Array
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional import activations, losses
from xpnet.functional.public import of, result


@takes_input
@of(activations.relu)
def relu(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); derivative 1 for x > 0, else 0 (Nair & Hinton, 2010).

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.

    >>> import xpnet, xpnet.functional as F
    >>> F.relu(xpnet.asarray([-1.0, 0.0, 2.0]))
    array([0., 0., 2.], dtype=float32)
    """
    y = activations.relu(x)
    return result(x, y, True) if inplace else y


@takes_input
@of(activations.leaky_relu)
def leaky_relu(x: Array | Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x for x > 0, else negative_slope * x (Maas et al., 2013).

    Args:
        x: any shape.
        negative_slope: the derivative for x < 0.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.

    >>> import xpnet, xpnet.functional as F
    >>> F.leaky_relu(xpnet.asarray([-1.0, 0.0, 2.0]), 0.1)
    array([-0.1,  0. ,  2. ], dtype=float32)
    """
    return result(x, activations.leaky_relu(x, negative_slope), inplace)


@takes_input
@of(activations.elu)
def elu(x: Array | Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, else alpha (exp(x) - 1) (Clevert et al., 2016).

    Args:
        x: any shape.
        alpha: minus the limit for x to -infinity.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.elu(xpnet.asarray([-100.0, 0.0, 2.0]))
    array([-1.,  0.,  2.], dtype=float32)
    """
    return result(x, activations.elu(x, alpha), inplace)


@takes_input
@of(activations.hardtanh)
def hardtanh(x: Array | Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x clipped to [min_val, max_val]; derivative 1 strictly inside, else 0.

    Args:
        x: any shape.
        min_val: the smallest result.
        max_val: the largest result.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        ValueError: `min_val` is above `max_val`.
        RuntimeError: inplace, and x is a leaf that requires a gradient.

    >>> import xpnet, xpnet.functional as F
    >>> F.hardtanh(xpnet.asarray([-3.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ], dtype=float32)
    """
    return result(x, activations.hardtanh(x, min_val, max_val), inplace)


@takes_input
@of(activations.gelu)
def gelu(x: Array | Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), Phi the standard normal distribution (Hendrycks & Gimpel, 2016).

    Args:
        x: any shape.
        approximate: "none", or "tanh" for x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).

    Returns:
        The shape of x.

    Raises:
        ValueError: another word.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.gelu(xpnet.asarray([-1.0, 0.0, 1.0]))]
    [-0.1587, 0.0, 0.8413]
    """
    if approximate == "none":
        return activations.gelu(x)
    if approximate != "tanh":
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return activations.gelu_tanh(x)


@takes_input
@of(losses.binary_cross_entropy_with_logits)
def binary_cross_entropy_with_logits(
    logits: Array | Tensor,
    target: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """-w (q t log sigmoid(z) + (1 - t) log(1 - sigmoid(z))), without overflow.

    Args:
        logits: z, any shape.
        target: t in [0, 1], the same shape.
        weight: w, of a shape that broadcasts to that of the logits; default 1.
        reduction: "mean" over all elements, "sum" or "none".
        pos_weight: q, likewise: what a positive example weighs.

    Returns:
        A loss without axes, or with "none" one of the shape of the logits.

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.binary_cross_entropy_with_logits(xpnet.asarray([0.0]), [1.0]))  # ln 2
    0.693147...
    """
    op = losses.binary_cross_entropy_with_logits
    if weight is None and pos_weight is None:
        return op(logits, target, reduction=reduction)
    return losses.weighted_binary_cross_entropy(logits, target, weight, pos_weight, reduction=reduction)
