"""Activations that PyTorch has besides: exponential ones with a scale, and ones with kinks."""

from __future__ import annotations

from xpnet.core.arrays import floating, keep, narrow, widen, zero
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional import activations
from xpnet.functional.public import result

Result = tuple[Array, Pullback]

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805  # of SELU: they keep mean 0 and variance 1


@differentiable
def exponential(x: Array, alpha: float, rate: float, scale: float) -> Result:
    """scale x for x > 0, else scale alpha (exp(rate x) - 1)."""
    xp, z = namespace(x), widen(x)
    low = xp.minimum(z, zero(z)) * rate  # exp of what is above 0 may overflow
    y = narrow(scale * xp.where(z > 0, z, alpha * xp.expm1(low)), x)

    def pullback(dy: Array) -> Array:
        slope = xp.where(z > 0, xp.ones_like(z), (alpha * rate) * xp.exp(low))
        return narrow(widen(dy) * (slope * scale), x)

    return y, pullback


@takes_input
def selu(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """1.0507 x for x > 0, else 1.0507 * 1.6733 (exp(x) - 1) (Klambauer et al., 2017).

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.selu(xpnet.asarray([-1.0, 0.0, 1.0]))]
    [-1.1113, 0.0, 1.0507]
    """
    return result(x, exponential(floating("selu", x), ALPHA, 1.0, SCALE), inplace)


@takes_input
def celu(x: Array | Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, else alpha (exp(x / alpha) - 1), whose derivative has no jump (Barron, 2017).

    Args:
        x: any shape.
        alpha: minus the limit for x to -infinity; not 0.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        ValueError: alpha is 0.
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.celu(xpnet.asarray([-100.0, 0.0, 2.0]), 0.5)]
    [-0.5, 0.0, 2.0]
    """
    if not alpha:
        raise ValueError("celu: alpha must not be 0")
    return result(x, exponential(floating("celu", x), alpha, 1 / alpha, 1.0), inplace)


@takes_input
def relu6(x: Array | Tensor, inplace: bool = False) -> Tensor:
    """x clipped to [0, 6]; derivative 1 strictly inside, else 0 (Krizhevsky, 2010).

    Args:
        x: any shape.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.

    >>> import xpnet, xpnet.functional as F
    >>> F.relu6(xpnet.asarray([-1.0, 2.0, 7.0]))
    array([0., 2., 6.], dtype=float32)
    """
    return result(x, activations.hardtanh(x, 0.0, 6.0), inplace)


@differentiable
def softsign(x: Array) -> Result:
    """x / (1 + |x|) (Bergstra et al., 2009).

    Args:
        x: any shape.

    Returns:
        The shape of x.

    Raises:
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.softsign(xpnet.asarray([-1.0, 0.0, 3.0]))
    array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """
    xp, z = namespace(x), widen(floating("softsign", x))
    below = 1 + xp.abs(z)
    return narrow(z / below, x), lambda dy: narrow(widen(dy) / (below * below), x)


@differentiable
def hardshrink(x: Array, lambd: float = 0.5) -> Result:
    """x outside [-lambd, lambd], else 0; derivative 1 outside, else 0.

    Args:
        x: any shape.
        lambd: the end of what becomes 0.

    Returns:
        The shape of x.

    Raises:
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.hardshrink(xpnet.asarray([-1.0, 0.5, 0.6]))
    array([-1. ,  0. ,  0.6], dtype=float32)
    """
    outside = ~((floating("hardshrink", x) >= -lambd) & (x <= lambd))
    return keep(x, outside), lambda dy: keep(dy, outside)


@differentiable
def softshrink(x: Array, lambd: float = 0.5) -> Result:
    """x - lambd above lambd, x + lambd below -lambd, else 0; derivative 1 outside, else 0.

    Args:
        x: any shape.
        lambd: the end of what becomes 0; not negative.

    Returns:
        The shape of x.

    Raises:
        ValueError: lambd is negative.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.softshrink(xpnet.asarray([-1.5, 0.5, 0.75]))
    array([-1.  ,  0.  ,  0.25], dtype=float32)
    """
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    xp, z = namespace(x), widen(floating("softshrink", x))
    outside = ~((x >= -lambd) & (x <= lambd))
    y = keep(xp.where(z > 0, z - lambd, z + lambd), outside)
    return narrow(y, x), lambda dy: keep(dy, outside)


@differentiable
def tanhshrink(x: Array) -> Result:
    """x - tanh(x); derivative tanh(x)^2.

    Args:
        x: any shape.

    Returns:
        The shape of x.

    Raises:
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.tanhshrink(xpnet.asarray([-1.0, 0.0, 2.0]))]
    [-0.2384, 0.0, 1.036]
    """
    xp, z = namespace(x), widen(floating("tanhshrink", x))
    t = xp.tanh(z)
    return narrow(z - t, x), lambda dy: narrow(widen(dy) * (t * t), x)


@differentiable
def above(x: Array, threshold: float, value: float) -> Result:
    """x above a threshold, else a value; derivative 1 above, else 0."""
    over = ~(floating("threshold", x) <= threshold)
    xp = namespace(x)
    return xp.where(over, x, xp.full_like(zero(x), value)), lambda dy: keep(dy, over)


@takes_input
def threshold(x: Array | Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above a threshold, else a value; derivative 1 above, else 0.

    Args:
        x: any shape.
        threshold: what x has to exceed.
        value: what stands in the place of other elements.
        inplace: write the result over x. Where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        RuntimeError: inplace, and x is a leaf that requires a gradient.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.threshold(xpnet.asarray([0.0, 0.5, 1.0]), 0.5, -1.0)
    array([-1., -1.,  1.], dtype=float32)
    """
    return result(x, above(x, threshold, value), inplace)
