"""Softmax cross-entropy: a row stays in the first-level cache from its maximum to its gradient."""

from __future__ import annotations

import math

import numba
import numpy as np

from xpnet.cpu.jit import loop


# no reordering here: the reduction of x and the order of the loss's sum are what keeps them exact
@numba.njit(fastmath={"contract"})
def _loss(largest, picked, total):
    return (largest - picked) + np.float32(math.log(total))


@numba.njit(fastmath={"contract"})
def _exp(x):
    """e^x for float32 x <= 0 or NaN: 2^n e^r with Cephes' polynomial; vectorises, unlike math.exp."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    exponent = (np.int32(n) + np.int32(127)) << np.int32(23)
    return p * np.int32(exponent).view(np.float32)


@numba.njit
def _ordered(b):
    """A float's bits as an integer that sorts like it, for a maximum that vectorises. Its own inverse."""
    return b ^ ((b >> np.int32(31)) & np.int32(0x7FFFFFFF))


@loop
def cross_entropy(z, bits, y, losses, gradient, scale):
    """losses[i] = log sum exp z_i - z_i[y_i]; gradient = scale (softmax - e(y)) unless it is empty.

    `bits` is z as int32. A NaN in a row makes its sum, and so the whole row, NaN.
    """
    rows, classes = z.shape
    write = gradient.shape[0] > 0
    for i in numba.prange(rows):
        top = np.int32(-2147483648)
        for j in range(classes):
            top = max(top, _ordered(bits[i, j]))
        largest = np.int32(_ordered(top)).view(np.float32)
        total = np.float32(0.0)
        if not write:
            for j in range(classes):
                total += _exp(z[i, j] - largest)
        else:
            for j in range(classes):
                e = _exp(z[i, j] - largest)
                gradient[i, j] = e
                total += e
            factor = scale / total
            for j in range(classes):
                gradient[i, j] *= factor
            gradient[i, y[i]] -= scale
        losses[i] = _loss(largest, z[i, y[i]], total)
