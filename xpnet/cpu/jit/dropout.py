"""Dropout with the mask of `xpnet.random.philox`, made in the cache and never stored."""

from __future__ import annotations

import numba
import numpy as np

from xpnet.cpu.jit import loop

_LANES = 256  # blocks of four words at a time: each line below is one loop over lanes, so that it vectorises
_HIGH = np.uint64(32)


@numba.njit(inline="always")
def _philox(c0, c1, c2, c3, start, key):
    """Blocks start, start + 1, ... of the draw; key = (k0, k1, step, stream)."""
    for lane in range(_LANES):
        block = np.uint64(start + lane)
        c0[lane] = np.uint32(block)
        c1[lane] = np.uint32(block >> _HIGH)
        c2[lane] = key[2]
        c3[lane] = key[3]
    a, b = key[0], key[1]
    for _ in range(10):
        for lane in range(_LANES):
            p0 = np.uint64(c0[lane]) * np.uint64(0xD2511F53)
            p1 = np.uint64(c2[lane]) * np.uint64(0xCD9E8D57)
            c0[lane] = np.uint32(p1 >> _HIGH) ^ c1[lane] ^ a
            c1[lane] = np.uint32(p1)
            c2[lane] = np.uint32(p0 >> _HIGH) ^ c3[lane] ^ b
            c3[lane] = np.uint32(p0)
        a, b = np.uint32(a + np.uint32(0x9E3779B9)), np.uint32(b + np.uint32(0xBB67AE85))


@loop
def dropout(x, out, gradient, scale, threshold, key, threads):
    """out[i] = x[i] * scale where word i of the draw is at least `threshold`, else x[i] * 0.

    A gradient is cut off instead: it may be infinite just where the mask is 0.
    """
    size = x.shape[0]
    width = 4 * _LANES
    chunks = (size + width - 1) // width
    for t in numba.prange(threads):
        c0, c1 = np.empty(_LANES, np.uint32), np.empty(_LANES, np.uint32)
        c2, c3 = np.empty(_LANES, np.uint32), np.empty(_LANES, np.uint32)
        factor = np.empty(width, x.dtype)
        for chunk in range(chunks * t // threads, chunks * (t + 1) // threads):
            _philox(c0, c1, c2, c3, chunk * _LANES, key)
            for lane in range(_LANES):
                factor[4 * lane] = scale if c0[lane] >= threshold else x.dtype.type(0)
                factor[4 * lane + 1] = scale if c1[lane] >= threshold else x.dtype.type(0)
                factor[4 * lane + 2] = scale if c2[lane] >= threshold else x.dtype.type(0)
                factor[4 * lane + 3] = scale if c3[lane] >= threshold else x.dtype.type(0)
            low = chunk * width
            high = min(low + width, size)
            if gradient:
                for i in range(low, high):
                    f = factor[i - low]
                    out[i] = x[i] * f if f > 0 else x.dtype.type(0)
            else:
                for i in range(low, high):
                    out[i] = x[i] * factor[i - low]
