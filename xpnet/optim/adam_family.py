"""Relatives of Adam: NAdam, RAdam, Adamax, LAMB, and Lion, which keeps only a sign."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar

from xpnet.core.arrays import widen
from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.optim import saving
from xpnet.optim.formula import decayed, piecewise
from xpnet.optim.moments import MomentSpan, Wide
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.options import Rate


def _track(grad: Array, mean: Array, square: Array, h: Any) -> None:
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2."""
    beta1, beta2 = h.betas
    mean += (1 - beta1) * (grad - mean)
    square *= beta2
    square += (1 - beta2) * (grad * grad)


def _shrunk(theta: Array, grad: Array, h: Any) -> Array:
    """The gradient with weight decay in it, or theta with weight decay in that."""
    if h.decoupled_weight_decay:
        theta *= 1 - h.lr * h.weight_decay
        return grad
    return decayed(theta, grad, h)


@piecewise
def nadam_step(
    theta: Array, grad: Array, mean: Array, square: Array, product: Array, h: Any, step: int
) -> None:
    """theta <- theta - lr ((1 - mu) / (1 - M) g + mu' / (1 - mu' M) m) / (sqrt(v^) + eps); M <- mu M before.

    mu = b1 (1 - 0.96^(step momentum_decay) / 2), mu' that of the next step, M the product of all mu so far,
    each of the b1 that held at its step.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        mean: m, like theta.
        square: v, like theta.
        product: M, like theta: a step that a LossScaler takes back takes back its mu, too.
        h: the hyperparameters of `NAdam`.
        step: from 1.
    """
    g = _shrunk(theta, grad, h)
    _track(g, mean, square, h)
    now, after = (h.betas[0] * (1 - 0.5 * 0.96 ** (t * h.momentum_decay)) for t in (step, step + 1))
    product *= now
    root = namespace(theta).sqrt(square / (1 - h.betas[1] ** step)) + h.eps
    theta -= h.lr * ((1 - now) / (1 - product) * g + after / (1 - after * product) * mean) / root


@piecewise
def radam_step(theta: Array, grad: Array, mean: Array, square: Array, h: Any, step: int) -> None:
    """theta <- theta - lr m^ r / (sqrt(v^) + eps), r the rectification; without root and r at first.

    r = sqrt((rho - 4)(rho - 2) R / ((R - 4)(R - 2) rho)), R = 2 / (1 - b2) - 1,
    rho = R - 2 t b2^t / (1 - b2^t): where rho is at most 5, the variance of the root is not yet known.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        mean: m, like theta.
        square: v, like theta.
        h: the hyperparameters of `RAdam`.
        step: from 1.
    """
    beta1, beta2 = h.betas
    g = _shrunk(theta, grad, h)
    _track(g, mean, square, h)
    rest = 1 - beta2**step
    end = 2 / (1 - beta2) - 1
    rho = end - 2 * step * beta2**step / rest
    update = mean * (h.lr / (1 - beta1**step))
    if rho > 5:
        r = math.sqrt((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho))
        update = update * (r * math.sqrt(rest)) / (namespace(theta).sqrt(square) + h.eps)
    theta -= update


@piecewise
def adamax_step(theta: Array, grad: Array, mean: Array, largest: Array, h: Any, step: int) -> None:
    """u <- max(b2 u, |g| + eps); theta <- theta - lr m^ / u.

    Args:
        theta: the parameters, changed in place, as the moments are.
        grad: like theta.
        mean: m, like theta.
        largest: u, like theta.
        h: the hyperparameters of `Adamax`.
        step: from 1.
    """
    xp, (beta1, beta2) = namespace(theta), h.betas
    g = decayed(theta, grad, h)
    mean += (1 - beta1) * (g - mean)
    largest[...] = xp.maximum(beta2 * largest, xp.abs(g) + h.eps)
    theta -= h.lr / (1 - beta1**step) * mean / largest


@piecewise
def lion_step(theta: Array, grad: Array, mean: Array, h: Any) -> None:
    """theta <- theta - lr (sign(b1 m + (1-b1) g) + weight_decay theta); m <- b2 m + (1-b2) g.

    Args:
        theta: the parameters, changed in place, as the moment is.
        grad: like theta.
        mean: m, like theta.
        h: the hyperparameters of `Lion`.
    """
    beta1, beta2 = h.betas
    if h.weight_decay:
        theta *= 1 - h.lr * h.weight_decay
    theta -= h.lr * namespace(theta).sign(beta1 * mean + (1 - beta1) * grad)
    mean += (1 - beta2) * (grad - mean)


