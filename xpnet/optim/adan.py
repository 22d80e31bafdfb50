"""Adan: Nesterov's momentum from differences of gradients."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.optim.formula import piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@piecewise
def adan_step(
    theta: Array, grad: Array, mean: Array, change: Array, square: Array, before: Array, h: Any, step: int
) -> None:
    """theta <- theta - lr (m^ + b2 v^) / (sqrt(n^) + eps); m, v, n follow g, d = g - g_before, (g + b2 d)^2.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: g, like theta.
        mean: m, like theta.
        change: v, like theta.
        square: n, like theta.
        before: g of the step before, like theta.
        h: the hyperparameters of `Adan`.
        step: from 1.
    """
    b1, b2, b3 = h.betas
    difference = grad - before if step > 1 else grad * 0
    mean += (1 - b1) * (grad - mean)
    change += (1 - b2) * (difference - change)
    ahead = grad + b2 * difference
    square += (1 - b3) * (ahead * ahead - square)
    before[...] = grad
    root = namespace(theta).sqrt(square / (1 - b3**step)) + h.eps
    update = (mean / (1 - b1**step) + (b2 / (1 - b2**step)) * change) / root
    if h.no_prox:
        theta *= 1 - h.lr * h.weight_decay
    theta -= h.lr * update
    if not h.no_prox:
        theta /= 1 + h.lr * h.weight_decay


class Adan(Optimizer):
    """Adaptive Nesterov momentum (Xie et al., 2024, algorithm 1).

    Args:
        params: a Module, parameters or groups.
        lr: learning rate, or a function of the steps made.
        betas: of the gradient's mean, of its change's, and of the square's: 1 minus the paper's.
        eps: added to the root.
        weight_decay: of the parameters; they are divided by 1 + lr weight_decay.
        no_prox: multiply them by 1 - lr weight_decay, before, instead.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    Names, defaults and what is kept are those of the authors' code (sail-sg/Adan).

    >>> import xpnet
    >>> x = xpnet.tensor([1.0, -2.0], requires_grad=True)
    >>> rule = xpnet.optim.Adan([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()  # the first step is lr long
    >>> x.data
    array([ 0.5, -1.5], dtype=float32)
    """

    elementwise = True
    lr: Rate = 1e-3
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.0
    no_prox: bool = False
    _: KW_ONLY
    maximize: bool = False
    moments = ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad")

    def update(self, span: MomentSpan | Wide) -> None:
        """One step."""
        moments: Any = span.moments
        adan_step(span.values, span.grads, *moments, span.h, span.step)
