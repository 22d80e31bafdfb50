"""Losses. Names, arguments and values are those of torch.nn.functional."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.core.arrays import (
    add_to_columns,
    constant,
    floating,
    is_half,
    keep,
    max_last,
    narrow,
    one_hot,
    sum_last,
    take_columns,
    widen,
    zero,
)
from xpnet.core.backend import Array
from xpnet.core.convert import array_like
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace
from xpnet.functional.targets import as_constant, class_indices, class_weight, reduce_losses, same_shape

Result = tuple[Array, Pullback]


def _elementwise(
    value: Array,
    like: Array,
    reduction: str,
    *derivatives: Callable[[], Array],
    weight: Array | None = None,
    each: Array | None = None,
) -> Result:
    """Reduce a loss of every element to the dtype of `like`; `derivatives`: by input and target.

    All are of `widen(like)`: float16 may hold the result and not what it is made of. `weight` multiplies each
    loss, and "mean" divides by the sum of `each`: default, the number of losses.
    """
    y, spread = reduce_losses(value if weight is None else value * weight, reduction, each)

    def by(of: Callable[[], Array], dy: Array) -> Array:
        scale = spread(widen(dy))
        return narrow(of() * (scale if weight is None else scale * weight), like)

    return narrow(y, like), lambda dy: tuple(lambda out, of=of: by(of, dy) for of in derivatives)


def _element_weight(weight: Any, like: Array, name: str) -> Array | None:
    """A weight of each element, in the dtype and place of `like`; None for none."""
    return None if weight is None else same_shape(like, weight, name, "weight")


# ---- classification ---------------------------------------------------------------------------------------


@differentiable(loss=True, anywhere=("target", "weight"))
def cross_entropy(
    logits: Array,
    target: Any,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Result:
    """Softmax and negative log-likelihood in one: log sum exp(z) - z[y]; its gradient is softmax(z) - e(y).

    Args:
        logits: (N, C), (N, C, ...) with one label a position, or (C).
        target: class indices, integers (N,), (N, ...) or (), of any backend; or probabilities, like `logits`.
        weight: (C,) weight of each class; "mean" divides by the sum of the weights of the targets.
        ignore_index: rows with this label count for nothing.
        label_smoothing: in [0, 1], the fraction of the target spread over all classes (Szegedy et al., 2016).
        reduction: "mean", "sum" or "none".

    Returns:
        A loss without axes, or with "none" one a label, of the shape of class indices.

    Raises:
        ValueError: shapes that do not fit, or a label outside 0 .. C-1.
        TypeError: float labels that are not probabilities.

    Logits of +-1e4 are exact: the row is shifted by its maximum. With K balanced classes and small weights
    the first loss is ln K.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.cross_entropy(xpnet.asarray([[0.0, 0.0]]), [1]))  # ln 2
    0.693147...
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    floating("cross_entropy", logits, "the logits")
    if logits.ndim != 2 or is_half(logits):
        options: dict[str, Any] = {
            "ignore_index": ignore_index,
            "label_smoothing": label_smoothing,
            "reduction": reduction,
        }
        if logits.ndim != 2:
            return _over_positions(cross_entropy, logits, target, weight, options)
        xp = namespace(logits)  # the sums over classes and rows need float32
        value, wide = cross_entropy.body(widen(logits), target, weight, **options)
        narrowed = lambda gradient: xp.astype(gradient, logits.dtype)
        return narrowed(value), lambda dy: _each(wide(widen(dy)), narrowed)
    xp = namespace(logits)
    if weight is not None:
        weight = class_weight(weight, logits, logits.shape[1], "cross_entropy")
    classes = logits.shape[1]
    # no step needs the logits again: their distance from the row's maximum says it all
    shifted = logits - max_last(logits)
    exp = xp.exp(shifted)
    total = sum_last(exp)
    if getattr(target, "ndim", 1) == 2:
        t = same_shape(logits, target, "cross_entropy with probabilities")
        y = rows = None
    else:
        y, rows = class_indices(target, logits, classes, ignore_index, "cross_entropy")
    if y is None or rows is not None or weight is not None or label_smoothing:
        each, by_target = None, None
        if y is None:
            by_target = (1 - label_smoothing) * (1.0 if weight is None else weight)
        if y is not None:
            t = constant(one_hot(y, classes, logits.dtype), logits)
        if label_smoothing:
            t = t * (1 - label_smoothing) + label_smoothing / classes
        if weight is not None:
            t = t * weight
        if rows is not None:
            t = t * rows[:, None]
        if y is not None:  # "mean" divides by the weights of the labels
            each = xp.ones_like(total) if weight is None else xp.take(weight, xp.astype(y, xp.int64))
            each = each if rows is None else each * rows
        return _soft_cross_entropy(shifted, exp, total, t, reduction, each, by_target)

    value, spread = reduce_losses(xp.log(total) - take_columns(shifted, y), reduction)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        scale = spread(widen(dy))
        return (add_to_columns(exp * (scale / total)[:, None], y, -scale),)  # softmax - e(y)

    return value, pullback


