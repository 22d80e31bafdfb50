"""Batch norm over (N, C), sums in one pass and the result in another, and over (N, C, L), both together.

Sums are of shifted values in float32, 64 rows at a time, gathered in float64: data with mean 1e4 and
deviation 1 keep full float32 accuracy.
"""

from __future__ import annotations

import numba
import numpy as np

from xpnet.cpu.jit import loop


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


@loop
def channel_forward(x, gamma, beta, eps, y, mean, var):
    """y = gamma (x - mean) / sqrt(var + eps) + beta for (N, C, L); mean and var are float64 (C,).

    A channel that fits the cache is read from memory once: its sums and its result are made together.
    """
    samples, channels, length = x.shape
    for c in numba.prange(channels):
        shift = x[0, c, 0]
        total, square = 0.0, 0.0
        for n in range(samples):
            for start in range(0, length, 1024):
                first, second = np.float32(0), np.float32(0)
                for k in range(start, min(start + 1024, length)):
                    d = x[n, c, k] - shift
                    first += d
                    second += d * d
                total += first
                square += second
        moment = total / (samples * length)
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
        total, product = 0.0, 0.0
        for n in range(samples):
            for start in range(0, length, 1024):
                first, second = np.float32(0), np.float32(0)
                for k in range(start, min(start + 1024, length)):
                    v = dy[n, c, k]
                    first += v
                    second += v * (x[n, c, k] - centre)
                total += first
                product += second
        dbias[c], dweight[c] = total, (product - rest * total) * inverse[c]
        scale64 = gamma[c] * inverse[c]
        x_scale64 = -(scale64 * inverse[c] * dweight[c] / count)
        scale, x_scale = np.float32(scale64), np.float32(x_scale64)
        offset = np.float32(-(scale64 * total / count) - x_scale64 * rest)
        for n in range(samples):
            for k in range(length):
                dx[n, c, k] = scale * dy[n, c, k] + x_scale * (x[n, c, k] - centre) + offset
