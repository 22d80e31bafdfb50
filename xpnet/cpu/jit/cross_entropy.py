"""Softmax cross-entropy: a row stays in the first-level cache from its maximum to its gradient."""

from __future__ import annotations

import math

import numba
import numpy as np

from xpnet.cpu.jit import loop
from xpnet.cpu.jit.vector import LANES, add, load, splat, total


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


@numba.njit(inline="always")
def _sum(x, row):
    """The sum of a row: in two vectors, and what is left in four numbers."""
    zero, n = np.float32(0), x.shape[1]
    a = b = c = d = zero
    k = 0
    if n >= 2 * LANES:
        whole = x[row]
        v = w = splat(zero)
        while k + 2 * LANES <= n:
            v, w = add(v, load(whole, k)), add(w, load(whole, k + LANES))
            k += 2 * LANES
        a = total(add(v, w))
    while k + 4 <= n:
        a, b, c, d = a + x[row, k], b + x[row, k + 1], c + x[row, k + 2], d + x[row, k + 3]
        k += 4
    while k < n:
        a, k = a + x[row, k], k + 1
    return (a + b) + (c + d)


@loop
def cross_entropy(z, bits, y, losses, gradient, scale):
    """losses[i] = log sum exp z_i - z_i[y_i]; gradient = scale (softmax - e(y)) unless it is empty.

    `bits` is z as int32. A NaN in a row makes its sum, and so the whole row, NaN.
    """
    rows, classes = z.shape
    write = gradient.shape[0] > 0
    for block in numba.prange((rows + 63) // 64):
        room = np.empty((1, 0 if write else classes), np.float32)
        for i in range(64 * block, min(64 * block + 64, rows)):
            top = np.int32(-2147483648)
            for j in range(classes):
                top = max(top, _ordered(bits[i, j]))
            largest = np.int32(_ordered(top)).view(np.float32)
            if write:
                for j in range(classes):
                    gradient[i, j] = _exp(z[i, j] - largest)
                sum_ = _sum(gradient, i)
                factor = scale / sum_
                for j in range(classes):
                    gradient[i, j] *= factor
                gradient[i, y[i]] -= scale
            else:
                for j in range(classes):
                    room[0, j] = _exp(z[i, j] - largest)
                sum_ = _sum(room, 0)
            losses[i] = _loss(largest, z[i, y[i]], sum_)
