"""Batch norm of float32 (N, C) and (N, C, ...)."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.backend import Array
from xpnet.cpu.launch import SMALL, fits, kernel, threads
from xpnet.dispatch import fused


@fused("batch_norm", backend="numpy", least=SMALL)
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
    """Two passes forward and two backward: y = slope (x - mean) + bias, slope = weight / sqrt(var + eps).

    The centred input is made again in the backward pass instead of being stored.
    """
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
    if kernel("batch_norm", "column_moments") is None:
        return NotImplemented
    flat = x if x.ndim == 2 else x.reshape(x.shape[0], channels, -1)
    moments, sums, scale, affine = (
        (lambda *a: kernel("batch_norm", "column_moments")(*a, threads()),
         lambda *a: kernel("batch_norm", "column_sums")(*a, threads()),
         kernel("batch_norm", "column_scale"),
         kernel("batch_norm", "column_affine"))
        if x.ndim == 2
        else tuple(kernel("batch_norm", f"channel_{name}") for name in ("moments", "sums", "scale", "affine"))
    )  # fmt: skip

    shift = np.ascontiguousarray(flat[0] if x.ndim == 2 else flat[0, :, 0])
    first, second = moments(flat, shift) / count
    mean, var = shift + first, np.maximum(second - first * first, 0)  # float64, (C,)
    inverse = 1 / np.sqrt(var + eps)
    if running_mean is not None and running_var is not None:
        running_mean *= 1 - momentum
        running_mean += (momentum * mean).astype(np.float32)
        running_var *= 1 - momentum
        running_var += (momentum * var * (count / (count - 1))).astype(np.float32)
    gamma = 1.0 if weight is None else weight.astype(np.float64)
    slope = (gamma * inverse).astype(np.float32)
    offset = np.zeros(channels, np.float32) if bias is None else bias
    # x - float32(mean) is exact near the mean; what the rounding of the mean left goes into the offset
    centre = mean.astype(np.float32)
    offset = (offset - slope * (mean - centre)).astype(np.float32)
    y = np.empty_like(flat)
    scale(flat, centre, slope, offset, y)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dy = np.ascontiguousarray(dy, np.float32).reshape(flat.shape)
        dbias, product = sums(dy, flat, centre)
        dweight = (product - (mean - centre) * dbias) * inverse
        # S1: dx = gamma / sigma (dy - mean(dy) - x^ mean(dy x^))
        dslope = -(gamma * inverse * inverse * dweight / count)
        doffset = -(gamma * inverse * dbias / count) - dslope * (mean - centre)
        dx = np.empty_like(x)
        target = dx.reshape(flat.shape)
        affine(dy, slope, flat, centre, dslope.astype(np.float32), doffset.astype(np.float32), target)
        return (
            dx,
            None,
            None,
            None if weight is None else dweight.astype(np.float32),
            None if bias is None else dbias.astype(np.float32),
        )

    return y.reshape(x.shape), pullback
