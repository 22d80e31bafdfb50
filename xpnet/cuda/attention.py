"""Launches kernels/attention.cu: attention without its matrix of scores, one launch forward, two backward."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.random import keep_threshold
from xpnet.cuda import loader
from xpnet.cuda.dropout import key_words
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.cuda.gemm import shaped
from xpnet.functional.attention import attention as op
from xpnet.functional.attention import check_shapes, leading_axes, mask_beside
from xpnet.functional.attention import packed_attention as packed_op

FILE = "attention.cu"
DEPTHS = (32, 64, 128)  # features of a head, with zeros after them
WAYS = ("forward", "queries", "keys")


@cache
def plan(way: str, t: Element, depth: int) -> tuple[str, int, int]:
    """The kernel, its threads, and the rows that a block owns: as 48 KB and 128 registers a thread allow."""
    warps, rows = (4, 2) if t.scalar is np.float64 else (8, 4)
    if depth == 128 and way != "forward":
        warps //= 2
    return f"attention_{way}<{t.ctype}, {depth}, {warps}, {rows}>", 32 * warps, warps * rows


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    return {FILE: [plan(way, t, depth)[0] for t in ELEMENTS.values() for depth in DEPTHS for way in WAYS]}


class Case(NamedTuple):
    """What is the same in every call with such shapes and options.

    Attributes:
        batch: the leading axes.
        samples, heads: those of queries.
        shared: heads of keys.
        launches: by way, the kernel, its blocks and threads.
        options: causal, scale, and those of dropout without its key.
        sizes: what comes last.
    """

    batch: tuple[int, ...]
    samples: int
    heads: int
    shared: int
    launches: dict[str, tuple[str, tuple[int], tuple[int]]]
    options: tuple[Any, ...]
    sizes: tuple[Any, ...]


@lru_cache(1024)
def _case(
    t: Element,
    q: tuple[int, ...],
    k: tuple[int, ...],
    v: tuple[int, ...],
    p: float,
    causal: bool,
    scale: float | None,
) -> Case | None:
    """Of queries, keys and values of these shapes; None if the kernels do not take them."""
    batch, threshold, found = leading_axes(q, k, v), keep_threshold(p), _heads(q[:-2], k[:-2], v[:-2])
    length, keys, e, f = q[-2], k[-2], q[-1], v[-1]
    if found is None or 0 in (*batch, length, keys, e, f) or max(e, f) > DEPTHS[-1]:
        return None
    if p and not 0 < threshold < 2**32:
        return None
    samples, heads, group = found
    depth, launches = next(d for d in DEPTHS if d >= max(e, f)), {}
    for way in WAYS:
        name, threads, own = plan(way, t, depth)
        rows, of = (keys, heads // group) if way == "keys" else (length, heads)
        launches[way] = name, (loader.ceil_div(rows, own) * samples * of,), (threads,)
    dropout = loader.int32(p > 0), loader.uint32(threshold), t.scalar(1 / (1 - p))
    options = loader.int32(causal), t.scalar(1 / math.sqrt(e) if scale is None else scale), *dropout
    sizes = tuple(map(loader.int32, (samples, heads, group, length, keys, e, f)))
    return Case(batch, samples, heads, heads // group, launches, options, sizes)


@lru_cache(1024)
def _strides(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[np.int64, ...]:
    """In elements, of all axes: 0 for those of one element, which nobody steps along."""
    return tuple(np.int64(s // itemsize if n > 1 else 0) for s, n in zip(strides, shape, strict=True))


class Layout(NamedTuple):
    """How several arrays lie.

    Attributes:
        strides: three of each array, one after the other.
        wide: a bit for each array of whose rows all may be read in pieces of 16 bytes if the first may.
    """

    strides: tuple[np.int64, ...]
    wide: int


_lies = attrgetter("shape", "strides")


@lru_cache(1024)
def _layout(each: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], vector: int) -> Layout:
    """Of arrays of these shapes and strides, of `vector` elements in 16 bytes."""
    steps: list[np.int64] = []
    wide = 0
    for i, (shape, strides) in enumerate(each):
        steps += _strides(shape, strides, 16 // vector)[:3]
        far = [s for s, n in zip(strides[:3], shape, strict=False) if n > 1]
        wide |= (shape[-1] % vector == 0 and all(s % 16 == 0 for s in far)) << i
    return Layout(tuple(steps), wide)


def _rows(a: Array, shape: tuple[int, ...], lead: tuple[int, int]) -> Array:
    """(samples, heads, rows, features) of an array of this shape, the features of a row side by side."""
    if len(shape) != 4 or shape[:2] != lead:
        a = namespace(a).reshape(a, (*lead, *shape[-2:]))
    return a if shape[-1] <= 1 or a.strides[-1] == a.itemsize else loader.contiguous(a)


def _like(a: Array, features: int) -> Array:
    """Room for other features in the order of a's axes, so that heads are put together without a copy."""
    n, heads, rows, _ = a.shape
    if heads > 1 and abs(a.strides[1]) < abs(a.strides[2]):
        return loader.empty(a, (n, rows, heads, features), a.dtype).transpose(0, 2, 1, 3)
    return loader.empty(a, (n, heads, rows, features), a.dtype)


_NO_MASK = (None, np.int32(0), *(np.int64(0),) * 4)


