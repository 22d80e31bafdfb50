"""Dropout of float32 and float64 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.random import Key, keep_threshold
from xpnet.cpu.launch import NOT_EMPTY, contiguous, run
from xpnet.functional.dropout import philox_dropout as op

_KERNELS = {np.dtype(np.float32): "dropout_f32", np.dtype(np.float64): "dropout_f64"}


@op.kernel("numpy", NOT_EMPTY)
def philox_dropout(x: Array, p: float, key: Key) -> Any:
    """One pass forward, one backward; the mask is computed again instead of stored."""
    threshold, kernel = keep_threshold(p), _KERNELS.get(x.dtype)
    if kernel is None or not 0 < threshold < 2**32:
        return NotImplemented
    parts = [w & 0xFFFFFFFF for w in (key.seed, key.seed >> 32, key.step, key.stream)]
    words = np.array(parts, np.uint32) if type(key.seed) is int else np.stack(parts).astype(np.uint32)

    def apply(a: Array, gradient: bool) -> Array:
        a = contiguous(a, x.dtype)
        y = np.empty_like(a)
        run(kernel, a, y, gradient, 1 / (1 - p), threshold, words)
        return y

    return apply(x, False), lambda dy: apply(dy, True)
