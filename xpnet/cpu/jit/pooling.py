"""Maximum of windows of 2 by 2 with stride 2: (N, C, H, W) as pairs of rows, (N C H / 2, 2, W)."""

from __future__ import annotations

import numba
import numpy as np

from xpnet.cpu.jit import loop


@loop
def max_pool(x, y, winner):
    """y[r, j] = max x[r, :, 2 j : 2 j + 2] and which of the four: the first of equals, the last of NaN."""
    for r in numba.prange(x.shape[0]):
        for j in range(y.shape[1]):
            a, b, c, d = x[r, 0, 2 * j], x[r, 0, 2 * j + 1], x[r, 1, 2 * j], x[r, 1, 2 * j + 1]
            k = np.uint8(0)
            a, k = (b, np.uint8(1)) if b > a or b != b else (a, k)
            a, k = (c, np.uint8(2)) if c > a or c != c else (a, k)
            a, k = (d, np.uint8(3)) if d > a or d != d else (a, k)
            y[r, j] = a
            winner[r, j] = k


@loop
def max_pool_gradient(dx, dy, winner):
    """dx[r, i, 2 j + l] = dy[r, j] where 2 i + l won, else 0."""
    for r in numba.prange(dx.shape[0]):
        for j in range(dy.shape[1]):
            g, k = dy[r, j], winner[r, j]
            dx[r, 0, 2 * j] = g if k == 0 else np.float32(0)
            dx[r, 0, 2 * j + 1] = g if k == 1 else np.float32(0)
            dx[r, 1, 2 * j] = g if k == 2 else np.float32(0)
            dx[r, 1, 2 * j + 1] = g if k == 3 else np.float32(0)
