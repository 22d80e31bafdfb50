"""Max pooling of float32 images."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, empty, run, single
from xpnet.functional import pooling
from xpnet.functional.convolution import Size, pair

MOST = 256  # elements of a window: a byte says which won


@pooling.max_pool2d_spread.kernel("numpy", NOT_EMPTY)
def max_pool2d_spread(
    x: Array, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
) -> Any:
    """One pass forward, one backward; one byte of each window is kept."""
    if x.dtype != np.float32 or x.ndim != 4:
        return NotImplemented
    w = pooling.windows_over(x, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
    if len(w.places) > MOST or not all(w.size):
        return NotImplemented
    y = empty((*x.shape[:2], *w.size), np.float32)
    winner = empty(y.shape, np.uint8)
    shape, images = x.shape, x.shape[0] * x.shape[1]
    sizes = images, *shape[2:], *w.size, *w.kernel, *w.stride, *w.padding, *pair(dilation, "dilation", 1)
    run("max_pool", single(x), y, winner, *sizes)

    def pullback(dy: Array) -> Array:
        dx = empty(shape, np.float32)
        run("max_pool_gradient", dx, single(dy), winner, *sizes)
        return dx

    return y, pullback


@pooling.max_pool2d.kernel("numpy", NOT_EMPTY)
def max_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The same, of windows side by side or apart."""
    return max_pool2d_spread(x, kernel_size, stride, padding, 1, False)
