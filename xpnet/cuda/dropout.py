"""Launches kernels/dropout.cu: dropout, and the words of `xpnet.random`, bit for bit."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.backend import Array
from xpnet.core.random import Key, keep_threshold
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional.dropout import philox_dropout as op

FILE = "dropout.cu"
BLOCK = 256


PHILOX = f"philox<{BLOCK}>"


@cache
def _plan(t: Element) -> tuple[str, int]:
    """The kernel, and the elements a block takes; a thread takes whole Philox blocks of four."""
    vec = max(4, t.vector)
    return f"dropout<{t.ctype}, {vec}, {BLOCK}>", vec * BLOCK


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    return {FILE: [*(_plan(t)[0] for t in ELEMENTS.values()), PHILOX]}


@lru_cache(1024)
def _case(dtype: Any, size: int, p: float) -> tuple[str, tuple[int], tuple[Any, ...], np.int64] | None:
    """Kernel, grid, scale and threshold, and the size; None if the kernel does not take it."""
    t, threshold = element(dtype), keep_threshold(p)
    if t is None or not 0 < threshold < 2**32:
        return None
    name, elements = _plan(t)
    rates = t.scalar(1 / (1 - p)), np.uint32(threshold)
    return name, (loader.ceil_div(size, elements),), rates, np.int64(size)


_NOTHING = (None, *(np.uint32(0),) * 4)


def key_words(key: Key | None) -> tuple[Any, ...]:
    """The key as the kernels take it: seed low, seed high, step, stream; or where seed, stream, step lie."""
    if key is None:
        return _NOTHING
    if not isinstance(key.seed, int):
        return key.seed, *(loader.uint32(0),) * 4
    low, high, stream = _lasting(key.seed, key.stream)
    return None, low, high, np.uint32(key.step & 0xFFFFFFFF), stream


@lru_cache(1024)
def _lasting(seed: int, stream: int) -> tuple[np.uint32, np.uint32, np.uint32]:
    """Of a key, the words that are the same in every step."""
    return np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32 & 0xFFFFFFFF), np.uint32(stream & 0xFFFFFFFF)


@op.kernel("cupy")
def philox_dropout(x: Array, p: float, key: Key) -> Any:
    """See `xpnet.functional.dropout`: one pass forward, one backward; the mask is made again, not stored."""
    case = _case(x.dtype, x.size, p)
    if case is None:
        return NotImplemented
    name, grid, rates, count = case
    tail = (*rates, *key_words(key), count)

    def apply(a: Array, gradient: bool) -> Array:
        a = loader.contiguous(a)
        y = loader.empty(a, a.shape, a.dtype)
        if count:
            loader.kernel(FILE, name)(grid, (BLOCK,), (a, y, loader.int32(gradient), *tail))
        return y

    return apply(x, False), lambda dy: apply(dy, True)


@random.philox.kernel("cupy")
def philox(counter: Array, key: Key) -> Any:
    """See `xpnet.random.philox`: one launch instead of a hundred."""
    if counter.dtype != np.int64 or counter.ndim != 1:
        return NotImplemented
    n = counter.size
    words = loader.empty(counter, (n, 4), np.int64)
    if n:
        run = loader.kernel(FILE, PHILOX)
        args = (loader.contiguous(counter), words, *key_words(key), loader.int64(n))
        run((loader.ceil_div(n, BLOCK),), (BLOCK,), args)
    return tuple(words[:, i] for i in range(4))
