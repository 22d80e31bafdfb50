"""Launches kernels/masked_softmax.cu: attention's weights where kernels/attention.cu takes no part."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import attention

FILE = "masked_softmax.cu"
HELD = 4  # pieces a thread, and the threads of a row, as in rows.cuh
LANES = (32, 128, 512)
BLOCK = 256
MOST = (1 << 31) - (1 << 16)  # pieces: their numbers are 32 bits wide


def _vector(t: Element) -> int:
    """Eight values of 16 bits at once would take too many registers."""
    return min(4, t.vector)


@cache
def _weights(t: Element, vec: int, lanes: int) -> str:
    return f"masked_softmax<{t.ctype}, {vec}, {lanes}>"


@cache
def _lanes(n: int, vec: int) -> int | None:
    """The fewest threads that hold a row of n values; None if it is too long."""
    return next((lanes for lanes in LANES if n <= HELD * vec * lanes), None)


@cache
def _gradient(t: Element, vec: int) -> str:
    return f"scores_gradient<{t.ctype}, {vec}, {BLOCK}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    every = ELEMENTS.values()
    names = [_weights(t, vec, lanes) for t in every for vec in (_vector(t), 1) for lanes in LANES]
    names += [_gradient(t, vec) for t in every if t.wide is t for vec in (t.vector, 1)]
    return {FILE: names}


_NO_STRIDES = [np.int64(0)] * 4


@lru_cache(1024)
def _causal(heads: int, length: int, first: int | None) -> tuple[np.int32, ...]:
    return np.int32(heads), np.int32(length), np.int32(first is not None), np.int32(first or 0)


@attention.attention_weights.kernel("cupy")
def attention_weights(s: Array, scale: float, mask: Array | None = None, first: int | None = None) -> Any:
    """See `xpnet.functional.attention.attention_weights`: one launch."""
    t = element(s.dtype)
    if t is None or s.ndim < 2 or s.size == 0 or (mask is not None and mask.dtype not in (s.dtype, np.bool_)):
        return NotImplemented
    s, shape, n = loader.contiguous(s), s.shape, s.shape[-1]
    w = loader.empty(s, shape, t.scalar)
    step = _vector(t) * s.itemsize
    aligned = (loader.address(s) | n * s.itemsize) % step == 0 and loader.address(w) % 16 == 0
    vec = _vector(t) if aligned else 1
    lanes = _lanes(n, vec)
    if lanes is None:
        return NotImplemented
    kind, strides = 0, _NO_STRIDES
    heads, length = (shape[-3] if s.ndim > 2 else 1), shape[-2]
    if mask is not None:
        xp, kind = namespace(s), 1 if mask.dtype == np.bool_ else 2
        mask = xp.reshape(xp.broadcast_to(mask, shape), (math.prod(shape[:-3]), heads, length, n))
        strides = [loader.int64(stride // mask.itemsize) for stride in mask.strides]
    block = max(128, lanes)
    sizes = (
        loader.int64(s.size // n),
        loader.int32(n),
        loader.scalar(t.scalar, scale),
        mask,
        loader.int32(kind),
        *strides,
    )
    causal = _causal(heads, length, first)
    grid = (loader.ceil_div(s.size // n, block // lanes),)
    loader.kernel(FILE, _weights(t, vec, lanes))(grid, (block,), (s, w, *sizes, *causal))
    return w


@attention.scores_gradient.kernel("cupy")
def scores_gradient(w: Array, dw: Array, total: Array, scale: float = 1.0) -> Any:
    """See `xpnet.functional.attention.scores_gradient`: one launch."""
    t, n = element(w.dtype), w.shape[-1]
    if t is None or t.wide is not t or not 0 < w.size < MOST or dw.dtype != w.dtype or total.dtype != w.dtype:
        return NotImplemented
    if dw.shape != w.shape or total.shape != (*w.shape[:-1], 1):
        return NotImplemented
    w, dw, total = map(loader.contiguous, (w, dw, total))
    ds = loader.empty(w, w.shape, w.dtype)
    bits = n * w.dtype.itemsize | loader.address(w) | loader.address(dw) | loader.address(ds)
    vec = 1 if bits % 16 else t.vector
    pieces = w.size // vec
    sizes = (loader.scalar(t.scalar, scale), loader.uint32(pieces), loader.uint32(n // vec))
    run = loader.kernel(FILE, _gradient(t, vec))
    run((loader.ceil_div(pieces, BLOCK),), (BLOCK,), (w, dw, total, ds, *sizes))
    return ds
