"""Optimizer steps over a whole stretch of theta."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import SMALL, compiled, fits, flat
from xpnet.optim import rules


def _run(name: str, arrays: tuple[Any, ...], scalars: tuple[Any, ...]) -> Any:
    """Launch an update kernel; numbers in the dtype of theta, flags as they are."""
    theta = arrays[0]
    if theta.dtype not in (np.float32, np.float64) or not fits(*arrays):
        return NotImplemented
    run = compiled("optimizers", name)
    if run is None:
        return NotImplemented
    number = theta.dtype.type
    run(*(flat(a) for a in arrays), *(s if isinstance(s, bool) else number(s) for s in scalars))
    return None


@rules.sgd_step.kernel("numpy", SMALL)
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
) -> Any:
    """See `xpnet.optim.rules.sgd_step`."""
    scalars = (step == 1, lr, momentum, 1 - dampening, nesterov, weight_decay)
    return _run("sgd", (theta, grad, velocity), scalars)


@rules.adagrad_step.kernel("numpy", SMALL)
def adagrad_step(
    theta: Array, grad: Array, total: Array, lr: float, eps: float, eps_inside: bool, weight_decay: float
) -> Any:
    """See `xpnet.optim.rules.adagrad_step`."""
    return _run("adagrad", (theta, grad, total), (lr, eps, eps_inside, weight_decay, 0.0))


@rules.adadelta_step.kernel("numpy", SMALL)
def adadelta_step(
    theta: Array,
    grad: Array,
    square: Array,
    delta: Array,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> Any:
    """See `xpnet.optim.rules.adadelta_step`."""
    return _run("adadelta", (theta, grad, square, delta), (lr, rho, 1 - rho, eps, weight_decay))


@rules.rmsprop_step.kernel("numpy", SMALL)
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
) -> Any:
    """See `xpnet.optim.rules.rmsprop_step`."""
    scalars = (lr, alpha, 1 - alpha, eps, eps_inside, momentum, weight_decay, 0.0)
    return _run("rmsprop", (theta, grad, square, velocity, average), scalars)


@rules.adam_step.kernel("numpy", SMALL)
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
) -> Any:
    """See `xpnet.optim.rules.adam_step`."""
    size, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    coupled, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    scalars = (size, root, 1 - beta1, beta2, 1 - beta2, eps, coupled, shrink)
    return _run("adam", (theta, grad, mean, square, largest), scalars)
