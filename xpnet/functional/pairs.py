"""Losses of pairs of numbers: each is a function of input and target, and its derivatives by both."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import floating, keep, narrow, widen, zero
from xpnet.core.backend import HOST_TYPES, Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace
from xpnet.core.recording import by_values
from xpnet.core.shapes import unbroadcast
from xpnet.functional.losses import _element_weight, _elementwise, _spread
from xpnet.functional.targets import as_constant, reduce_losses, same_shape

Result = tuple[Array, Pullback]


def _pair(name: str, x: Array, target: Any) -> tuple[Any, Array, Array]:
    """The namespace, and both in the dtype that the loss is computed in."""
    wide = widen(floating(name, x, "the input"))
    return namespace(x), wide, same_shape(wide, target, name)


@differentiable(loss=True, anywhere=("target", "weight"))
def l1_loss(x: Array, target: Any, *, reduction: str = "mean", weight: Any = None) -> Result:
    """|x - t|; gradient sign(x - t).

    Args:
        x: any shape.
        target: the same shape.
        reduction: "mean" over all elements, "sum" or "none".
        weight: of each element, the same shape; "mean" then divides by the sum of the weights.

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.l1_loss(xpnet.asarray([1.0, 4.0]), [1.0, 2.0]))
    1.0
    """
    xp, z, t = _pair("l1_loss", x, target)
    error = z - t
    weight = _element_weight(weight, z, "l1_loss")
    by = lambda: xp.sign(error)
    return _elementwise(xp.abs(error), x, reduction, by, lambda: -by(), weight=weight, each=weight)


@differentiable(loss=True, anywhere=("target",))
def smooth_l1_loss(x: Array, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Result:
    """|x - t| - beta / 2, and within beta of the target (x - t)^2 / (2 beta) (Girshick, 2015).

    Args:
        x: any shape.
        target: the same shape.
        reduction: "mean" over all elements, "sum" or "none".
        beta: where the square ends; 0 is `l1_loss`.

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ, or beta is negative.

    >>> import xpnet, xpnet.functional as F
    >>> F.smooth_l1_loss(xpnet.asarray([1.0, 4.0]), [1.5, 2.0], reduction="none")
    array([0.125, 1.5  ], dtype=float32)
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    xp, z, t = _pair("smooth_l1_loss", x, target)
    error = z - t
    size = xp.abs(error)
    near, inverse = size < beta, 1 / beta if beta else 0.0
    value = xp.where(near, (0.5 * inverse) * error * error, size - 0.5 * beta)
    by = lambda: xp.where(near, error * inverse, xp.sign(error))
    return _elementwise(value, x, reduction, by, lambda: -by())


