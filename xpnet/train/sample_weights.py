"""A loss of samples that weigh differently."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from xpnet.core.arrays import widen
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.elementwise import where
from xpnet.core.operators import astype, divide, multiply, reshape, sum
from xpnet.core.places import backend_name, backend_of, namespace
from xpnet.core.recording import by_values
from xpnet.core.tensor import array_of
from xpnet.functional.weighing import report, weighed_each

Loss = Callable[[Any, Any], Any]


def sample_weighted(loss: Loss) -> Loss:
    """A loss for samples that weigh differently: targets are pairs (target, weights), weights (n,).

    Args:
        loss: one that takes `reduction`, as all of `xpnet.functional` do, or has it as an attribute, as all
            of `xpnet.nn` do; or one that gives a loss a sample.

    Returns:
        `loss(output, (target, weights))`, as if a sample of weight 3 were three times in the batch: the sum
        of weights times losses, divided by the sum of weights times what the loss itself divides by, such as
        the weight of the class, and nothing for a label that it ignores. 0 where nothing weighs; with
        `reduction="sum"` nothing is divided. Metrics are given the target alone, and validation data may be
        without weights: there each sample weighs 1.

    Raises:
        ValueError: when it is called, other shapes; weights on the host that are negative or not finite; a
            sum of losses, some of which weigh differently.
        TypeError: when it is called, the target is no pair.

    >>> import numpy as np
    >>> from xpnet import asarray
    >>> from xpnet.functional import mse_loss
    >>> from xpnet.train import sample_weighted
    >>> float(sample_weighted(mse_loss)(asarray([[1.0], [3.0]]), ([[0.0], [0.0]], [3.0, 1.0])))
    3.0
    """
    each, reduction = _unreduced(loss)

    def weighted(output: Any, target: Any) -> Any:
        if not isinstance(target, tuple | list) or len(target) != 2:
            raise TypeError("sample_weighted: the target is a pair (target, weights), one weight a sample")
        losses, heard = weighed_each(each, output, target[0])
        wide, shape = widen(losses), tuple(losses.shape)
        weights = _checked(target[1], array_of(wide))
        n = weights.shape[0]
        if shape and shape[0] != n:
            raise ValueError(f"sample_weighted: expected ({shape[0]},) weights, got ({n},)")
        if not shape:
            raise ValueError(
                f"sample_weighted: expected a loss of each of {n} samples, got their mean or sum; a "
                'loss of your own takes reduction="none", or gives one a sample'
            )
        xp, rows = namespace(weights), reshape(wide, (n, math.prod(shape[1:])))
        total = xp.sum(weights * (1 if reduction == "batchmean" else _counts(heard, rows.shape)))
        there = where(weights == 0, xp.zeros_like(weights), sum(rows, axis=1))  # no copy, even of infinity
        value = sum(multiply(there, weights))
        if reduction != "sum":
            report(total, n)
            value = divide(value, xp.where(total == 0, xp.ones_like(total), total))
        return astype(value, losses.dtype)

    def pair(target: Any) -> Any:
        if isinstance(target, tuple | list):
            return target
        return target, np.ones(target.shape[0], np.float32)

    weighted.pair = pair  # type: ignore[attr-defined]  # for `evaluate`
    weighted.__name__ = f"weighted {getattr(loss, '__name__', type(loss).__name__)}"
    return weighted


def _unreduced(loss: Any) -> tuple[Callable[[Any, Any], Any], str]:
    """A function that gives all losses, and how `loss` would reduce them."""
    if isinstance(getattr(loss, "reduction", None), str):

        def each(output: Any, target: Any) -> Any:
            one = copy.copy(loss)  # of now: it may have been moved to another device since
            one.reduction = "none"
            return one(output, target)

        return each, loss.reduction
    with suppress(TypeError, ValueError):  # no signature
        found = signature(loss).parameters.get("reduction")
        if found is not None:
            return partial(loss, reduction="none"), found.default
    return loss, "mean"


@by_values
def _checked(weights: Any, like: Array) -> Array:
    """(n,) weights in the dtype of `like` and beside it; looked at on the host only."""
    weights = array_like(weights)
    if weights.ndim != 1:
        raise ValueError(f"sample_weighted: expected (n,) weights, one a sample, got {tuple(weights.shape)}")
    if backend_name(weights) != "cupy":
        host = to_numpy(weights)
        wrong = np.flatnonzero(~((host >= 0) & np.isfinite(host)))
        if wrong.size:
            raise ValueError(
                f"sample_weighted: sample {wrong[0]} of the batch weighs {host[wrong[0]]:g}; weights are "
                "finite and not negative"
            )
    return asarray(weights, dtype_name(like.dtype), backend=backend_of(like))


def _counts(heard: list[Array | None], shape: tuple[int, ...]) -> Any:
    """(n,) what the losses of each row weigh in the mean; a number where they weigh 1 each."""
    unequal = [each for each in heard if each is not None]
    if not unequal:
        return shape[1]
    if len(heard) > 1:
        raise ValueError(
            "sample_weighted: the loss is made of several, of which one has weights of classes or elements, "
            "or ignored labels: their means divide by different numbers; weigh each, and add them up"
        )
    each = widen(unequal[0])
    xp = namespace(each)
    if math.prod(each.shape) != math.prod(shape):  # made means of, by who knows how: a loss a sample
        return shape[1]
    return xp.sum(xp.reshape(each, shape), axis=1, dtype=each.dtype)
