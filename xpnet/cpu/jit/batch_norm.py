"""Batch norm over (N, C), sums in one pass and the result in another, and over (N, C, L), both together.

Sums are of shifted values in float32, 64 rows at a time, gathered in float64: data with mean 1e4 and
deviation 1 keep full float32 accuracy.
"""

from __future__ import annotations

import numba
import numpy as np

from xpnet.cpu.jit import loop
from xpnet.cpu.jit.vector import LANES, add, fma, load, splat, subtract, total

_part = numba.njit(fastmath={"contract"}, error_model="numpy")


@loop
def column_sums(a, b, shift, threads):
    """(2, C) float64: the sums of a and of a (b - shift) for (N, C)."""
    rows, channels = b.shape
    partial = np.zeros((threads, 2, channels), np.float64)
    for t in numba.prange(threads):
        first = np.zeros(channels, np.float32)
        second = np.zeros(channels, np.float32)
        low, high = rows * t // threads, rows * (t + 1) // threads
        for start in range(low, high, 64):
            first[:] = 0
            second[:] = 0
            for i in range(start, min(start + 64, high)):
                for j in range(channels):
                    d = b[i, j] - shift[j]
                    v = a[i, j]
                    first[j] += v
                    second[j] += v * d
            for j in range(channels):
                partial[t, 0, j] += first[j]
                partial[t, 1, j] += second[j]
    return partial.sum(axis=0)


@loop
def column_moments(x, shift, threads):
    """(2, C) float64: the sums of d and d^2, d = x - shift, for (N, C)."""
    rows, channels = x.shape
    partial = np.zeros((threads, 2, channels), np.float64)
    for t in numba.prange(threads):
        first = np.zeros(channels, np.float32)
        second = np.zeros(channels, np.float32)
        low, high = rows * t // threads, rows * (t + 1) // threads
        for start in range(low, high, 64):
            first[:] = 0
            second[:] = 0
            for i in range(start, min(start + 64, high)):
                for j in range(channels):
                    d = x[i, j] - shift[j]
                    first[j] += d
                    second[j] += d * d
            for j in range(channels):
                partial[t, 0, j] += first[j]
                partial[t, 1, j] += second[j]
    return partial.sum(axis=0)


@loop
def column_affine(a, scale, x, mean, x_scale, offset, out):
    """out = scale * a + x_scale * (x - mean) + offset for (N, C)."""
    rows, channels = x.shape
    for i in numba.prange(rows):
        for j in range(channels):
            out[i, j] = scale[j] * a[i, j] + x_scale[j] * (x[i, j] - mean[j]) + offset[j]


@loop
def column_scale(x, mean, scale, offset, out):
    """out = scale * (x - mean) + offset for (N, C)."""
    rows, channels = x.shape
    for i in numba.prange(rows):
        for j in range(channels):
            out[i, j] = scale[j] * (x[i, j] - mean[j]) + offset[j]


@_part
def _moments(x, start, stop, shift):
    """The sums of d and d^2, d = x[start : stop] - shift, in two vectors each."""
    zero, s = splat(np.float32(0)), splat(shift)
    a0 = a1 = b0 = b1 = zero
    k = start
    while k + 2 * LANES <= stop:
        d0, d1 = subtract(load(x, k), s), subtract(load(x, k + LANES), s)
        a0, a1, b0, b1 = add(a0, d0), add(a1, d1), fma(d0, d0, b0), fma(d1, d1, b1)
        k += 2 * LANES
    first, second = total(add(a0, a1)), total(add(b0, b1))
    while k < stop:
        d = x[k] - shift
        first, second, k = first + d, second + d * d, k + 1
    return first, second


@_part
def _sums(dy, x, start, stop, centre):
    """The sums of dy and dy (x - centre) from start to stop, likewise."""
    zero, s = splat(np.float32(0)), splat(centre)
    a0 = a1 = b0 = b1 = zero
    k = start
    while k + 2 * LANES <= stop:
        v0, v1 = load(dy, k), load(dy, k + LANES)
        a0, b0 = add(a0, v0), fma(v0, subtract(load(x, k), s), b0)
        a1, b1 = add(a1, v1), fma(v1, subtract(load(x, k + LANES), s), b1)
        k += 2 * LANES
    first, second = total(add(a0, a1)), total(add(b0, b1))
    while k < stop:
        first, second, k = first + dy[k], second + dy[k] * (x[k] - centre), k + 1
    return first, second


@loop
def channel_forward(x, gamma, beta, eps, y, mean, var):
    """y = gamma (x - mean) / sqrt(var + eps) + beta for (N, C, L); mean and var are float64 (C,).

    A channel that fits the cache is read from memory once: its sums and its result are made together.
    """
    samples, channels, length = x.shape
    for c in numba.prange(channels):
        shift = x[0, c, 0]
        sum_, square = 0.0, 0.0
        for n in range(samples):
            for start in range(0, length, 1024):
                first, second = _moments(x[n, c], start, min(start + 1024, length), shift)
                sum_ += first
                square += second
        moment = sum_ / (samples * length)
        spread = square / (samples * length) - moment * moment
        if spread < 0:  # by rounding; NaN stays
            spread = 0.0
        mean[c], var[c] = shift + moment, spread
        scale64 = gamma[c] / np.sqrt(spread + eps)
        # x - float32(mean) is exact near the mean; what the rounding of the mean left goes into the offset
        centre, scale = np.float32(mean[c]), np.float32(scale64)
        offset = np.float32(beta[c] - scale64 * (mean[c] - centre))
        for n in range(samples):
            for k in range(length):
                y[n, c, k] = scale * (x[n, c, k] - centre) + offset


@loop
def channel_backward(dy, x, gamma, mean, inverse, dx, dweight, dbias):
    """S1: dx = gamma / sigma (dy - mean(dy) - x^ mean(dy x^)) for (N, C, L), a channel at a time."""
    samples, channels, length = x.shape
    count = samples * length
    for c in numba.prange(channels):
        centre = np.float32(mean[c])
        rest = mean[c] - centre
        sum_, product = 0.0, 0.0
        for n in range(samples):
            for start in range(0, length, 1024):
                first, second = _sums(dy[n, c], x[n, c], start, min(start + 1024, length), centre)
                sum_ += first
                product += second
        dbias[c], dweight[c] = sum_, (product - rest * sum_) * inverse[c]
        scale64 = gamma[c] * inverse[c]
        x_scale64 = -(scale64 * inverse[c] * dweight[c] / count)
        scale, x_scale = np.float32(scale64), np.float32(x_scale64)
        offset = np.float32(-(scale64 * sum_ / count) - x_scale64 * rest)
        for n in range(samples):
            for k in range(length):
                dx[n, c, k] = scale * dy[n, c, k] + x_scale * (x[n, c, k] - centre) + offset