@differentiable(loss=True, anywhere=("target", "weight"))
def huber_loss(
    x: Array, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Result:
    """(x - t)^2 / 2, and beyond delta the straight line delta (|x - t| - delta / 2) (Huber, 1964).

    Args:
        x: any shape.
        target: the same shape.
        reduction: "mean" over all elements, "sum" or "none".
        delta: where the square ends, above 0.
        weight: of each element, the same shape; "mean" still divides by their number, as in PyTorch.

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ, or delta is not above 0.

    >>> import xpnet, xpnet.functional as F
    >>> F.huber_loss(xpnet.asarray([1.0, 4.0]), [1.5, 0.0], reduction="none", delta=2.0)
    array([0.125, 6.   ], dtype=float32)
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    xp, z, t = _pair("huber_loss", x, target)
    error = z - t
    size = xp.abs(error)
    value = xp.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))
    weight = _element_weight(weight, z, "huber_loss")
    by = lambda: xp.clip(error, -delta, delta)
    return _elementwise(value, x, reduction, by, lambda: -by(), weight=weight)


@differentiable(loss=True, anywhere=("target",))
def kl_div(x: Array, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Result:
    """t (log t - x): from a distribution t to one given as log-probabilities x (Kullback & Leibler, 1951).

    Args:
        x: log-probabilities, any shape.
        target: probabilities of the same shape; 0 log 0 is 0.
        reduction: "mean" over elements; "batchmean", the sum divided by the samples, is the divergence;
            "sum" or "none". Both means of no samples are NaN.
        log_target: the target is log-probabilities, too.

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ, or another reduction.

    >>> import xpnet, xpnet.functional as F
    >>> x = xpnet.asarray([[-0.6931472, -0.6931472]])
    >>> round(float(F.kl_div(x, [[0.75, 0.25]], reduction="batchmean")), 4)
    0.1308
    """
    xp, z, t = _pair("kl_div", x, target)
    if log_target:
        p, log_p = xp.exp(t), t
        value, by_target = p * (t - z), lambda: p * (log_p - z + 1)
    else:
        nothing = t == 0
        p, log_p = t, xp.log(xp.where(nothing, xp.ones_like(t), t))
        value = xp.where(nothing, zero(t), t * log_p) - t * z
        by_target = lambda: log_p - z + 1
    if reduction == "batchmean":
        total, back = _elementwise(value, x, "sum", lambda: -p, by_target)
        samples = x.shape[0] if x.ndim else 1
        fraction = 1 / samples if samples else math.nan  # as the mean of nothing
        return total * fraction, lambda dy: back(dy * fraction)
    return _elementwise(value, x, reduction, lambda: -p, by_target)


@differentiable(loss=True, anywhere=("target", "weight"))
def binary_cross_entropy(x: Array, target: Any, weight: Any = None, *, reduction: str = "mean") -> Result:
    """-w (t log x + (1 - t) log(1 - x)) of probabilities; a logarithm is at least -100, as in PyTorch.

    Args:
        x: probabilities in [0, 1], any shape; of scores use `binary_cross_entropy_with_logits`.
        target: in [0, 1], the same shape.
        weight: of a shape that broadcasts to that of x.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: shapes that do not fit; of arrays of NumPy, x or the target outside [0, 1].

    >>> import xpnet, xpnet.functional as F
    >>> round(float(F.binary_cross_entropy(xpnet.asarray([0.5, 1.0]), [1.0, 1.0])), 4)
    0.3466
    """
    name = "binary_cross_entropy"
    xp, z, t = _pair(name, x, target)
    check_range(f"{name}: x must be probabilities, in [0, 1]", z, 1, f"; for scores use {name}_with_logits")
    check_range(f"{name}: the target must be in [0, 1]", t, 1)
    w = None if weight is None else _spread(weight, z, f"{name}: weight")
    times = lambda value: value if w is None else w * value
    low, high = _log(z), _log(1 - z)

    def by_input() -> Array:
        return times((z - t) / xp.maximum(z * (1 - z), xp.full_like(zero(z), 1e-12)))

    value = times(-(t * low + (1 - t) * high))
    return _elementwise(value, x, reduction, by_input, lambda: times(high - low))


@by_values
def check_range(expected: str, x: Any, most: float, advice: str = "") -> None:
    """Refuse values of NumPy below 0 or above `most`.

    To look at those of a device would be to wait for it. A NaN passes, and is seen in the loss.

    Raises:
        ValueError: what was expected, the value, and the advice.
    """
    if type(x) in HOST_TYPES and x.size:
        for worst in (x.min(), x.max()):
            if worst < 0 or worst > most:
                raise ValueError(f"{expected}, got {worst:g}{advice}")


def _log(p: Array) -> Array:
    """log p, but at least -100."""
    xp, least = namespace(p), namespace(p).full_like(zero(p), -100.0)
    nothing = p == 0
    return xp.where(nothing, least, xp.maximum(xp.log(xp.where(nothing, xp.ones_like(p), p)), least))


@differentiable(loss=True, anywhere=("target",))
def poisson_nll_loss(
    x: Array,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Result:
    """exp(x) - t x: -log of the Poisson probability of a count t, but for a constant.

    Args:
        x: the logarithm of the rate, any shape.
        target: counts, the same shape.
        log_input: False if x is the rate r: r - t log(r + eps).
        full: add Stirling's approximation of log t!, for t > 1.
        eps: added to a rate within the logarithm.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ.

    >>> import xpnet, xpnet.functional as F
    >>> F.poisson_nll_loss(xpnet.asarray([0.0, 0.0]), [1.0, 3.0], reduction="none")
    array([1., 1.], dtype=float32)
    """
    xp, z, t = _pair("poisson_nll_loss", x, target)
    if log_input:
        rate, log_rate = xp.exp(z), z
        by_input = lambda: rate - t
    else:
        rate, log_rate = z, xp.log(z + eps)
        by_input = lambda: 1 - t / (z + eps)
    value, by_target = rate - t * log_rate, lambda: -log_rate
    if full:
        many = t > 1
        s = xp.where(many, t, xp.ones_like(t))
        value = value + keep(s * xp.log(s) - s + 0.5 * xp.log(2 * math.pi * s), many)
        by_target = lambda: keep(xp.log(s) + 0.5 / s, many) - log_rate
    return _elementwise(value, x, reduction, by_input, by_target)


@differentiable(loss=True, anywhere=("target",))
def gaussian_nll_loss(
    x: Array,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Result:
    """(log v + (x - t)^2 / v) / 2: -log of the normal density, but for a constant (Nix & Weigend, 1994).

    Args:
        x: the mean, any shape.
        target: the same shape.
        var: the variance v, of a shape that broadcasts to that of x, or without its last axis, or a number.
        full: add log(2 pi) / 2.
        eps: the smallest variance; below it the gradient passes as if it were not.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes do not fit, or on NumPy a variance that is negative.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.gaussian_nll_loss(xpnet.asarray([1.0]), [3.0], xpnet.asarray([1.0])))
    2.0
    """
    name = "gaussian_nll_loss"
    xp, z, t = _pair(name, x, target)
    if isinstance(var, int | float):
        var = xp.full_like(zero(z), float(var))
    given = as_constant(var, z)
    check_range(f"{name}: the variance must not be negative", given, math.inf)
    v = given
    if v.ndim == z.ndim - 1 and tuple(v.shape) == tuple(z.shape[:-1]) and v.ndim:
        v = xp.expand_dims(v, axis=-1)
    kept = v
    v = xp.maximum(v, xp.full_like(zero(z), eps))
    error = z - t
    try:
        wide_v = xp.broadcast_to(v, error.shape)
    except ValueError:
        raise ValueError(
            f"{name}: a variance of shape {tuple(given.shape)} does not fit an input {tuple(x.shape)}"
        ) from None
    value = 0.5 * (xp.log(wide_v) + error * error / wide_v) + (0.5 * math.log(2 * math.pi) if full else 0.0)
    y, spread = reduce_losses(value, reduction)

    def by_var(dy: Array) -> Array:
        each = 0.5 * (1 / wide_v - error * error / (wide_v * wide_v)) * spread(widen(dy))
        found = xp.reshape(unbroadcast(each, kept), given.shape)
        return xp.astype(found, var.dtype, copy=False) if hasattr(var, "dtype") else found

    return narrow(y, x), lambda dy: (
        lambda out: narrow(error / wide_v * spread(widen(dy)), x),
        lambda out: narrow(-error / wide_v * spread(widen(dy)), x),
        lambda out: by_var(dy),
    )


@differentiable(loss=True, anywhere=("target",))
def soft_margin_loss(x: Array, target: Any, *, reduction: str = "mean") -> Result:
    """log(1 + exp(-t x)), t = -1 or 1, without overflow; gradient -t sigmoid(-t x).

    Args:
        x: scores, any shape.
        target: -1 or 1, the same shape.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ.

    >>> import xpnet, xpnet.functional as F
    >>> round(float(F.soft_margin_loss(xpnet.asarray([0.0]), [1.0])), 4)
    0.6931
    """
    xp, z, t = _pair("soft_margin_loss", x, target)
    m = -t * z
    e = xp.exp(-xp.abs(m))
    share = lambda: xp.where(m >= 0, xp.ones_like(e), e) / (1 + e)
    value = xp.maximum(m, zero(m)) + xp.log1p(e)
    return _elementwise(value, x, reduction, lambda: -t * share(), lambda: -z * share())


@differentiable(loss=True, anywhere=("target",))
def hinge_embedding_loss(x: Array, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Result:
    """x for pairs that belong together (t = 1), max(0, margin - x) for others (t = -1), x their distance.

    Args:
        x: distances, any shape.
        target: -1 or 1, the same shape.
        margin: how far apart those of other pairs should be.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of x.

    Raises:
        ValueError: the shapes differ.

    >>> import xpnet, xpnet.functional as F
    >>> F.hinge_embedding_loss(xpnet.asarray([0.25, 0.25]), [1.0, -1.0], reduction="none")
    array([0.25, 0.75], dtype=float32)
    """
    xp, z, t = _pair("hinge_embedding_loss", x, target)
    gap = margin - z
    apart, together = (t != 1) & ~(gap <= 0), t != -1
    value = keep(gap, apart) + keep(z, together)
    one = lambda mask: xp.astype(mask, z.dtype)
    return _elementwise(value, x, reduction, lambda: one(together) - one(apart), lambda: xp.zeros_like(z))


@differentiable(loss=True, anywhere=("targets",))
def sigmoid_focal_loss(
    inputs: Array, targets: Any, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Result:
    """-alpha_t (1 - p_t)^gamma log p_t, p_t = sigmoid(x) where t = 1, sigmoid(-x) where t = 0 (Lin, 2017).

    Args:
        inputs: scores x, any shape.
        targets: t in [0, 1], the same shape.
        alpha: the weight of t = 1, 1 - alpha that of t = 0; negative: none.
        gamma: how little an easy example counts.
        reduction: "mean" over all elements, "sum" or "none".

    Returns:
        With "none" a loss of the shape of the inputs, else one without axes.

    Raises:
        ValueError: the shapes differ.

    >>> import xpnet, xpnet.functional as F
    >>> [round(float(y), 4) for y in F.sigmoid_focal_loss(xpnet.asarray([0.0, 4.0]), [1.0, 1.0])]
    [0.0433, 0.0]
    """
    xp, z, t = _pair("sigmoid_focal_loss", inputs, targets)
    e = xp.exp(-xp.abs(z))
    s = xp.where(z >= 0, xp.ones_like(e), e) / (1 + e)
    r = xp.where(z >= 0, e, xp.ones_like(e)) / (1 + e)  # 1 - s, also where s rounds to 1
    low = xp.maximum(-z, zero(z)) + xp.log1p(e)  # -log sigmoid(z)
    high = xp.maximum(z, zero(z)) + xp.log1p(e)  # -log sigmoid(-z)
    entropy = t * low + (1 - t) * high
    miss = s * (1 - t) + r * t  # 1 - p_t
    weight = alpha * t + (1 - alpha) * (1 - t) if alpha >= 0 else xp.ones_like(t)
    some = miss > 0
    base = xp.where(some, miss, xp.ones_like(miss))
    power = keep(base**gamma, some) if gamma else xp.ones_like(miss)

    def by_input() -> Array:  # below gamma 1, miss^(gamma - 1) is infinite at 0, where the whole is 0
        slope = (gamma * power) * ((1 - 2 * t) * s * r / base) if gamma else 0.0
        return weight * (power * (s * (1 - t) - r * t) + slope * entropy)

    def by_target() -> Array:
        slope = gamma * power / base * (1 - 2 * s) if gamma else 0.0
        own = (2 * alpha - 1) * power * entropy if alpha >= 0 else 0.0
        return weight * (slope * entropy - power * z) + own

    return _elementwise(weight * power * entropy, inputs, reduction, by_input, by_target)
