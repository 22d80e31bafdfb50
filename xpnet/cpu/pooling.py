"""Max pooling of float32 images with windows of 2 by 2 and stride 2; other windows stay with the body."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, empty, run, single
from xpnet.functional import pooling

Size = int | tuple[int, int]


@pooling.max_pool2d.kernel("numpy", NOT_EMPTY)
def max_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """One pass forward, one backward; one byte of each window is kept."""
    from xpnet.functional.convolution import pair

    window = pair(kernel_size, "kernel_size", 1)
    steps = window if stride is None else pair(stride, "stride", 1)
    if window != (2, 2) or steps != (2, 2) or pair(padding, "padding", 0) != (0, 0):
        return NotImplemented
    if x.dtype != np.float32 or x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2 or not x.size:
        return NotImplemented
    samples, channels, height, width = x.shape
    y = empty((samples, channels, height // 2, width // 2), np.float32)
    winner = empty(y.shape, np.uint8)
    sizes = y.size // y.shape[3], y.shape[3]  # two rows of x make one of y
    run("max_pool", single(x), y, winner, *sizes)

    def pullback(dy: Array) -> Array:
        dx = empty((samples, channels, height, width), np.float32)
        run("max_pool_gradient", dx, single(dy), winner, *sizes)
        return dx

    return y, pullback