def _soft_cross_entropy(
    shifted: Array, exp: Array, total: Array, t: Array, reduction: str, each: Any, by_target: Any
) -> Result:
    """-sum_k t_k log p_k for any t: label smoothing, class weights, ignored rows (all 0), Mixup.

    `by_target`: the derivative of t by the target's probabilities; None of labels.
    """
    xp = namespace(shifted)
    log_p = shifted - xp.log(total)[:, None]
    terms = xp.where(t == 0, xp.zeros_like(t), -t * log_p)  # 0 log 0 = 0
    value, spread = reduce_losses(xp.sum(terms, axis=1, dtype=t.dtype), reduction, each)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        mass = xp.sum(t, axis=1, dtype=t.dtype)
        gradient = exp * (mass / total)[:, None] - t
        scale = spread(widen(dy))
        scale = scale[:, None] if reduction == "none" else scale
        gradient = keep(gradient * scale, mass[:, None] != 0)
        return (gradient,) if by_target is None else (gradient, lambda out: -log_p * (by_target * scale))

    return value, pullback


def _over_positions(loss: Any, logits: Array, target: Any, weight: Any, options: dict[str, Any]) -> Result:
    """Logits (N, C, ...) with a target for every position: make each position a row."""
    xp, name = namespace(logits), loss.__name__
    if logits.ndim < 2:
        return _one_row(loss, logits, target, weight, **options)
    classes, n = logits.shape[1], logits.ndim

    def to_rows(a: Array) -> Array:
        moved = namespace(a).permute_dims(a, (0, *range(2, n), 1))
        return namespace(a).reshape(moved, (math.prod(moved.shape[:-1]), classes))

    def from_rows(a: Array) -> Array:
        moved = xp.reshape(a, (logits.shape[0], *logits.shape[2:], classes))
        return xp.permute_dims(moved, (0, n - 1, *range(1, n - 1)))

    target = array_like(target)
    positions = (logits.shape[0], *logits.shape[2:])
    if tuple(target.shape) == tuple(logits.shape):
        rows = to_rows(target)
    elif tuple(target.shape) == positions:
        rows = namespace(target).reshape(target, (-1,))
    else:
        raise ValueError(
            f"{name}: inputs {tuple(logits.shape)} need class indices of shape {positions} or "
            f"probabilities of shape {tuple(logits.shape)}, got {tuple(target.shape)}"
        )
    value, pullback = loss.body(to_rows(logits), rows, weight, **options)
    if options["reduction"] == "none":
        value = xp.reshape(value, positions)
    return value, lambda dy: _each(
        pullback(xp.reshape(dy, (-1,)) if getattr(dy, "shape", ()) else dy), from_rows
    )


def _each(gradients: Any, function: Callable[[Array], Array]) -> tuple[Any, ...]:
    """What a function makes of each gradient, of those that wait to be asked for when they are."""
    made = lambda g: function(g(None) if callable(g) else g)
    return tuple((lambda out, g=g: made(g)) if callable(g) else made(g) for g in gradients)


def _one_row(loss: Any, x: Array, target: Any, *arguments: Any, **options: Any) -> Result:
    """An input (C) with the class index of one row, () or (1,), or its probabilities (C): a batch of one."""
    xp, target = namespace(x), array_like(target)
    shape, given = tuple(target.shape), tuple(x.shape)
    likely = shape == tuple(x.shape) and "int" not in str(target.dtype)
    if x.ndim > 1 or not (shape in ((), (1,)) or likely):
        raise ValueError(
            f"{loss.__name__}: expected an input of shape (N, C), got {tuple(x.shape)}; (C) goes with one "
            f"label, not with a target of shape {shape}"
        )
    if x.ndim == 0:  # a score of one class
        x = xp.expand_dims(x, axis=0)
    batch = target if shape == (1,) and not likely else namespace(target).expand_dims(target, axis=0)
    value, pullback = loss.body(xp.expand_dims(x, axis=0), batch, *arguments, **options)
    rows = value.shape
    y = value if batch is target else xp.reshape(value, ())
    return y, lambda dy: _each(
        pullback(xp.reshape(dy, rows) if hasattr(dy, "dtype") else dy), lambda g: xp.reshape(g, given)
    )


