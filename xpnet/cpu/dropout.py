"""Dropout of float32 and float64 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.random import Key, keep_threshold
from xpnet.cpu.launch import SMALL, compiled, threads
from xpnet.functional.dropout import philox_dropout as op


@op.kernel("numpy", SMALL)
def philox_dropout(x: Array, p: float, key: Key) -> Any:
    """One pass forward, one backward; the mask is computed again instead of stored."""
    if x.dtype not in (np.float32, np.float64) or not 0 < keep_threshold(p) < 2**32:
        return NotImplemented
    run = compiled("dropout", "dropout")
    if run is None:
        return NotImplemented
    threshold = np.uint32(keep_threshold(p))
    words = np.array([w & 0xFFFFFFFF for w in (key.seed, key.seed >> 32, key.step, key.stream)], np.uint32)

    def apply(a: Array, gradient: bool) -> Array:
        a = np.ascontiguousarray(a)
        y = np.empty_like(a)
        scale = a.dtype.type(1 / (1 - p))
        run(a.reshape(-1), y.reshape(-1), gradient, scale, threshold, words, threads())
        return y

    return apply(x, False), lambda dy: apply(dy, True)
