"""Muon: momentum whose matrix is made orthogonal."""

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


def orthogonal(x: Array, coefficients: tuple[float, float, float], eps: float, steps: int) -> Array:
    """Nearly U V^T, of the singular value decomposition x = U S V^T, by Newton and Schulz's iteration.

    Each step takes a singular value s to a s + b s^3 + c s^5, which brings all of them near 1.

    Args:
        x: (m, n).
        coefficients: a, b and c.
        eps: the smallest length that x is divided by.
        steps: of the iteration.
    """
    xp, (a, b, c) = namespace(x), coefficients
    turned = x.shape[0] > x.shape[1]
    y = x.T if turned else x
    length = xp.sqrt(xp.sum(y * y))
    y = y / xp.maximum(length, xp.full_like(length, eps))
    for _ in range(steps):
        gram = matmul(y, y.T)
        y = a * y + matmul(b * gram + c * matmul(gram, gram), y)
    return y.T if turned else y


class Muon(Optimizer):
    """Momentum made orthogonal, for the matrices of hidden layers (Jordan et al., 2024).

    Args:
        params: parameters of two axes; train the others, embeddings and the last layer with AdamW.
        lr: learning rate, or a function of the steps made.
        weight_decay: the part of theta that a step takes away, before lr.
        momentum: of the mean gradient.
        nesterov: look ahead.
        ns_coefficients: of the iteration's polynomial.
        eps: the smallest length that a matrix is divided by.
        ns_steps: of the iteration.
        adjust_lr_fn: "original", or None: lr times sqrt(max(1, rows / columns)); "match_rms_adamw": lr times
            0.2 sqrt(max(rows, columns)), so that AdamW's rates fit (Liu et al., 2025).
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a parameter of other than two axes, or a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([[3.0, 0.0], [0.0, 0.5]], requires_grad=True)
    >>> rule = xpnet.optim.Muon([x], lr=1.0, weight_decay=0.0, ns_steps=20, ns_coefficients=(1.5, -0.5, 0.0))
    >>> (x * x).sum().backward()
    >>> rule.step()  # by the identity
    >>> [[round(float(v), 4) for v in row] for row in x.data]
    [[2.0, 0.0], [0.0, -0.5]]
    """

    lr: Rate = 1e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str | None = None
    _: KW_ONLY
    maximize: bool = False
    moments: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    alone: ClassVar[bool] = True
    others: ClassVar[str] = "train it with AdamW"

    def check_group(self, group: dict[str, Any]) -> None:
        """As of `Optimizer`; parameters have two axes."""
        name, word = type(self).__name__, group["adjust_lr_fn"]
        if word not in (None, "original", "match_rms_adamw"):
            raise ValueError(f'{name}: adjust_lr_fn must be "original" or "match_rms_adamw", got {word!r}')
        super().check_group(group)
        for p in group["params"]:
            if p.ndim != 2 and group.get("use_muon", True):
                shape = tuple(p.shape)
                raise ValueError(f"{name}: a parameter of shape {shape} is no matrix; {self.others}")

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one matrix."""
        mean, grads, h = span.moments[0], span.grads, span.h
        xp, shape = namespace(grads), tuple(span.parameters[0].shape)
        mean += (1 - h.momentum) * (grads - mean)
        u = grads + h.momentum * (mean - grads) if h.nesterov else mean
        u = orthogonal(xp.reshape(u, shape), h.ns_coefficients, h.eps, h.ns_steps)
        rows, columns = shape
        wide = h.adjust_lr_fn == "match_rms_adamw"
        size = 0.2 * math.sqrt(max(shape)) if wide else math.sqrt(max(1, rows / columns))
        span.values[...] = (1 - h.lr * h.weight_decay) * span.values - (h.lr * size) * xp.reshape(
            u, mean.shape
        )
