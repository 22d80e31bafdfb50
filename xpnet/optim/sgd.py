"""Stochastic gradient descent, with momentum or Nesterov's."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.registry import fusable
from xpnet.optim.formula import decayed, piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@fusable
@piecewise
def sgd_step(theta: Array, grad: Array, velocity: Array | None, h: Any, step: int) -> None:
    """v <- momentum v + g; theta <- theta - lr v, or with Nesterov theta - lr (g + momentum v).

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        velocity: like theta, or None without momentum.
        h: the hyperparameters of `SGD`.
        step: from 1.
    """
    g = decayed(theta, grad, h)
    if velocity is None:
        theta -= h.lr * g
        return
    if step == 1:
        velocity[...] = g
    else:
        velocity *= h.momentum
        velocity += g if not h.dampening else (1 - h.dampening) * g
    theta -= h.lr * (g + h.momentum * velocity if h.nesterov else velocity)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964) or Nesterov's (1983; Sutskever et al., 2013).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        momentum: rho in v <- rho v + g (deck S2; S4 puts lr inside: the same at a constant lr).
        dampening: v <- rho v + (1 - dampening) g after the first step.
        weight_decay: adds weight_decay * theta to the gradient, biases included; use groups to spare them.
        nesterov: look ahead. The stored theta is the look-ahead point, as in PyTorch: the same path.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range, or nesterov goes without momentum.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> opt = xpnet.optim.SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> opt.step()
    >>> x.data
    array([0.5], dtype=float32)
    """

    one_kernel = elementwise = True
    lr: Rate = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    _: KW_ONLY
    maximize: bool = False

    def moment_names(self, h: Any) -> tuple[str | None, ...]:
        """A velocity, if there is momentum."""
        return ("momentum_buffer" if h.momentum else None,)

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        sgd_step(span.values, span.grads, *span.moments, span.h, span.step)
