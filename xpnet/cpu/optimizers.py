"""Optimizer steps over a whole span of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import SMALL, compiled, fits, flat
from xpnet.optim import adagrad, adam, rules


def _run(name: str, arrays: tuple[Any, ...], *scalars: Any) -> Any:
    """Launch an update kernel; numbers in the dtype of the parameters, flags as they are."""
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
def sgd_step(theta: Array, grad: Array, velocity: Array | None, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.sgd_step`."""
    arrays = theta, grad, velocity
    return _run("sgd", arrays, step == 1, h.lr, h.momentum, 1 - h.dampening, h.nesterov, h.weight_decay)


@rules.adagrad_step.kernel("numpy", SMALL)
def adagrad_step(theta: Array, grad: Array, total: Array, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.adagrad_step`."""
    lr = adagrad.rate(h, step)
    return _run("adagrad", (theta, grad, total), lr, h.eps, h.eps_inside, h.weight_decay, 0.0)


@rules.adadelta_step.kernel("numpy", SMALL)
def adadelta_step(theta: Array, grad: Array, square: Array, delta: Array, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.adadelta_step`."""
    return _run("adadelta", (theta, grad, square, delta), h.lr, h.rho, 1 - h.rho, h.eps, h.weight_decay)


@rules.rmsprop_step.kernel("numpy", SMALL)
def rmsprop_step(
    theta: Array, grad: Array, square: Array, velocity: Array | None, average: Array | None, h: Any, step: int
) -> Any:
    """See `xpnet.optim.rules.rmsprop_step`."""
    scalars = h.lr, h.alpha, 1 - h.alpha, h.eps, h.eps_inside, h.momentum, h.weight_decay, 0.0
    return _run("rmsprop", (theta, grad, square, velocity, average), *scalars)


@rules.adam_step.kernel("numpy", SMALL)
def adam_step(
    theta: Array,
    grad: Array,
    mean: Array,
    square: Array,
    largest: Array | None,
    h: Any,
    step: int,
    decoupled: bool = False,
) -> Any:
    """See `xpnet.optim.rules.adam_step`."""
    beta1, beta2 = h.betas
    coupled, shrink = adam.decay(h, decoupled)
    scalars = (*adam.unbiased(h, step), 1 - beta1, beta2, 1 - beta2, h.eps, coupled, shrink)
    return _run("adam", (theta, grad, mean, square, largest), *scalars)
