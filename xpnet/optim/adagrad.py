"""AdaGrad: each parameter's rate falls with its summed squared gradients."""

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
def adagrad_step(theta: Array, grad: Array, total: Array, h: Any, step: int) -> None:
    """s <- s + g^2; theta <- theta - lr g / (sqrt(s) + eps).

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        total: s, like theta.
        h: the hyperparameters of `Adagrad`.
        step: from 1.
    """
    g = decayed(theta, grad, h)
    total += g * g
    theta -= rate(h, step) * g / root(total, h)


def rate(h: Any, step: int) -> float:
    """The learning rate at a step: it decays by itself."""
    return h.lr / (1 + (step - 1) * h.lr_decay)


class Adagrad(Optimizer):
    """Each parameter's rate falls with its summed squared gradients (Duchi et al., 2011).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        lr_decay: lr / (1 + (step - 1) lr_decay).
        weight_decay: adds weight_decay * theta to the gradient.
        initial_accumulator_value: where the sum starts.
        eps: against division by zero.
        eps_inside: sqrt(s + eps) as in deck S4, instead of sqrt(s) + eps as in S2 and PyTorch.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([4.0], requires_grad=True)
    >>> rule = xpnet.optim.Adagrad([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()  # the first step is lr, whatever the gradient
    >>> x.data
    array([3.5], dtype=float32)
    """

    one_kernel = elementwise = True
    lr: Rate = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    _: KW_ONLY
    eps_inside: bool = False
    maximize: bool = False

    moments = ("sum",)

    def initial(self, h: Any) -> dict[str, float]:
        """The sum starts where the option says."""
        return {"sum": h.initial_accumulator_value}

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        adagrad_step(span.values, span.grads, *span.moments, span.h, span.step)
