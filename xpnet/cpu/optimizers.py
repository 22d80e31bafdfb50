"""Optimizer steps over a whole span of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, run
from xpnet.optim import adagrad, adam, rules

_RULES = "sgd", "adagrad", "adadelta", "rmsprop", "adam"
_TYPES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
_KERNELS = {(rule, dtype): f"{rule}_{suffix}" for rule in _RULES for dtype, suffix in _TYPES.items()}


def _run(rule: str, arrays: tuple[Any, ...], *numbers: Any) -> Any:
    """Launch an update kernel, which computes in the dtype of the parameters."""
    theta = arrays[0]
    kernel = _KERNELS.get((rule, theta.dtype))
    if kernel is None:
        return NotImplemented
    for a in arrays:
        if a is not None and (a.dtype != theta.dtype or a.size != theta.size or not a.flags.c_contiguous):
            return NotImplemented
    run(kernel, *arrays, *numbers)
    return None


@rules.sgd_step.kernel("numpy", NOT_EMPTY)
def sgd_step(theta: Array, grad: Array, velocity: Array | None, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.sgd_step`."""
    arrays = theta, grad, velocity
    return _run("sgd", arrays, step == 1, h.lr, h.momentum, 1 - h.dampening, h.nesterov, h.weight_decay)


@rules.adagrad_step.kernel("numpy", NOT_EMPTY)
def adagrad_step(theta: Array, grad: Array, total: Array, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.adagrad_step`."""
    lr = adagrad.rate(h, step)
    return _run("adagrad", (theta, grad, total), lr, h.eps, h.eps_inside, h.weight_decay)


@rules.adadelta_step.kernel("numpy", NOT_EMPTY)
def adadelta_step(theta: Array, grad: Array, square: Array, delta: Array, h: Any, step: int) -> Any:
    """See `xpnet.optim.rules.adadelta_step`."""
    return _run("adadelta", (theta, grad, square, delta), h.lr, h.rho, 1 - h.rho, h.eps, h.weight_decay)


@rules.rmsprop_step.kernel("numpy", NOT_EMPTY)
def rmsprop_step(
    theta: Array, grad: Array, square: Array, velocity: Array | None, average: Array | None, h: Any, step: int
) -> Any:
    """See `xpnet.optim.rules.rmsprop_step`."""
    scalars = h.lr, h.alpha, 1 - h.alpha, h.eps, h.eps_inside, h.momentum, h.weight_decay
    return _run("rmsprop", (theta, grad, square, velocity, average), *scalars)


@rules.adam_step.kernel("numpy", NOT_EMPTY)
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
