"""Batch norm of float32 (N, C) and (N, C, ...), with a residual and ReLU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, empty, fits, run, single
from xpnet.functional import normalization


@normalization.batch_norm_relu.kernel("numpy", NOT_EMPTY)
def batch_norm_relu(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Array | None = None,
    relu: bool = True,
) -> Any:
    """relu(weight (x - mean) / sqrt(var + eps) + bias + residual); backward makes the centred input again."""
    if x.dtype != np.float32 or x.ndim < 2 or not training:
        return NotImplemented
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        return NotImplemented
    x = single(x)
    if not fits(x, running_mean, running_var, weight, bias):
        return NotImplemented
    channels, count = x.shape[1], x.size // x.shape[1]
    if (
        any(a is not None and a.shape != (channels,) for a in (running_mean, running_var, weight, bias))
        or count < 2
    ):
        return NotImplemented
    sizes = x.shape[0], channels, math.prod(x.shape[2:])
    y, (mean, var) = np.empty_like(x), empty((2, channels))
    added = None if residual is None else single(residual)
    run("batch_norm", x, weight, bias, added, eps, int(relu), y, mean, var, *sizes)
    if running_mean is not None and running_var is not None:
        running_mean *= 1 - momentum
        running_mean += (momentum * mean).astype(np.float32)
        running_var *= 1 - momentum
        running_var += (momentum * var * (count / (count - 1))).astype(np.float32)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dx, (dweight, dbias) = np.empty_like(x), empty((2, channels))
        passed = np.empty_like(x) if relu and residual is not None else None
        kept = y if relu else None
        inverse = 1 / np.sqrt(var + eps)
        run(
            "batch_norm_gradient",
            single(dy),
            kept,
            x,
            weight,
            mean,
            inverse,
            passed,
            dx,
            dweight,
            dbias,
            *sizes,
        )
        return (
            dx,
            None,
            None,
            None if weight is None else dweight.astype(np.float32),
            None if bias is None else dbias.astype(np.float32),
            None,
            None,
            None,
            dy if passed is None else passed,
        )

    return y, pullback


@normalization.batch_norm.kernel("numpy", NOT_EMPTY)
def batch_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """The same without either."""
    found = batch_norm_relu(x, running_mean, running_var, weight, bias, training, momentum, eps, relu=False)
    if found is NotImplemented:
        return NotImplemented
    y, pullback = found
    return y, lambda dy: pullback(dy)[:5]
