"""Adadelta: steps in the units of the parameters."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.registry import fusable
from xpnet.optim.formula import decayed, piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@fusable
@piecewise
def adadelta_step(theta: Array, grad: Array, square: Array, delta: Array, h: Any, step: int) -> None:
    """One step, with d the update and u the mean of its square.

    s <- rho s + (1-rho) g^2; d = g sqrt(u + eps) / sqrt(s + eps); u <- rho u + (1-rho) d^2;
    theta <- theta - lr d.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        square: s, like theta.
        delta: u, like theta.
        h: the hyperparameters of `Adadelta`.
        step: from 1.
    """
    xp = namespace(theta)
    g = decayed(theta, grad, h)
    square *= h.rho
    square += (1 - h.rho) * (g * g)
    d = xp.sqrt(delta + h.eps)
    d /= xp.sqrt(square + h.eps)
    d *= g
    delta *= h.rho
    delta += (1 - h.rho) * (d * d)
    theta -= h.lr * d


class Adadelta(Optimizer):
    """Steps in the units of theta, from running averages of squared gradients and steps (Zeiler, 2012).

    Args:
        params: a Module, parameters, or groups.
        lr: a factor on the step, or a function of the steps made.
        rho: decay of both averages.
        eps: inside both roots.
        weight_decay: adds weight_decay * theta to the gradient.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.Adadelta([x])
    >>> rule.param_groups[0]["rho"], rule.param_groups[0]["eps"]
    (0.9, 1e-06)
    """

    one_kernel = elementwise = True
    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False

    moments = ("square_avg", "acc_delta")

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        adadelta_step(span.values, span.grads, *span.moments, span.h, span.step)