@differentiable(loss=True, anywhere=("target", "weight"))
def nll_loss(
    log_probabilities: Array,
    target: Any,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Result:
    """-log p[y], from the output of `log_softmax`.

    Args:
        log_probabilities: (N, C), (N, C, ...) with one label a position, or (C).
        target: class indices (N,), (N, ...) or ().
        weight: (C,) weight of each class.
        ignore_index: rows with this label count for nothing.
        reduction: "mean" (divides by the sum of the weights), "sum" or "none".

    Returns:
        A loss without axes, or with "none" one a label, of the shape of the target.

    Raises:
        ValueError: shapes that do not fit, or a label out of range.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.nll_loss(xpnet.asarray([[-0.5, -1.0], [-2.0, -0.25]]), [0, 1]))
    0.375
    """
    xp, x = namespace(log_probabilities), floating("nll_loss", log_probabilities, "the input")
    if x.ndim != 2:
        options = {"ignore_index": ignore_index, "reduction": reduction}
        return _over_positions(nll_loss, x, target, weight, options)
    y, rows = class_indices(target, x, x.shape[1], ignore_index, "nll_loss")
    x, rows = widen(x), None if rows is None else widen(rows)
    if weight is not None:
        weight = class_weight(weight, x, x.shape[1], "nll_loss")
    row = xp.ones_like(x[:, 0]) if weight is None else xp.take(weight, xp.astype(y, xp.int64))
    if rows is not None:
        row = row * rows
    losses = xp.where(row == 0, zero(x), -take_columns(x, y) * row)  # 0 log 0 = 0
    value, spread = reduce_losses(losses, reduction, row)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dx = add_to_columns(xp.zeros_like(x), y, keep(-spread(widen(dy)) * row, row != 0))
        return (narrow(dx, log_probabilities),)

    return narrow(value, log_probabilities), pullback


@differentiable(loss=True, anywhere=("target", "weight"))
def multi_margin_loss(
    scores: Array,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
) -> Result:
    """Multiclass hinge: w_y / C times the sum over k != y of max(0, margin - s_y + s_k)^p.

    Crammer & Singer, 2001; the decks' form is C times this one.

    Args:
        scores: (N, C) or (C).
        target: class indices (N,) or ().
        p: 1, or 2 for squares.
        margin: how far ahead the right score should be.
        weight: (C,) weight of each class; "mean" still divides by N.
        reduction: "mean", "sum" or "none".

    Returns:
        A loss without axes, or with "none" one a label, of the shape of the target.

    Raises:
        ValueError: shapes that do not fit, or a label out of range.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.multi_margin_loss(xpnet.asarray([[2.0, 1.5]]), [0]))
    0.25
    """
    xp = namespace(floating("multi_margin_loss", scores, "the input"))
    if scores.ndim != 2:
        return _one_row(multi_margin_loss, scores, target, p, margin, weight, reduction=reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p!r}")
    classes, given, scores = scores.shape[1], scores, widen(scores)
    y, rows = class_indices(target, scores, classes, None, "multi_margin_loss")
    if weight is not None:
        weight = class_weight(weight, scores, classes, "multi_margin_loss")
        weight = xp.take(weight, xp.astype(y, xp.int64))
        rows = weight if rows is None else rows * weight
    hinge = margin + scores - take_columns(scores, y)[:, None]
    active = ~(hinge <= 0) & (one_hot(y, classes, scores.dtype) == 0)
    hinge = keep(hinge, active)
    losses = xp.sum(hinge if p == 1 else hinge * hinge, axis=1, dtype=scores.dtype) / classes
    active = (xp.astype(active, scores.dtype) if p == 1 else 2 * hinge) / classes
    if rows is not None:
        losses, active = losses * rows, active * rows[:, None]
    value, spread = reduce_losses(losses, reduction)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        scale = spread(widen(dy))
        derivative = add_to_columns(active + 0, y, -xp.sum(active, axis=1, dtype=scores.dtype))
        dx = derivative * (scale[:, None] if reduction == "none" else scale)
        return (narrow(keep(dx, derivative != 0), given),)

    return narrow(value, given), pullback


# ---- every other target -----------------------------------------------------------------------------------


@differentiable(loss=True, anywhere=("target",))
def binary_cross_entropy_with_logits(logits: Array, target: Any, *, reduction: str = "mean") -> Result:
    """-t log sigmoid(z) - (1 - t) log(1 - sigmoid(z)), without overflow; gradient sigmoid(z) - t.

    Args:
        logits: any shape.
        target: in [0, 1], the same shape.
        reduction: "mean", "sum" or "none".
    """
    xp = namespace(floating("binary_cross_entropy_with_logits", logits, "the logits"))
    z = widen(logits)
    t = same_shape(z, target, "binary_cross_entropy_with_logits")
    e = xp.exp(-xp.abs(z))
    softplus = xp.maximum(z, zero(z)) + xp.log1p(e)
    sigmoid_minus_t = lambda: xp.where(z >= 0, xp.ones_like(e), e) / (1 + e) - t
    return _elementwise(softplus - t * z, logits, reduction, sigmoid_minus_t, lambda: -z)


@differentiable(loss=True, anywhere=("target", "weight", "pos_weight"))
def weighted_binary_cross_entropy(
    logits: Array, target: Any, weight: Any, pos_weight: Any, *, reduction: str = "mean"
) -> Result:
    """-w (q t log s + (1 - t) log(1 - s)), s = sigmoid(z); gradient w ((1 - t) s - q t (1 - s))."""
    name = "binary_cross_entropy_with_logits"
    xp = namespace(floating(name, logits, "the logits"))
    z = widen(logits)
    t = same_shape(z, target, name)
    w, q = _spread(weight, z, f"{name}: weight"), _spread(pos_weight, z, f"{name}: pos_weight")
    e = xp.exp(-xp.abs(z))
    low = xp.maximum(-z, zero(z)) + xp.log1p(e)  # -log sigmoid(z)
    high = z + low  # -log sigmoid(-z)
    sigmoid = xp.where(z >= 0, xp.ones_like(e), e) / (1 + e)
    return _elementwise(
        w * (q * t * low + (1 - t) * high),
        logits,
        reduction,
        lambda: w * ((1 - t) * sigmoid - q * t * (1 - sigmoid)),
        lambda: w * (q * low - high),
    )


def _spread(weight: Any, like: Array, name: str) -> Array:
    """A weight of each element, in the dtype and place of `like`; ones for None."""
    xp = namespace(like)
    if weight is None:
        return xp.ones_like(like)
    weight = as_constant(weight, like)
    try:
        return xp.broadcast_to(weight, like.shape)
    except (ValueError, RuntimeError):  # the latter is PyTorch's
        raise ValueError(
            f"{name} of shape {tuple(weight.shape)} does not fit an input of shape {tuple(like.shape)}"
        ) from None


@differentiable(loss=True, anywhere=("target", "weight"))
def mse_loss(x: Array, target: Any, *, reduction: str = "mean", weight: Any = None) -> Result:
    """(x - t)^2; gradient 2 (x - t).

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
    >>> float(F.mse_loss(xpnet.asarray([1.0, 4.0]), [1.0, 2.0]))
    2.0
    """
    floating("mse_loss", x)
    wide = widen(x)
    error = wide - same_shape(wide, target, "mse_loss")
    weight = _element_weight(weight, wide, "mse_loss")
    by = lambda: 2 * error
    return _elementwise(error * error, x, reduction, by, lambda: -by(), weight=weight, each=weight)


@differentiable(loss=True, anywhere=("target",))
def perceptron_loss(scores: Array, target: Any, reduction: str = "mean") -> Result:
    """max(0, -t s): zero where the sign is right, -t s on mistakes (Rosenblatt, 1958; deck S2).

    Args:
        scores: any shape, w.x + b.
        target: -1 or +1, the same shape.
        reduction: "mean", "sum" or "none".

    Returns:
        A loss without axes, or with "none" one of the shape of the scores.

    Raises:
        ValueError: the shapes differ.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.perceptron_loss(xpnet.asarray([2.0, 3.0]), [1.0, -1.0]))
    1.5
    """
    floating("perceptron_loss", scores, "the input")
    t = same_shape(scores, target, "perceptron_loss")
    wrong = ~(t * scores >= 0)  # a NaN is not hidden
    value, spread = reduce_losses(keep(-t * scores, wrong), reduction)
    return value, lambda dy: (keep(-t * spread(dy), wrong),)
