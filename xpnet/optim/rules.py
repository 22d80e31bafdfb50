"""Update rules. Each is the formula of its paper in the form of torch.optim, and gives the same numbers.

The functions update one stretch of theta in place and are the reference for the fused kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from xpnet.core.backend import Array, backend_name, namespace
from xpnet.core.registry import fusable
from xpnet.optim.optimizer import Optimizer

# elements a piece: theta, gradient, moments and temporaries of one piece stay in the cache
_PIECE = 1 << 15


def piecewise(update: Callable[..., None]) -> Callable[..., None]:
    """Run an update over cache-sized pieces of NumPy vectors: its passes then cost one trip to memory."""

    @wraps(update)
    def call(theta: Array, *args: Any) -> None:
        if theta.ndim != 1 or theta.shape[0] <= _PIECE or backend_name(theta) != "numpy":
            return update(theta, *args)
        for start in range(0, theta.shape[0], _PIECE):
            piece = slice(start, start + _PIECE)
            update(theta[piece], *(a[piece] if getattr(a, "ndim", 0) else a for a in args))
        return None

    return call


def _decayed(theta: Array, grad: Array, weight_decay: float) -> Array:
    """The gradient of loss + weight_decay / 2 |theta|^2."""
    return grad + weight_decay * theta if weight_decay else grad


@fusable
@piecewise
def sgd_step(
    theta: Array,
    grad: Array,
    velocity: Array | None,
    step: int,
    lr: float,
    momentum: float,
    dampening: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """v <- momentum v + g; theta <- theta - lr v, or with Nesterov theta - lr (g + momentum v)."""
    g = _decayed(theta, grad, weight_decay)
    if velocity is None:
        theta -= lr * g
        return
    if step == 1:
        velocity[...] = g
    else:
        velocity *= momentum
        velocity += g if not dampening else (1 - dampening) * g
    theta -= lr * (g + momentum * velocity if nesterov else velocity)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak, 1964) or Nesterov's (1983; Sutskever et al., 2013).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate.
        momentum: rho in v <- rho v + g (deck S2; S4 puts lr inside: the same at a constant lr).
        dampening: v <- rho v + (1 - dampening) g after the first step.
        weight_decay: adds weight_decay * theta to the gradient, biases included; use groups to spare them.
        nesterov: look ahead. The stored theta is the look-ahead point, as in PyTorch: the same path.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> opt = xpnet.optim.SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> opt.step()
    >>> x.data
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def moment_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """A velocity, if there is momentum."""
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(
        self, theta: Array, grad: Array, moments: list[Array], step: int, group: dict[str, Any]
    ) -> None:
        """One step on one stretch."""
        sgd_step(
            theta,
            grad,
            moments[0] if moments else None,
            step,
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["nesterov"],
            group["weight_decay"],
        )


@fusable
@piecewise
def adagrad_step(
    theta: Array, grad: Array, total: Array, lr: float, eps: float, eps_inside: bool, weight_decay: float
) -> None:
    """s <- s + g^2; theta <- theta - lr g / (sqrt(s) + eps)."""
    g = _decayed(theta, grad, weight_decay)
    total += g * g
    theta -= lr * g / _root(total, eps, eps_inside)


def _root(x: Array, eps: float, inside: bool) -> Array:
    """sqrt(x) + eps, or sqrt(x + eps)."""
    xp = namespace(x)
    if inside:
        return xp.sqrt(x + eps)
    root = xp.sqrt(x)
    root += eps
    return root


class Adagrad(Optimizer):
    """Each parameter's rate falls with its summed squared gradients (Duchi et al., 2011).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate.
        lr_decay: lr / (1 + (step - 1) lr_decay).
        weight_decay: adds weight_decay * theta to the gradient.
        initial_accumulator_value: where the sum starts.
        eps: against division by zero.
        eps_inside: sqrt(s + eps) as in deck S4, instead of sqrt(s) + eps as in S2 and PyTorch.
    """

    moments = ("sum",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        eps_inside: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            eps_inside=eps_inside,
        )

    def initial(self, name: str, group: dict[str, Any]) -> float:
        """The sum starts where the option says."""
        return group["initial_accumulator_value"]

    def update(
        self, theta: Array, grad: Array, moments: list[Array], step: int, group: dict[str, Any]
    ) -> None:
        """One step on one stretch."""
        lr = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        adagrad_step(theta, grad, moments[0], lr, group["eps"], group["eps_inside"], group["weight_decay"])


@fusable
@piecewise
def adadelta_step(
    theta: Array,
    grad: Array,
    square: Array,
    delta: Array,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> None:
    """One step, with d the update and u the mean of its square.

    s <- rho s + (1-rho) g^2; d = g sqrt(u + eps) / sqrt(s + eps); u <- rho u + (1-rho) d^2;
    theta <- theta - lr d.
    """
    xp = namespace(theta)
    g = _decayed(theta, grad, weight_decay)
    square *= rho
    square += (1 - rho) * (g * g)
    d = xp.sqrt(delta + eps)
    d /= xp.sqrt(square + eps)
    d *= g
    delta *= rho
    delta += (1 - rho) * (d * d)
    theta -= lr * d


class Adadelta(Optimizer):
    """Steps in the units of theta, from running averages of squared gradients and steps (Zeiler, 2012).

    Args:
        params: a Module, parameters, or groups.
        lr: a factor on the step.
        rho: decay of both averages.
        eps: inside both roots.
        weight_decay: adds weight_decay * theta to the gradient.
    """

    moments = ("square_avg", "acc_delta")

    def __init__(
        self, params: Any, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)

    def update(
        self, theta: Array, grad: Array, moments: list[Array], step: int, group: dict[str, Any]
    ) -> None:
        """One step on one stretch."""
        square, delta = moments
        adadelta_step(
            theta, grad, square, delta, group["lr"], group["rho"], group["eps"], group["weight_decay"]
        )


@fusable
@piecewise
def rmsprop_step(
    theta: Array,
    grad: Array,
    square: Array,
    velocity: Array | None,
    average: Array | None,
    lr: float,
    alpha: float,
    eps: float,
    eps_inside: bool,
    momentum: float,
    weight_decay: float,
) -> None:
    """s <- alpha s + (1-alpha) g^2; theta <- theta - lr g / (sqrt(s) + eps)."""
    g = _decayed(theta, grad, weight_decay)
    square *= alpha
    square += (1 - alpha) * (g * g)
    variance = square
    if average is not None:
        average += (1 - alpha) * (g - average)
        variance = square - average * average
    direction = g / _root(variance, eps, eps_inside)
    if velocity is not None:
        velocity *= momentum
        velocity += direction
        direction = velocity
    theta -= lr * direction


class RMSprop(Optimizer):
    """A running average of squared gradients instead of AdaGrad's sum (Hinton, 2012, lecture 6e).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate.
        alpha: decay of the average; the decks use 0.9.
        eps: against division by zero.
        weight_decay: adds weight_decay * theta to the gradient.
        momentum: velocity of the scaled gradient.
        centered: divide by the standard deviation of the gradient instead of its root mean square.
        eps_inside: sqrt(s + eps) instead of sqrt(s) + eps.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        eps_inside: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            eps_inside=eps_inside,
        )

    def moment_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The average, a velocity if there is momentum, the mean gradient if centered."""
        return (
            "square_avg",
            *(("momentum_buffer",) if group["momentum"] else ()),
            *(("grad_avg",) if group["centered"] else ()),
        )

    def update(
        self, theta: Array, grad: Array, moments: list[Array], step: int, group: dict[str, Any]
    ) -> None:
        """One step on one stretch."""
        rmsprop_step(
            theta,
            grad,
            moments[0],
            moments[1] if group["momentum"] else None,
            moments[-1] if group["centered"] else None,
            group["lr"],
            group["alpha"],
            group["eps"],
            group["eps_inside"],
            group["momentum"],
            group["weight_decay"],
        )


@fusable
@piecewise
def adam_step(
    theta: Array,
    grad: Array,
    mean: Array,
    square: Array,
    largest: Array | None,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; theta <- theta - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^step) and v^ = v / (1 - b2^step) are without the bias towards the start, 0.
    """
    xp = namespace(theta)
    g = grad
    if weight_decay and decoupled:
        theta *= 1 - lr * weight_decay
    elif weight_decay:
        g = grad + weight_decay * theta
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
    t = xp.sqrt(square)
    t *= 1 / math.sqrt(1 - beta2**step)
    t += eps
    t = mean / t
    t *= lr / (1 - beta1**step)
    theta -= t


class Adam(Optimizer):
    """Momentum and RMSprop with their start-up bias corrected (Kingma & Ba, 2015).

    Args:
        params: a Module, parameters, or groups.
        lr: learning rate.
        betas: decay of the mean and of the mean square.
        eps: added to the root.
        weight_decay: adds weight_decay * theta to the gradient.
        amsgrad: divide by the largest mean square so far.

    The step count starts at 1 (deck S2 starts at 0, which divides by zero).
    """

    decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def moment_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Mean and mean square, and its maximum for AMSGrad."""
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))

    def update(
        self, theta: Array, grad: Array, moments: list[Array], step: int, group: dict[str, Any]
    ) -> None:
        """One step on one stretch."""
        mean, square, *largest = moments
        beta1, beta2 = group["betas"]
        adam_step(
            theta,
            grad,
            mean,
            square,
            largest[0] if largest else None,
            step,
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            self.decoupled,
        )


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter, 2019).

    theta <- (1 - lr weight_decay) theta, then Adam's step.

    Arguments as for Adam; weight_decay defaults to 0.01.
    """

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