def _heads(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Samples, heads of queries, and how many share one of keys; None if other axes broadcast."""
    group = 1
    if k != v or len(q) != len(k):
        return None
    if q != k:
        if q[:-1] != k[:-1] or k[-1] != 1:
            return None
        group = q[-1]
    if len(q) <= 2 or group == 1:
        return math.prod(q[:-1]), q[-1] if q else 1, group
    return math.prod(q[:-2]), q[-2] * q[-1], group


@op.kernel("cupy")
def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Any = None,
    p: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
    draw: Any = None,
) -> Any:
    """See `xpnet.functional.scaled_dot_product_attention`."""
    return _attend(q, k, v, mask, p, causal, scale, draw, None)


@packed_op.kernel("cupy")
def packed_attention(
    x: Array, heads: int, mask: Any = None, p: float = 0.0, causal: bool = False, draw: Any = None
) -> Any:
    """See `xpnet.functional.attention.packed_attention`: its parts are read, and written, where they lie."""
    x, (n, length, width) = loader.contiguous(x), x.shape
    shape = (n, length, 3, heads, width // 3 // heads)

    def parts(a: Array) -> Any:
        return a.reshape(shape).transpose(2, 0, 3, 1, 4)

    made: list[Array] = []

    def rooms() -> Any:
        made[:] = [loader.empty(x, x.shape, x.dtype)]
        return parts(made[0])

    q, k, v = parts(x)
    done = _attend(q, k, v, mask, p, causal, None, draw, rooms)
    if done is NotImplemented:
        return done
    y, of_parts = done

    def pullback(dy: Array) -> tuple[Any, ...]:
        dmask = of_parts(dy.reshape(n, length, heads, shape[-1]).transpose(0, 2, 1, 3))[3]
        return made.pop(), None, dmask

    return y.transpose(0, 2, 1, 3).reshape(n, length, width // 3), pullback


def _attend(
    q: Array,
    k: Array,
    v: Array,
    mask: Any,
    p: float,
    causal: bool,
    scale: float | None,
    draw: Any,
    rooms: Callable[[], Any] | None,
) -> Any:
    """The output and the pullback, which writes to what `rooms` gives."""
    t = element(q.dtype)
    if t is None or not q.dtype == k.dtype == v.dtype:
        check_shapes(q, k, v)
        return NotImplemented
    shapes = of_q, of_k, of_v = q.shape, k.shape, v.shape
    case = _case(t, *shapes, p, causal, scale)
    if case is None:
        return NotImplemented
    samples, heads, length, keys = case.samples, case.heads, of_q[-2], of_k[-2]
    given, masked = mask, _NO_MASK
    if mask is not None:
        xp = namespace(q)
        given = mask = mask_beside(mask, q, (*case.batch, length, keys))
        mask = xp.broadcast_to(mask, (*case.batch, length, keys))
        mask = xp.reshape(mask, (samples, heads, length, keys))
        kind = loader.int32(1 if mask.dtype == np.bool_ else 2)
        masked = mask, kind, *_strides(mask.shape, mask.strides, mask.itemsize)
    inputs, lead, shared, e, f = (q, k, v), (samples, heads), (samples, case.shared), of_q[-1], of_v[-1]
    q, k, v = _rows(q, of_q, lead), _rows(k, of_k, shared), _rows(v, of_v, shared)
    y, lse = _like(q, f), loader.empty(q, (samples, heads, length), t.scalar)
    options, seeds = case.options, key_words(draw)

    def run(way: str, arrays: tuple[Array, ...], strides: tuple[np.int64, ...], wide: int) -> None:
        name, blocks, threads = case.launches[way]
        args = (*arrays, *strides, *masked, *options, *seeds, *case.sizes, loader.int32(wide))
        loader.kernel(FILE, name)(blocks, threads, args)

    steps, wide = _layout((_lies(q), _lies(k), _lies(v), _lies(y)), t.vector)
    wide &= 7
    for i, a in enumerate((q, k, v)):
        if loader.address(a) % 16:
            wide &= ~(1 << i)
    run("forward", (q, k, v, y, lse), steps, wide)

    def pullback(dy: Array) -> tuple[Any, ...]:
        g = _rows(dy, dy.shape, lead)
        delta = loader.empty(q, lse.shape, t.scalar)
        dq, dk, dv = rooms() if rooms else (_like(q, e), _like(k, e), _like(v, f))
        more, whole = _layout((_lies(g), _lies(dq), _lies(dk), _lies(dv)), t.vector)
        bits = wide | (whole & 1 and loader.address(g) % 16 == 0) << 3
        run("queries", (q, k, v, y, g, lse, delta, dq), (*steps, *more[:6]), bits)
        run("keys", (q, k, v, g, lse, delta, dk, dv), (*steps[:9], *more[:3], *more[6:]), bits)

        def of_mask(out: Array | None) -> Any:
            """Of numbers: as large as the scores may be, and made by the body."""
            wanted = op.body(*inputs, given, p, causal, scale, draw)[1](dy)[3]
            return wanted if wanted is None else wanted(out)

        gradients = map(shaped, (dq, dk, dv), shapes)
        return (*gradients, of_mask if masked[1] == 2 else None)

    return shaped(y, (*case.batch, length, f)), pullback
