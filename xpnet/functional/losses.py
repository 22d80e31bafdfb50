"""Losses. Names, arguments and values are those of torch.nn.functional."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.arrays import add_to_columns, one_hot, take_columns
from xpnet.autograd import Pullback, differentiable, is_unit
from xpnet.backend import Array, asarray, backend_name, backend_of, device, namespace, to_numpy

Result = tuple[Array, Pullback]


# ---- targets and reductions, shared by every loss -----------------------------------------------------------


def _labels(
    target: Any, like: Array, classes: int, ignore_index: int | None, name: str
) -> tuple[Array, Array | None]:
    """Class indices on the device of `like`, and a mask of those that are not ignored (None: all).

    Labels on the host are checked; on CUDA that would wait for the device, so the kernels set an error flag.
    """
    if type(target) is np.ndarray and target.dtype == np.int64 and target.shape == like.shape[:1]:
        # as unsigned numbers, negative labels are huge: one comparison finds both kinds of mistake
        if not target.size or np.maximum.reduce(target.view(np.uint64)) < classes:
            return target if type(like) is np.ndarray else asarray(target, backend=backend_of(like)), None
    if not hasattr(target, "dtype"):
        target = np.asarray(target)
    if tuple(target.shape) != (like.shape[0],):
        raise ValueError(
            f"{name}: expected class indices of shape ({like.shape[0]},), one a row of the input "
            f"{tuple(like.shape)}, got {tuple(target.shape)}"
        )
    kind = str(target.dtype)
    if "int" not in kind:
        raise TypeError(f"{name}: class indices must be integers, got {kind}")
    valid = None
    if backend_name(target) != "cupy" and target.shape[0]:
        host = to_numpy(target)
        if host.min() < 0 or host.max() >= classes:
            valid = host != ignore_index if ignore_index is not None else np.ones(host.shape, bool)
            wrong = host[valid & ((host < 0) | (host >= classes))]
            if wrong.size:
                raise ValueError(
                    f"{name}: label {wrong[0]} is out of range: with {classes} classes, labels are 0 to "
                    f"{classes - 1}"
                )
            target = np.where(valid, host, 0)
    elif ignore_index is not None and backend_name(target) == "cupy":
        xp = namespace(target)
        valid = target != ignore_index
        target = xp.where(valid, target, xp.zeros_like(target))
    backend = backend_of(like)
    target = target if backend_name(target) == "numpy" == str(backend) else asarray(target, backend=backend)
    return target, None if valid is None else asarray(valid, backend=backend)


def _reduce(losses: Array, reduction: str, total: Any = None) -> tuple[Array, Callable[[Array], Any]]:
    """Apply `reduction`; the second result turns dy into the gradient of each loss (a scalar array, or one a loss).

    `total` is what "mean" divides by: the number of losses, or the sum of their weights.
    """
    xp = namespace(losses)
    if reduction == "none":
        return losses, lambda dy: dy
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    value = xp.sum(losses, dtype=losses.dtype)
    if reduction == "sum":
        return value, lambda dy: 1.0 if is_unit(dy) else dy
    if total is None:
        total = math.prod(losses.shape)
    if type(total) is int:
        if total == 0:  # the mean of nothing is NaN, as in PyTorch
            return value * math.nan, lambda dy: dy * math.nan
        return value / total, lambda dy: 1.0 / total if is_unit(dy) else dy / total
    return value / total, lambda dy: dy / total


def _elementwise(value: Array, slope: Array, reduction: str) -> Result:
    """A loss of every element and its derivative: reduce, and multiply in the pullback."""
    y, spread = _reduce(value, reduction)
    return y, lambda dy: (slope * spread(dy),)


def _same_shape(x: Array, target: Any, name: str) -> Array:
    target = asarray(target, dtype=str(x.dtype).split(".")[-1], backend=backend_of(x))
    if tuple(target.shape) != tuple(x.shape):
        raise ValueError(
            f"{name}: input {tuple(x.shape)} and target {tuple(target.shape)} must have the same shape"
        )
    return target


# ---- classification -------------------------------------------------------------------------------------------


@differentiable
def cross_entropy(
    logits: Array,
    target: Any,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Result:
    """Softmax and negative log-likelihood in one: log sum exp(z) - z[y]; its gradient is softmax(z) - e(y).

    Args:
        logits: (N, C), or (N, C, ...) with one label a position.
        target: class indices, integers (N,) or (N, ...), on any backend; or probabilities shaped like `logits`.
        weight: (C,) weight of each class; "mean" divides by the sum of the weights of the targets.
        ignore_index: rows with this label count for nothing.
        label_smoothing: in [0, 1], the share of the target spread evenly over all classes (Szegedy et al., 2016).
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes that do not fit, or a label outside 0 .. C-1.
        TypeError: float labels that are not probabilities.

    Logits of +-1e4 are exact: the row is shifted by its maximum. With K balanced classes and small weights the
    first loss is ln K.

    >>> import xpnet, xpnet.functional as F
    >>> float(F.cross_entropy(xpnet.asarray([[0.0, 0.0]]), [1]))  # ln 2
    0.693147...
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    xp = namespace(logits, weight)
    if logits.ndim < 2:
        raise ValueError(f"cross_entropy: expected logits of shape (N, C), got {tuple(logits.shape)}")
    classes = logits.shape[1]
    z, restore = _rows(logits)
    # z - max and its exponential; no step needs the logits again
    shifted = z - xp.max(z, axis=1, keepdims=True)
    dense = (
        hasattr(target, "dtype")
        and tuple(target.shape) == tuple(logits.shape)
        and "float" in str(target.dtype)
    )
    if dense:
        return _dense_cross_entropy(shifted, target, weight, label_smoothing, reduction, restore)
    flat = target if logits.ndim == 2 or not hasattr(target, "dtype") else target.reshape((-1,))
    y, valid = _labels(flat, z, classes, ignore_index, "cross_entropy")
    picked = take_columns(shifted, y)
    exp = xp.exp(shifted)
    denominator = xp.sum(exp, axis=1, dtype=exp.dtype)
    log_sum = xp.log(denominator)
    losses = log_sum - picked
    row_weight = total = smooth = None
    if weight is not None:
        row_weight = xp.take(weight, xp.astype(y, xp.int64))
    if valid is not None:
        mask = xp.astype(valid, z.dtype)
        row_weight = mask if row_weight is None else row_weight * mask
    if label_smoothing:
        class_weight = weight if weight is not None else xp.ones(classes, dtype=z.dtype, device=device(z))
        # sum over k of w_k (log sum - z_k) / C: the loss of a uniform target
        uniform = (log_sum * xp.sum(class_weight) - xp.sum(shifted * class_weight, axis=1)) / classes
        smooth = (class_weight, mask if valid is not None else None)
        if row_weight is not None:
            losses = losses * row_weight
        if valid is not None:
            uniform = uniform * mask
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    elif row_weight is not None:
        losses = (
            losses * row_weight
            if valid is None
            else xp.where(valid, losses * row_weight, xp.zeros_like(losses))
        )
    if row_weight is not None:
        total = xp.sum(row_weight, dtype=z.dtype)
    value, spread = _reduce(losses, reduction, total)
    if reduction == "none" and logits.ndim > 2:
        value = xp.reshape(value, (logits.shape[0], *logits.shape[2:]))

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        scale = spread(dy if reduction != "none" else xp.reshape(dy, (-1,)))  # of each row
        hit = (
            scale * (1 - label_smoothing)
            if row_weight is None
            else scale * row_weight * (1 - label_smoothing)
        )
        if smooth is None:
            mass = hit  # the weights of the target sum to this in each row
        else:
            spread_mass = (
                scale * label_smoothing / classes
                if smooth[1] is None
                else scale * label_smoothing / classes * smooth[1]
            )
            mass = hit + spread_mass * xp.sum(smooth[0])
        if type(mass) is float:
            p = exp * xp.expand_dims(mass / denominator, axis=1)
        else:
            p = exp * xp.expand_dims(xp.astype(mass / denominator, exp.dtype), axis=1)
        if smooth is not None:
            p -= smooth[0] * (
                spread_mass
                if type(spread_mass) is float or spread_mass.ndim == 0
                else xp.expand_dims(spread_mass, axis=1)
            )
        p = add_to_columns(p, y, -hit)
        if valid is not None:
            p = xp.where(xp.expand_dims(valid, axis=1), p, xp.zeros_like(p))
        return (restore(p),)

    return value, pullback


