"""Adafactor: the second moment of a matrix as an outer product."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar

from xpnet.core.arrays import matmul
from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


def _rms(x: Array) -> Array:
    """The root of the mean square, without axes."""
    xp = namespace(x)
    return xp.sqrt(xp.sum(x * x, dtype=x.dtype) / math.prod(x.shape))


def _at_least(x: Array, least: float) -> Array:
    return namespace(x).maximum(x, namespace(x).full_like(x, least))


class Adafactor(Optimizer):
    """Adam without a mean, and with row and column sums for the second moment (Shazeer & Stern, 2018).

    Args:
        params: a Module, parameters or groups.
        lr: the largest relative step, or a function of the steps made; the t-th is at most 1 / sqrt(t).
        beta2_decay: the second moments forget t^beta2_decay of themselves in step t.
        eps: of their smallest value, None for that of the dtype, and of the smallest size of a parameter.
        d: the largest root mean square of an update.
        weight_decay: the part of theta that a step takes away, before lr.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    For a matrix of n x m, it keeps n + m numbers, for others as many as there are parameters.

    >>> import xpnet
    >>> x = xpnet.tensor([[1.0, -1.0]], requires_grad=True)
    >>> rule = xpnet.optim.Adafactor([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> x.data, [a.shape for a in rule.state_dict()["state"][0].values() if hasattr(a, "shape")]
    (array([[ 0.5, -0.5]], dtype=float32), [(1, 1), (1, 2)])
    """

    lr: Rate = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False
    moments = ("row_var", "col_var", "variance")
    alone: ClassVar[bool] = True

    @staticmethod
    def moment_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Of a matrix, or several, a row and a column."""
        if len(shape) < 2:
            return shape if name == "variance" else None
        shapes = {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}
        return shapes.get(name)

    def check_group(self, group: dict[str, Any]) -> None:
        """As of `Optimizer`, and what only this rule has."""
        first, second = group["eps"]
        if (first is not None and not first >= 0) or not second >= 0 or not group["d"] >= 1:
            raise ValueError(
                f"Adafactor: eps must be at least 0 and d at least 1, got {group['eps']} and {group['d']}"
            )
        if not group["beta2_decay"] <= 0:
            raise ValueError(f"Adafactor: beta2_decay must be at most 0, got {group['beta2_decay']}")
        super().check_group(group)

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one parameter."""
        row, column, variance = span.moments
        h, step, shape = span.h, span.step, tuple(span.parameters[0].shape)
        xp = namespace(span.values)
        theta, grad = xp.reshape(span.values, shape), xp.reshape(span.grads, shape)
        least, smallest = h.eps
        least = float(xp.finfo(theta.dtype).eps) if least is None else least
        forget, rate = float(step) ** h.beta2_decay, min(h.lr, 1 / math.sqrt(step))
        alpha = rate * _at_least(_rms(theta), smallest)
        theta = theta * (1 - h.lr * h.weight_decay)
        square = grad * grad
        if row is not None and column is not None:
            row += forget * (xp.mean(square, axis=-1, keepdims=True) - row)
            column += forget * (xp.mean(square, axis=-2, keepdims=True) - column)
            second = matmul(row, column) / _at_least(xp.mean(row, axis=-2, keepdims=True), least)
        else:
            assert variance is not None
            kept = xp.reshape(variance, shape)
            kept = kept + forget * (square - kept)
            variance[...] = xp.reshape(kept, variance.shape)
            second = kept
        update = grad / xp.sqrt(_at_least(second, least * least))
        clipped = _at_least(_rms(update) / h.d, 1.0)
        span.values[...] = xp.reshape(theta - (alpha / clipped) * update, span.values.shape)
