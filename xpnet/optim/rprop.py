"""Rprop: steps by the signs of gradients, each parameter with a size of its own."""

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
def rprop_step(theta: Array, grad: Array, before: Array, size: Array, h: Any) -> None:
    """size <- etas[1] size where g g_before > 0, etas[0] size where it is < 0; theta <- theta - size sign(g).

    Where the sign has changed, g counts as 0: there is no step, and none is judged by it.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: g, like theta.
        before: g of the step before, 0 where it was taken back, like theta.
        size: of each step, like theta.
        h: the hyperparameters of `Rprop`.
    """
    xp, (less, more), (least, most) = namespace(theta), h.etas, h.step_sizes
    # of signs: the product of two small gradients would be 0
    agree = xp.sign(grad) * xp.sign(before)
    size[...] = xp.where(agree > 0, size * more, xp.where(agree < 0, size * less, size))
    size[...] = xp.where(size < least, xp.full_like(size, least), size)
    size[...] = xp.where(size > most, xp.full_like(size, most), size)
    before[...] = xp.where(agree < 0, xp.zeros_like(grad), grad)
    theta -= size * xp.sign(before)


class Rprop(Optimizer):
    """Steps by the signs of gradients of the whole data (Riedmiller & Braun, 1993).

    Args:
        params: a Module, parameters, or groups.
        lr: the first size of each step, or a function of the steps made.
        etas: what the size is multiplied by where the sign has changed, and where it has not.
        step_sizes: the smallest and the largest size.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    As in PyTorch, no step is taken back where the sign changes: iRprop- (Igel & Huesken, 2000).

    >>> import xpnet
    >>> x = xpnet.tensor([1.0, -4.0], requires_grad=True)
    >>> rule = xpnet.optim.Rprop([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()  # the first step is lr long, whatever the gradient
    >>> x.data
    array([ 0.5, -3.5], dtype=float32)
    """

    elementwise = True
    lr: Rate = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50)
    _: KW_ONLY
    maximize: bool = False
    moments = ("prev", "step_size")

    def check_group(self, group: dict[str, Any]) -> None:
        """As of `Optimizer`, and what only this rule has."""
        for name, words, fits in (
            ("etas", "two numbers, 0 < etas[0] < 1 < etas[1]", lambda a, b: 0 < a < 1 < b),
            ("step_sizes", "two numbers above 0 that do not fall", lambda a, b: 0 < a <= b),
        ):
            value = group[name]
            if not (isinstance(value, tuple | list) and len(value) == 2 and fits(*value)):
                raise ValueError(f"Rprop: {name} must be {words}, got {value}")
        super().check_group(group)

    def initial(self, h: Any) -> dict[str, float]:
        """The first size is the learning rate."""
        return {"step_size": h.lr}

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        before, size = span.moments
        assert before is not None
        assert size is not None
        rprop_step(span.values, span.grads, before, size, span.h)