def _rows(logits: Array) -> tuple[Array, Callable[[Array], Array]]:
    """(N, C, ...) as rows of C logits, and the way back."""
    if logits.ndim == 2:
        return logits, lambda rows: rows
    xp = namespace(logits)
    to_last = (0, *range(2, logits.ndim), 1)
    from_last = (0, logits.ndim - 1, *range(1, logits.ndim - 1))
    moved = xp.permute_dims(logits, to_last)
    rows = xp.reshape(moved, (math.prod(moved.shape[:-1]), logits.shape[1]))
    return rows, lambda r: xp.permute_dims(xp.reshape(r, moved.shape), from_last)


def _dense_cross_entropy(
    shifted: Array, target: Array, weight: Array | None, smoothing: float, reduction: str, restore: Any
) -> Result:
    """Targets are distributions, as from Mixup: -sum_k w_k t_k log softmax(z)_k."""
    xp = namespace(shifted)
    t, _ = _rows(asarray(target, backend=backend_of(shifted)))
    if smoothing:
        t = t * (1 - smoothing) + smoothing / t.shape[1]
    if weight is not None:
        t = t * weight
    log_p = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True, dtype=shifted.dtype))
    value, spread = _reduce(-xp.sum(t * log_p, axis=1, dtype=shifted.dtype), reduction)
    if reduction == "none" and target.ndim > 2:
        value = xp.reshape(value, (target.shape[0], *target.shape[2:]))

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        scale = spread(dy if reduction != "none" else xp.reshape(dy, (-1, 1)))
        return (restore(scale * (xp.exp(log_p) * xp.sum(t, axis=1, keepdims=True, dtype=t.dtype) - t)),)

    return value, pullback


