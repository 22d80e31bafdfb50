"""Adam, and with weight decay apart from the gradient AdamW."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.registry import fusable
from xpnet.optim.formula import piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@fusable
@piecewise
def adam_step(
    theta: Array,
    grad: Array,
    mean: Array,
    square: Array,
    largest: Array | None,
    h: Any,
    step: int,
    decoupled: bool = False,
) -> None:
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; theta <- theta - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^step) and v^ = v / (1 - b2^step) are without the bias towards the start, 0.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        mean: m, like theta.
        square: v, like theta.
        largest: the largest v so far for AMSGrad, or None.
        h: the hyperparameters of `Adam`.
        step: from 1.
        decoupled: whether theta shrinks by lr * weight_decay instead, as in AdamW.
    """
    xp = namespace(theta)
    beta1, beta2 = h.betas
    g = grad
    if h.weight_decay and decoupled:
        theta *= 1 - h.lr * h.weight_decay
    elif h.weight_decay:
        g = grad + h.weight_decay * theta
    t = g - mean
    t *= 1 - beta1
    mean += t
    t = g * g
    t *= 1 - beta2
    square *= beta2
    square += t
    if largest is not None:  # AMSGrad (Reddi et al., 2018)
        largest[...] = xp.maximum(largest, square)
        square = largest
    size, unbias = unbiased(h, step)
    t = xp.sqrt(square)
    t *= unbias
    t += h.eps
    t = mean / t
    t *= size
    theta -= t


def unbiased(h: Any, step: int) -> tuple[float, float]:
    """lr / (1 - b1^step), and 1 / sqrt(1 - b2^step): what takes the bias out of m and of sqrt(v)."""
    beta1, beta2 = h.betas
    return h.lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)


def decay(h: Any, decoupled: bool) -> tuple[float, float]:
    """What adds theta to the gradient, and what theta is multiplied by."""
    return (0.0, 1 - h.lr * h.weight_decay) if decoupled else (h.weight_decay, 1.0)


class Adam(Optimizer):
    """Momentum and RMSprop with their start-up bias corrected (Kingma & Ba, 2015).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        betas: decay of the mean and of the mean square.
        eps: added to the root.
        weight_decay: adds weight_decay * theta to the gradient.
        amsgrad: divide by the largest mean square so far.
        maximize: follow the gradient upwards.
        decoupled_weight_decay: theta shrinks by lr * weight_decay instead, as in AdamW.

    Raises:
        ValueError: a value is out of range.

    The step count starts at 1 (deck S2 starts at 0, which divides by zero).

    >>> import xpnet
    >>> x = xpnet.tensor([1.0, -3.0], requires_grad=True)
    >>> rule = xpnet.optim.Adam([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()  # the first step is lr times the sign of the gradient
    >>> x.data
    array([ 0.5, -2.5], dtype=float32)
    """

    one_kernel = elementwise = True
    later: ClassVar[dict[str, Any]] = {"decoupled_weight_decay": False}
    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    _: KW_ONLY
    maximize: bool = False
    decoupled_weight_decay: bool = False

    def moment_names(self, h: Any) -> tuple[str | None, ...]:
        """Mean and mean square, and its maximum for AMSGrad."""
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if h.amsgrad else None

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        h = span.h
        adam_step(span.values, span.grads, *span.moments, h, span.step, bool(h.decoupled_weight_decay))


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter, 2019).

    theta <- (1 - lr weight_decay) theta, then Adam's step.

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        betas: decay of the mean and of the mean square.
        eps: added to the root.
        weight_decay: the part of theta that a step takes away, before lr; not in the gradient.
        amsgrad: divide by the largest mean square so far.
        maximize: follow the gradient upwards.
        decoupled_weight_decay: True; otherwise this is Adam.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.AdamW([x], lr=0.5, weight_decay=0.5)
    >>> x.grad = xpnet.asarray([1.0])
    >>> rule.step()  # to 0.75, then by lr
    >>> x.data
    array([0.25], dtype=float32)
    """

    later: ClassVar[dict[str, Any]] = {"decoupled_weight_decay": True}
    weight_decay: float = 1e-2
    decoupled_weight_decay: bool = True
