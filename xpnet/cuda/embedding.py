"""Launches kernels/embedding.cu: rows of a table, one launch; its gradient two, the same bits each time."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.node import Joint, Room
from xpnet.core.notes import OPS, note_on
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional.embedding import beside
from xpnet.functional.embedding import rows_of as op

FILE = "embedding.cu"
BLOCK = 256
ORDER = 1024  # threads of a block of order_tokens, and the most rows it takes
MOST = (1 << 31) - (1 << 16)  # tokens, rows and pieces: their numbers are 32 bits wide
NUMBERS = {np.dtype("int32"): "int", np.dtype("int64"): "i64"}
OP = OPS.index("embedding")


@cache
def _take(t: Element, number: str, vec: int) -> str:
    return f"take_rows<{t.ctype}, {number}, {vec}, {BLOCK}>"


@cache
def _order(number: str) -> str:
    return f"order_tokens<{number}, {ORDER}>"


@cache
def _add(t: Element, vec: int) -> str:
    return f"add_tokens<{t.ctype}, {vec}, {BLOCK}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names = [_order(number) for number in NUMBERS.values()]
    for t in ELEMENTS.values():
        for vec in (t.vector, 1):
            names += [_add(t, vec), *(_take(t, number, vec) for number in NUMBERS.values())]
    return {FILE: names}


def _vector(t: Element, d: int, *arrays: Array) -> int:
    """16-byte pieces if every row of every array starts aligned, else single elements."""
    bits = d * 16 // t.vector
    for a in arrays:
        bits |= loader.address(a)
    return 1 if bits % 16 else t.vector


@op.kernel("cupy")
def rows_of(weight: Array, x: Any, padding_idx: int | None = None) -> Any:
    """See `xpnet.functional.embedding`."""
    if weight.ndim != 2 or (
        padding_idx is not None and not -weight.shape[0] <= padding_idx < weight.shape[0]
    ):
        return NotImplemented
    return take(weight, beside(x, weight), padding_idx)


def take(weight: Array, numbers: Array, padding_idx: int | None) -> Any:
    """weight[numbers] of numbers beside it, and the pullback; the kernel notes one that is out of range."""
    t, (n, d), count = element(weight.dtype), weight.shape, numbers.size
    if t is None or numbers.dtype not in NUMBERS or 0 in (n, d, count) or max(n, count * d) >= MOST:
        return NotImplemented
    number = NUMBERS[numbers.dtype]
    weight, numbers = loader.contiguous(weight), loader.contiguous(numbers)
    y = loader.empty(weight, (*numbers.shape, d), weight.dtype)
    vec = _vector(t, d, weight, y)
    pieces = count * d // vec
    sizes = (loader.uint32(pieces), loader.uint32(d // vec), loader.int64(n), loader.int32(OP))
    run = loader.kernel(FILE, _take(t, number, vec))
    run((loader.ceil_div(pieces, BLOCK),), (BLOCK,), (weight, numbers, y, *sizes, note_on(weight)))
    padding = loader.int64(-1 if padding_idx is None else padding_idx % n)

    def into(dy: Array, room: Room) -> tuple[Any, ...]:
        dy, out = loader.contiguous(dy), loader.room(room.get(0), weight)
        starts, order = loader.empty(weight, (n + 1,), np.int32), loader.empty(weight, (count,), np.int32)
        rows = min(ORDER, loader.ceil_div(n, loader.target().multiprocessors))
        run = loader.kernel(FILE, _order(number))
        sizes = (loader.int32(count), loader.int64(n), padding, loader.int32(rows))
        run((loader.ceil_div(n, rows),), (ORDER,), (numbers, starts, order, *sizes))
        vec = _vector(t, d, dy, out)
        lanes = min(32, loader.power_of_two(d // vec))
        groups = min(BLOCK // lanes, loader.power_of_two(loader.ceil_div(count, 4 * n)))  # 4 tokens a thread
        grid = (loader.ceil_div(n, BLOCK // lanes // groups), loader.ceil_div(d // vec, lanes))
        cut = (loader.int64(n), loader.int32(d // vec), loader.int32(lanes), loader.int32(groups))
        loader.kernel(FILE, _add(t, vec))(grid, (BLOCK,), (dy, starts, order, out, *cut))
        return (out,)

    return y, Joint(into)