@differentiable
def nll_loss(
    log_probabilities: Array,
    target: Any,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Result:
    """-log p[y], from the output of `log_softmax`.

    Args:
        log_probabilities: (N, C).
        target: class indices (N,).
        weight: (C,) weight of each class.
        ignore_index: rows with this label count for nothing.
        reduction: "mean" (divides by the sum of the weights), "sum" or "none".

    Raises:
        ValueError: shapes that do not fit, or a label out of range.
    """
    xp = namespace(log_probabilities, weight)
    x = log_probabilities
    if x.ndim != 2:
        raise ValueError(f"nll_loss: expected log-probabilities of shape (N, C), got {tuple(x.shape)}")
    y, valid = _labels(target, x, x.shape[1], ignore_index, "nll_loss")
    row = xp.ones_like(x[:, 0]) if weight is None else xp.take(weight, xp.astype(y, xp.int64))
    if valid is not None:
        row = row * xp.astype(valid, x.dtype)
    value, spread = _reduce(-take_columns(x, y) * row, reduction, xp.sum(row, dtype=x.dtype))
    return value, lambda dy: (add_to_columns(xp.zeros_like(x), y, -spread(dy) * row),)


@differentiable
def multi_margin_loss(scores: Array, target: Any, margin: float = 1.0, reduction: str = "mean") -> Result:
    """Multiclass hinge: sum over k != y of max(0, margin - s_y + s_k), divided by C (Crammer & Singer, 2001).

    Args:
        scores: (N, C).
        target: class indices (N,).
        margin: how far ahead the right score should be. The decks' form is C times this one.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes that do not fit, or a label out of range.
    """
    xp = namespace(scores)
    if scores.ndim != 2:
        raise ValueError(f"multi_margin_loss: expected scores of shape (N, C), got {tuple(scores.shape)}")
    classes = scores.shape[1]
    y, _ = _labels(target, scores, classes, None, "multi_margin_loss")
    hinge = margin + scores - xp.expand_dims(take_columns(scores, y), axis=1)
    other = 1 - one_hot(y, classes, scores.dtype)
    active = xp.astype(hinge > 0, scores.dtype) * other / classes
    value, spread = _reduce(xp.sum(hinge * active, axis=1, dtype=scores.dtype), reduction)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        scale = spread(dy)
        dx = add_to_columns(active + 0, y, -xp.sum(active, axis=1, dtype=scores.dtype))
        return (dx * (xp.expand_dims(scale, axis=1) if reduction == "none" else scale),)

    return value, pullback


# ---- every other target ---------------------------------------------------------------------------------------


@differentiable
def binary_cross_entropy_with_logits(logits: Array, target: Any, reduction: str = "mean") -> Result:
    """-t log sigmoid(z) - (1 - t) log(1 - sigmoid(z)), without overflow; gradient sigmoid(z) - t.

    Args:
        logits: any shape.
        target: in [0, 1], the same shape.
        reduction: "mean", "sum" or "none".
    """
    xp = namespace(logits)
    t = _same_shape(logits, target, "binary_cross_entropy_with_logits")
    softplus = xp.maximum(logits, xp.zeros_like(logits)) + xp.log1p(xp.exp(-xp.abs(logits)))
    return _elementwise(softplus - t * logits, xp.exp(logits - softplus) - t, reduction)


@differentiable
def mse_loss(x: Array, target: Any, reduction: str = "mean") -> Result:
    """(x - t)^2; gradient 2 (x - t).

    Args:
        x: any shape.
        target: the same shape.
        reduction: "mean" over all elements, "sum" or "none".
    """
    error = x - _same_shape(x, target, "mse_loss")
    return _elementwise(error * error, 2 * error, reduction)


@differentiable
def perceptron_loss(scores: Array, target: Any, reduction: str = "mean") -> Result:
    """max(0, -t s): zero where the sign is right, -t s on mistakes (Rosenblatt, 1958; deck S2).

    Args:
        scores: any shape, w.x + b.
        target: -1 or +1, the same shape.
        reduction: "mean", "sum" or "none".
    """
    xp = namespace(scores)
    t = _same_shape(scores, target, "perceptron_loss")
    slope = -t * xp.astype(t * scores < 0, scores.dtype)
    return _elementwise(slope * scores, slope, reduction)
