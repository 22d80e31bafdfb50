"""RMSprop: a running average of squared gradients instead of AdaGrad's sum."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.registry import fusable
from xpnet.optim.formula import decayed, piecewise, root
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@fusable
@piecewise
def rmsprop_step(
    theta: Array,
    grad: Array,
    square: Array,
    velocity: Array | None,
    average: Array | None,
    h: Any,
    step: int,
) -> None:
    """s <- alpha s + (1-alpha) g^2; theta <- theta - lr g / (sqrt(s) + eps).

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        square: s, like theta.
        velocity: like theta, or None without momentum.
        average: of the gradient, like theta, or None if not centered.
        h: the hyperparameters of `RMSprop`.
        step: from 1.
    """
    g = decayed(theta, grad, h)
    square *= h.alpha
    square += (1 - h.alpha) * (g * g)
    variance = square
    if average is not None:
        average += (1 - h.alpha) * (g - average)
        variance = square - average * average
    direction = g / root(variance, h)
    if velocity is not None:
        velocity *= h.momentum
        velocity += direction
        direction = velocity
    theta -= h.lr * direction


class RMSprop(Optimizer):
    """A running average of squared gradients instead of AdaGrad's sum (Hinton, 2012, lecture 6e).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        alpha: decay of the average; the decks use 0.9.
        eps: against division by zero.
        weight_decay: adds weight_decay * theta to the gradient.
        momentum: velocity of the scaled gradient.
        centered: divide by the standard deviation of the gradient instead of its root mean square.
        eps_inside: sqrt(s + eps) instead of sqrt(s) + eps.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.RMSprop([x], lr=0.1, alpha=0.75, eps=0.0)
    >>> (x * x).sum().backward()
    >>> rule.step()  # by lr / sqrt(1 - alpha)
    >>> x.data
    array([0.8], dtype=float32)
    """

    one_kernel = elementwise = True
    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False
    _: KW_ONLY
    eps_inside: bool = False
    maximize: bool = False

    def moment_names(self, h: Any) -> tuple[str | None, ...]:
        """The average, a velocity if there is momentum, the mean gradient if centered."""
        return (
            "square_avg",
            "momentum_buffer" if h.momentum else None,
            "grad_avg" if h.centered else None,
        )

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        rmsprop_step(span.values, span.grads, *span.moments, span.h, span.step)
