"""Batch norm of float32 (N, C) and (N, C, ...)."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import SMALL, compiled, fits, threads
from xpnet.functional import normalization


@normalization.batch_norm.kernel("numpy", SMALL)
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
    """weight (x - mean) / sqrt(var + eps) + bias; the backward pass makes the centred input again."""
    if x.dtype != np.float32 or x.ndim < 2 or not training:
        return NotImplemented
    if not fits(x, running_mean, running_var, weight, bias):
        return NotImplemented
    channels, count = x.shape[1], x.size // x.shape[1]
    if (
        any(a is not None and a.shape != (channels,) for a in (running_mean, running_var, weight, bias))
        or count < 2
    ):
        return NotImplemented
    if compiled("batch_norm", "column_moments") is None:
        return NotImplemented
    gamma = np.ones(channels) if weight is None else weight.astype(np.float64)
    beta = np.zeros(channels) if bias is None else bias.astype(np.float64)
    form = _columns if x.ndim == 2 else _planes
    y, mean, var, backward = form(x, gamma, beta, eps)
    if running_mean is not None and running_var is not None:
        running_mean *= 1 - momentum
        running_mean += (momentum * mean).astype(np.float32)
        running_var *= 1 - momentum
        running_var += (momentum * var * (count / (count - 1))).astype(np.float32)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dx, dweight, dbias = backward(np.ascontiguousarray(dy, np.float32))
        return (
            dx,
            None,
            None,
            None if weight is None else dweight.astype(np.float32),
            None if bias is None else dbias.astype(np.float32),
        )

    return y, pullback


def _columns(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
    """(N, C): y, mean, var and the pullback to (x, weight, bias), in two passes each way."""
    count = x.shape[0]
    shift = x[0].copy()
    first, second = compiled("batch_norm", "column_moments")(x, shift, threads()) / count
    mean, var = shift + first, np.maximum(second - first * first, 0)  # float64, (C,)
    inverse = 1 / np.sqrt(var + eps)
    scale = (gamma * inverse).astype(np.float32)
    # x - float32(mean) is exact near the mean; what the rounding of the mean left goes into the offset
    centre = mean.astype(np.float32)
    y = np.empty_like(x)
    offset = (beta - scale * (mean - centre)).astype(np.float32)
    compiled("batch_norm", "column_scale")(x, centre, scale, offset, y)

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        dbias, product = compiled("batch_norm", "column_sums")(dy, x, centre, threads())
        dweight = (product - (mean - centre) * dbias) * inverse
        # S1: dx = gamma / sigma (dy - mean(dy) - x^ mean(dy x^))
        x_scale = -(gamma * inverse * inverse * dweight / count)
        doffset = -(gamma * inverse * dbias / count) - x_scale * (mean - centre)
        dx = np.empty_like(x)
        compiled("batch_norm", "column_affine")(
            dy, scale, x, centre, x_scale.astype(np.float32), doffset.astype(np.float32), dx
        )
        return dx, dweight, dbias

    return y, mean, var, backward


def _planes(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
    """(N, C, ...): likewise, each channel in one go."""
    flat = x.reshape(x.shape[0], x.shape[1], -1)
    y, (mean, var) = np.empty_like(x), np.empty((2, x.shape[1]))
    compiled("batch_norm", "channel_forward")(flat, gamma, beta, eps, y.reshape(flat.shape), mean, var)
    inverse = 1 / np.sqrt(var + eps)

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        dx, (dweight, dbias) = np.empty_like(x), np.empty((2, x.shape[1]))
        gradient, target = dy.reshape(flat.shape), dx.reshape(flat.shape)
        compiled("batch_norm", "channel_backward")(
            gradient, flat, gamma, mean, inverse, target, dweight, dbias
        )
        return dx, dweight, dbias

    return y, mean, var, backward