def lamb_step(theta: Array, grad: Array, mean: Array, square: Array, h: Any, step: int) -> None:
    """u = m^ / (sqrt(v^) + eps) + weight_decay theta; theta <- theta - lr |theta| / |u| u, of one parameter.

    Args:
        theta: one parameter, changed in place, as the moments are.
        grad: like theta.
        mean: m, like theta.
        square: v, like theta.
        h: the hyperparameters of `LAMB`.
        step: from 1.
    """
    xp, (beta1, beta2) = namespace(theta), h.betas
    _track(grad, mean, square, h)
    u = mean / (1 - beta1**step) / (xp.sqrt(square / (1 - beta2**step)) + h.eps) + h.weight_decay * theta
    length = lambda x: xp.sqrt(xp.sum(widen(x) * widen(x)))
    of_theta, of_u = length(theta), length(u)
    known = (of_theta > 0) & (of_u > 0)
    ratio = xp.where(known, of_theta / xp.where(known, of_u, xp.ones_like(of_u)), xp.ones_like(of_u))
    theta -= (h.lr * ratio) * u


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead, and a momentum that warms up (Dozat, 2016).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        betas: decay of the mean and of the mean square.
        eps: added to the root.
        weight_decay: adds weight_decay * theta to the gradient.
        momentum_decay: how fast the momentum comes to betas[0].
        decoupled_weight_decay: theta shrinks by lr * weight_decay instead, as in AdamW.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.NAdam([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> float(x.data[0]) < 1
    True
    """

    elementwise = True
    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False
    _: KW_ONLY
    maximize: bool = False
    moments = ("exp_avg", "exp_avg_sq", "mu_product")

    def initial(self, h: Any) -> dict[str, float]:
        """The empty product is 1."""
        return {"mu_product": 1.0}

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        nadam_step(span.values, span.grads, *span.moments, span.h, span.step)

    def state_dict(self) -> dict[str, Any]:
        """With the product of a parameter as one number, as PyTorch has it."""
        return saving.as_numbers(super().state_dict(), "mu_product")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of PyTorch's NAdam, gave."""
        super().load_state_dict(saving.as_arrays(state, "mu_product", "exp_avg"))


class RAdam(Optimizer):
    """Adam that begins as momentum, until the variance of its root is known (Liu et al., 2020).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        betas: decay of the mean and of the mean square.
        eps: added to the root.
        weight_decay: adds weight_decay * theta to the gradient.
        decoupled_weight_decay: theta shrinks by lr * weight_decay instead, as in AdamW.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> rule = xpnet.optim.RAdam([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> rule.step()  # the first step is lr times the gradient
    >>> x.data
    array([0.5], dtype=float32)
    """

    elementwise = True
    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    _: KW_ONLY
    maximize: bool = False
    moments = ("exp_avg", "exp_avg_sq")

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        mean, square = span.moments
        radam_step(span.values, span.grads, mean, square, span.h, span.step)


class Adamax(Optimizer):
    """Adam with the largest gradient of late in place of the root (Kingma & Ba, 2015, section 7.1).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        betas: decay of the mean and of the largest gradient.
        eps: added to the size of a gradient.
        weight_decay: adds weight_decay * theta to the gradient.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0, -3.0], requires_grad=True)
    >>> rule = xpnet.optim.Adamax([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()  # the first step is lr times the sign of the gradient
    >>> x.data
    array([ 0.5, -2.5], dtype=float32)
    """

    elementwise = True
    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False
    moments = ("exp_avg", "exp_inf")

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        mean, largest = span.moments
        adamax_step(span.values, span.grads, mean, largest, span.h, span.step)


class Lion(Optimizer):
    """The sign of a mean of gradients, found by a search over programs (Chen et al., 2023).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made: a third to a tenth of AdamW's.
        betas: of the mean in the sign, and of the mean that is kept.
        weight_decay: the part of theta that a step takes away, before lr: three to ten times AdamW's.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0, -3.0], requires_grad=True)
    >>> rule = xpnet.optim.Lion([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> x.data
    array([ 0.5, -2.5], dtype=float32)
    """

    elementwise = True
    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False
    moments = ("exp_avg",)

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one span."""
        (mean,) = span.moments
        lion_step(span.values, span.grads, mean, span.h)


class LAMB(Optimizer):
    """Adam whose step has, for each parameter, the parameter's own length (You et al., 2020).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate, or a function of the steps made.
        betas: decay of the mean and of the mean square.
        eps: added to the root.
        weight_decay: adds weight_decay * theta to the step, before its length is taken.
        maximize: follow the gradient upwards.

    Raises:
        ValueError: a value is out of range.

    >>> import xpnet
    >>> x = xpnet.tensor([3.0, 4.0], requires_grad=True)  # of length 5; Adam's step has length sqrt 2
    >>> rule = xpnet.optim.LAMB([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> rule.step()
    >>> [round(float(v), 4) for v in x.data]
    [2.6464, 3.6464]
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False
    moments = ("exp_avg", "exp_avg_sq")
    alone: ClassVar[bool] = True

    def update(self, span: MomentSpan | Wide) -> None:
        """One step on one parameter."""
        mean, square = span.moments
        lamb_step(span.values, span.grads, mean, square, span.h, span.step)
