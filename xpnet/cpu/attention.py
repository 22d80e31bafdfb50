"""Attention's way from scores to weights, and back, of float32 arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import FLOAT32, NOT_EMPTY, contiguous, empty, run, single
from xpnet.functional import attention


@attention.attention_weights.kernel("numpy", NOT_EMPTY)
def attention_weights(s: Array, scale: float, mask: Array | None = None, first: int | None = None) -> Any:
    """One pass; each row of the scores knows its row of the mask."""
    if s.dtype != np.float32 or (mask is not None and mask.dtype not in (np.float32, np.bool_)):
        return NotImplemented
    rows, keys = s.shape[:-1], s.shape[-1]
    places, floats = None, 0
    if mask is not None:
        floats = int(mask.dtype == np.float32)
        mask = contiguous(mask, mask.dtype)
        begins = np.arange(0, mask.size, keys).reshape(mask.shape[:-1])
        places = np.ascontiguousarray(np.broadcast_to(begins, rows))
    w = empty(s.shape, FLOAT32)
    causal = (0, 0) if first is None else (rows[-1], first)
    run("attention_weights", single(s), mask, places, w, scale, floats, keys, *causal)
    return w


@attention.scores_gradient.kernel("numpy", NOT_EMPTY)
def scores_gradient(w: Array, dw: Array, total: Array, scale: float = 1.0) -> Any:
    """One pass."""
    if w.dtype != np.float32 or dw.shape != w.shape or total.shape != (*w.shape[:-1], 1):
        return NotImplemented
    ds = empty(w.shape, FLOAT32)
    rows = math.prod(w.shape[:-1])
    run("attention_scores_gradient", single(w), single(dw), single(total), ds, scale, rows, w.shape[-1])
    return ds
