"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np  # of targets and lengths, which are the host's

from xpnet.core.arrays import carries_gradients, floating, narrow, one_hot, widen
from xpnet.core.backend import Array
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_of, namespace
from xpnet.functional.targets import reduce_losses

_NEVER = -1e30  # the logarithm of a probability of 0: sums of exponentials stay finite


@differentiable(loss=True, anywhere=("targets", "input_lengths", "target_lengths"))
def ctc_loss(
    log_probs: Array,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> tuple[Array, Pullback]:
    """-log of the probability of all ways to spell a target, with repeats and blanks (Graves et al., 2006).

    Args:
        log_probs: (T, N, C) from `log_softmax`, or (T, C).
        targets: integers (N, S), of which the first few of each row count, or all in one row; never `blank`.
        input_lengths: (N,) steps of each sequence, at most T.
        target_lengths: (N,) of each target, at most S.
        blank: the class of no label.
        reduction: "mean" divides each loss by the length of its target first; "sum" or "none".
        zero_infinity: the loss of a target that is too long for its input is 0; else it is infinite. Its
            gradient is 0 either way, where PyTorch's is NaN with the infinite loss.

    Returns:
        A loss without axes, or with "none" one a sequence.

    Raises:
        ValueError: shapes, lengths or labels that do not fit.

    The gradient is minus the posterior probability of each label at each step. PyTorch's has the softmax
    added, which `log_softmax` takes away again: behind it both are the same. Targets and lengths are read on
    the host.

    >>> import math, xpnet, xpnet.functional as F
    >>> x = xpnet.asarray([[[math.log(0.5)] * 2]] * 2)  # two steps, blank or label: 11, 1-, -1
    >>> round(float(F.ctc_loss(x, [[1]], [2], [1], reduction="sum")), 4)  # -log 3/4
    0.2877
    """
    floating("ctc_loss", log_probs, "log_probs")
    xp = namespace(log_probs)
    alone = log_probs.ndim == 2
    z = widen(xp.expand_dims(log_probs, axis=1) if alone else log_probs)
    if z.ndim != 3:
        raise ValueError(f"ctc_loss: expected log_probs of shape (T, N, C) or (T, C), got {tuple(z.shape)}")
    steps, batch, classes = z.shape
    ends = _host(input_lengths, batch, "input_lengths")
    sizes = _host(target_lengths, batch, "target_lengths")
    if batch and (ends.max() > steps or ends.min() < 0):
        raise ValueError(f"ctc_loss: input_lengths must be 0 to {steps}, got {ends.min()} to {ends.max()}")
    if batch and sizes.min() < 0:
        raise ValueError(f"ctc_loss: target_lengths must not be negative, got {sizes.min()}")
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss: blank must be one of {classes} classes, got {blank}")
    labels = _spelled(targets, sizes, batch, blank, classes)  # (N, 2 S + 1), blanks between
    like = z.data if carries_gradients(z) else z
    there = lambda host: asarray(host, backend=backend_of(like))
    width = labels.shape[1]
    hot = one_hot(there(labels), classes, like.dtype)
    # a label may follow the one two places before it, unless they are equal or it is a blank
    jumps = np.zeros((batch, width), bool)
    jumps[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    jumps_ahead = np.zeros((batch, width), bool)
    jumps_ahead[:, :-2] = jumps[:, 2:]
    places = np.arange(width)[None, :]
    longer = np.reshape(sizes > 0, (batch, 1))
    first = there((places == 0) | ((places == 1) & longer))
    last = there((places == 2 * sizes[:, None]) | (places == 2 * sizes[:, None] - 1))
    skip, skip_ahead = there(jumps), there(jumps_ahead)
    running = [there(np.greater(ends, t)[:, None]) for t in range(steps)]
    ending = [there(np.equal(ends, t + 1)[:, None]) for t in range(steps)]
    never = xp.full_like(z[:1, :1, 0], _NEVER) if steps and batch else xp.zeros((1, 1), dtype=like.dtype)
    # the log-probability of each label of the spelling, at each step
    emitted = [xp.sum(hot * z[t, :, :][:, None, :], axis=-1) for t in range(steps)]

    def total(*terms: Array) -> Array:
        top = terms[0]
        for term in terms[1:]:
            top = xp.maximum(top, term)
        return top + xp.log(sum((xp.exp(term - top) for term in terms[1:]), xp.exp(terms[0] - top)))

    def moved(a: Array, places: int) -> Array:
        """What is `places` to the left, or to the right."""
        edge = xp.broadcast_to(never, (batch, min(abs(places), width)))
        if places > 0:
            return xp.concat([edge, a[:, : width - edge.shape[1]]], axis=1)
        return xp.concat([a[:, edge.shape[1] :], edge], axis=1)

    forward: list[Any] = []
    a: Any = None
    for t in range(steps):
        if a is None:
            a = xp.where(first, emitted[t], never)
        else:
            along = total(a, moved(a, 1), xp.where(skip, moved(a, 2), never)) + emitted[t]
            a = xp.where(running[t], along, a)
        forward.append(a)
    start = xp.where(
        there(np.equal(ends, 0)[:, None]) & first & there(places == 0), xp.zeros_like(never), never
    )
    held = start if a is None else xp.where(there(np.equal(ends, 0)[:, None]), start, a)
    spelled = xp.where(last, held, never)
    top = xp.max(spelled, axis=1, keepdims=True)
    log_p = top + xp.log(xp.sum(xp.exp(spelled - top), axis=1, keepdims=True))  # (N, 1)
    impossible = log_p < 0.5 * _NEVER
    worst = xp.zeros_like(log_p) if zero_infinity else xp.full_like(log_p, float("inf"))
    losses = xp.reshape(xp.where(impossible, worst, -log_p), (batch,))
    if reduction == "mean":
        scale = there(1 / np.maximum(sizes, 1).astype(str(like.dtype).split(".")[-1]))
        losses = losses * scale
    y, spread = reduce_losses(losses, reduction)
    if alone and reduction == "none":
        y = xp.reshape(y, ())

    def pullback(dy: Array) -> tuple[Any, ...]:
        if alone and reduction == "none" and hasattr(dy, "shape"):
            dy = xp.reshape(dy, (1,))
        each = xp.broadcast_to(spread(widen(dy)) + xp.zeros_like(losses), (batch,))
        if reduction == "mean":
            each = each * scale
        each = xp.where(xp.reshape(impossible, (batch,)), xp.zeros_like(each), each)
        gradients: list[Any] = [None] * steps
        b: Any = None
        for t in reversed(range(steps)):
            if b is None:
                b = xp.where(ending[t] & last, xp.zeros_like(emitted[t]), never)
            else:
                after = b + emitted[t + 1]
                along = total(after, moved(after, -1), xp.where(skip_ahead, moved(after, -2), never))
                b = xp.where(ending[t], xp.where(last, xp.zeros_like(along), never), along)
            seen = xp.where(
                running[t], xp.exp(forward[t] + b - xp.maximum(log_p, 0.5 * never)), xp.zeros_like(b)
            )
            gradients[t] = -each[:, None] * xp.sum(seen[:, :, None] * hot, axis=1)
        whole = xp.stack(gradients, axis=0) if steps else xp.zeros_like(z)
        return (narrow(xp.reshape(whole, log_probs.shape), log_probs),)

    return narrow(y, log_probs), pullback


def _host(values: Any, batch: int, name: str) -> np.ndarray:
    host = to_numpy(array_like(values)).reshape(-1)
    if host.shape != (batch,) or (host.size and host.dtype.kind not in "iu"):
        raise ValueError(f"ctc_loss: {name} must be {batch} integers, got {host.shape} of {host.dtype}")
    return host.astype(np.int64)


def _spelled(targets: Any, sizes: np.ndarray, batch: int, blank: int, classes: int) -> np.ndarray:
    """Each target with a blank before, between and after its labels, and blanks behind it."""
    host = to_numpy(array_like(targets))
    if host.size and host.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss: targets must be integers, got {host.dtype}")
    longest = int(sizes.max(initial=0))
    labels = np.full((batch, 2 * longest + 1), blank, np.int64)
    if host.ndim == 2 and host.shape[0] == batch and host.shape[1] >= longest:
        rows = [row[:n] for row, n in zip(host, sizes, strict=True)]
    elif host.ndim == 1 and host.size == sizes.sum():
        rows = np.split(host, np.cumsum(sizes)[:-1]) if batch else []
    else:
        raise ValueError(
            f"ctc_loss: targets must be ({batch}, {longest} or more), or {sizes.sum()} in one row, got "
            f"{host.shape}"
        )
    for i, row in enumerate(rows):
        if row.size and (row.min() < 0 or row.max() >= classes or (row == blank).any()):
            raise ValueError(
                f"ctc_loss: labels must be 0 to {classes - 1} and not the blank {blank}, got {row.tolist()}"
            )
        labels[i, 1 : 2 * len(row) : 2] = row
    return labels
