"""Launches kernels/dropout.cu: dropout, and the words of `xpnet.random`, bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.backend import Array, namespace
from xpnet.core.random import Key, keep_threshold
from xpnet.cuda import loader
from xpnet.functional.dropout import philox_dropout as op

FILE = "dropout.cu"
BLOCK = 256


def _vector(dtype: str) -> int:
    """Elements a thread: whole Philox blocks of four."""
    return max(4, loader.vector(dtype))


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names = [f"dropout<{ctype}, {_vector(dtype)}, {BLOCK}>" for dtype, ctype in loader.CTYPES.items()]
    return {FILE: [*names, f"philox<{BLOCK}>"]}


@cache
def _plan(dtype: Any) -> tuple[str, int, Any] | None:
    """The kernel, the elements a block takes, the type of the factor."""
    if dtype.name not in loader.CTYPES:
        return None
    vec = _vector(dtype.name)
    name = f"dropout<{loader.CTYPES[dtype.name]}, {vec}, {BLOCK}>"
    return name, vec * BLOCK, loader.ACCUMULATOR[dtype.name]


def _words(key: Key) -> tuple[np.uint32, ...]:
    """The key as the kernels take it: seed low, seed high, step, stream."""
    words = (key.seed, key.seed >> 32, key.step, key.stream)
    return tuple(np.uint32(w & 0xFFFFFFFF) for w in words)


@op.kernel("cupy")
def philox_dropout(x: Array, p: float, key: Key) -> Any:
    """See `xpnet.functional.dropout`: one pass forward, one backward; the mask is made again, not stored."""
    plan, threshold = _plan(x.dtype), keep_threshold(p)
    if plan is None or not 0 < threshold < 2**32:
        return NotImplemented
    name, elements, scalar = plan
    tail = (scalar(1 / (1 - p)), np.uint32(threshold), *_words(key), np.int64(x.size))
    xp = namespace(x)

    def apply(a: Array, gradient: bool) -> Array:
        a = loader.contiguous(a)
        y = xp.empty(a.shape, dtype=a.dtype)
        if a.size:
            grid = (loader.ceil_div(a.size, elements),)
            loader.kernel(FILE, name)(grid, (BLOCK,), (a, y, np.int32(gradient), *tail))
        return y

    return apply(x, False), lambda dy: apply(dy, True)


@random.philox.kernel("cupy")
def philox(counter: Array, key: Key) -> Any:
    """See `xpnet.random.philox`: one launch instead of a hundred."""
    if counter.dtype != np.int64 or counter.ndim != 1:
        return NotImplemented
    n = counter.size
    words = namespace(counter).empty((n, 4), dtype=np.int64)
    if n:
        run = loader.kernel(FILE, f"philox<{BLOCK}>")
        args = (loader.contiguous(counter), words, *_words(key), np.int64(n))
        run((loader.ceil_div(n, BLOCK),), (BLOCK,), args)
    return tuple(words[:, i] for i in range(4))
