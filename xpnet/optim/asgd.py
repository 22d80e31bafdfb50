"""Averaged stochastic gradient descent: small steps, and the mean of where they led."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.optim import saving
from xpnet.optim.formula import decayed, piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


@piecewise
def asgd_step(theta: Array, grad: Array, average: Array, eta: Array, h: Any, step: int) -> None:
    """theta <- (1 - lambd eta) theta - eta g; ax <- ax + mu (theta - ax), mu = 1 / max(1, step - 1 - t0).

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        average: ax, like theta.
        eta: the rate of this step, like theta; afterwards that of the next, lr / (1 + lambd lr step)^alpha.
        h: the hyperparameters of `ASGD`.
        step: from 1.
    """
    g = decayed(theta, grad, h)
    theta *= 1 - h.lambd * eta
    theta -= eta * g
    share = weight(step - 1, h.t0)
    if share == 1:
        average[...] = theta
    else:
        average += share * (theta - average)
    eta[...] = h.lr / (1 + h.lambd * h.lr * step) ** h.alpha


def weight(step: int, t0: float) -> float:
    """What the next step counts in the average."""
    return 1 / max(1, step - t0)


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak & Juditsky, 1992; Xu, 2011).

    Args:
        params: a Module, parameters, or groups.
        lr: the first learning rate, or a function of the steps made.
        lambd: of the decay of the parameters, and of the rate: lr / (1 + lambd lr step)^alpha.
        alpha: how fast the rate falls.
        t0: the step from which on the parameters are averaged; before it, the average is where they are.
        weight_decay: adds weight_decay * theta to the gradient.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    The averages are "ax" in the state of each parameter; as in PyTorch, they do not replace the parameters,
    and the rate of a step follows from the `lr` that held at the step before.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.ASGD([x], lr=0.25, lambd=0.0)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> x.data
    array([0.5], dtype=float32)
    """

    elementwise = True
    lr: Rate = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False
    moments = ("ax", "eta")

    def initial(self, h: Any) -> dict[str, float]:
        """The first step is made at the learning rate."""
        return {"eta": h.lr}

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        average, eta = span.moments
        assert average is not None
        assert eta is not None
        asgd_step(span.values, span.grads, average, eta, span.h, span.step)

    def state_dict(self) -> dict[str, Any]:
        """With the rate of a parameter as one number, and the weight in its average, as PyTorch has them."""
        state = saving.as_numbers(super().state_dict(), "eta")
        for group in state["param_groups"]:
            for i in group["params"]:
                if "ax" in state["state"].get(i, {}):
                    values = state["state"][i]
                    mu = weight(values["step"], group["t0"])
                    values["mu"] = np.asarray(mu, to_numpy(values["eta"]).dtype)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of PyTorch's ASGD, gave."""
        state = saving.as_arrays(state, "eta", "ax")
        rest = {i: {k: v for k, v in values.items() if k != "mu"} for i, values in state["state"].items()}
        super().load_state_dict({**state, "state": rest})
