"""Attention: softmax(q k^T / sqrt(d) + mask) v."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from xpnet.core import random
from xpnet.core.arrays import (
    BOOL,
    FLOAT,
    arange,
    carries_gradients,
    cast,
    constant,
    floating,
    keep,
    kind,
    matmul,
    narrow,
    pad,
    widen,
    zero,
)
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import array_like, asarray
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable, inside
from xpnet.core.operators import reshape
from xpnet.core.places import backend_of, namespace
from xpnet.core.registry import fusable
from xpnet.core.shapes import unbroadcast
from xpnet.core.tensor import Tensor

_SCORES = 1 << 22  # elements of the matrix of scores made at a time: memory is linear in the length


def scaled_dot_product_attention(
    query: Array | Tensor,
    key: Array | Tensor,
    value: Array | Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale q k^T + mask) v (Vaswani et al., 2017).

    Args:
        query: (..., L, E).
        key: (..., S, E); leading axes broadcast.
        value: (..., S, V).
        attn_mask: broadcasts to (..., L, S). Of bool: True where a query may look; of floats: added to the
            scores, and it may have a gradient. A query that may look nowhere gets 0.
        dropout_p: the probability that a weight is dropped; given 0 it is not (there is no `training` here).
        is_causal: query l looks at keys 0 to l; not with a mask.
        scale: default 1 / sqrt(E).
        enable_gqa: the third axis from the end, the heads, of queries is a multiple of that of keys and
            values, which serve several heads each.

    Returns:
        (..., L, V).

    Raises:
        ValueError: shapes that do not fit, a mask and `is_causal`, or dropout_p outside [0, 1].
        TypeError: something is not of floats, or a mask is of whole numbers, which could mean either.

    Scores are made for some queries at a time and made again in the backward pass: memory grows with L, not
    with L S.

    >>> import xpnet, xpnet.functional as F
    >>> x = xpnet.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True)[0]
    array([1., 0.], dtype=float32)
    """
    name = "scaled_dot_product_attention"
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"{name}: dropout_p is the probability of dropping, in [0, 1], got {dropout_p}")
    if is_causal and attn_mask is not None:
        raise ValueError(f"{name}: pass attn_mask or is_causal, not both")
    draw = random.generators[random.DROPOUT].next_key() if dropout_p else None
    if not enable_gqa:
        return attention(query, key, value, attn_mask, dropout_p, is_causal, scale, draw)
    heads, shared = (x.shape[-3] if x.ndim > 2 else 0 for x in (query, key))
    if not shared or heads % shared or value.shape[-3] != shared:
        raise ValueError(
            f"{name}: {heads} heads of queries do not share those of keys {tuple(key.shape)} and values "
            f"{tuple(value.shape)}"
        )
    lead, times = tuple(query.shape[:-3]), heads // shared
    q = reshape(query, (*lead, shared, times, *query.shape[-2:]))
    k, v = (reshape(x, (*x.shape[:-2], 1, *x.shape[-2:])) for x in (key, value))
    attn_mask = None if attn_mask is None else check_mask(f"{name}: attn_mask", attn_mask)
    if attn_mask is not None and attn_mask.ndim > 2:
        h = attn_mask.shape[-3]
        split = (1, 1) if h == 1 else (shared, times)
        attn_mask = reshape(attn_mask, (*attn_mask.shape[:-3], *split, *attn_mask.shape[-2:]))
    y = attention(q, k, v, attn_mask, dropout_p, is_causal, scale, draw)
    return reshape(y, (*y.shape[:-4], heads, *y.shape[-2:]))


@differentiable(anywhere=("mask",))
def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Any = None,
    p: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
    draw: Any = None,
) -> tuple[Array, Pullback]:
    """softmax(scale q k^T + mask) v, for a block of queries at a time; dropout of the weights by `draw`."""
    xp = namespace(q, k, v)
    batch = check_shapes(q, k, v)
    length, width, keys = q.shape[-2], q.shape[-1], k.shape[-2]
    scale = 1 / math.sqrt(width or 1) if scale is None else scale
    given = None if mask is None else mask_beside(mask, q, (*batch, length, keys))
    mask = _along_keys(given, keys)
    step = max(1, _SCORES // max(1, math.prod(batch) * keys))
    blocks = [slice(i, min(i + step, length)) for i in range(0, length, step)] or [slice(0, 0)]
    kt = xp.matrix_transpose(k)

    def seen(rows: slice) -> slice:
        """The keys that some query of a block may look at."""
        return slice(0, min(keys, rows.stop)) if causal else slice(0, keys)

    def weights(rows: slice) -> Array:
        """softmax of the scores of some queries."""
        cols = seen(rows)
        s = matmul(widen(q[..., rows, :]), widen(kt[..., cols]))  # float16 holds no product of 256 and 256
        part = mask if mask is None else mask[..., rows if mask.shape[-2] > 1 else slice(None), cols]
        return attention_weights(s, scale, part, rows.start if causal else None)

    def dropped(w: Array, rows: slice) -> Array:
        """What the dropout leaves of weights, or of their gradients; the same for a query in any block."""
        if not p:
            return w
        n, each = rows.stop - rows.start, math.prod(batch) * keys
        of = backend_of(q.data if carries_gradients(q) else q)
        if p == 1:
            return xp.zeros_like(w)
        words = random.bits(n * each, draw, of, rows.start * each)
        kept = of.xp.reshape(words >= random.keep_threshold(p), (n, *batch, keys))
        kept = of.xp.permute_dims(kept, (*range(1, len(batch) + 1), 0, len(batch) + 1))
        return keep(w, kept[..., seen(rows)]) * (1 / (1 - p))

    held: dict[int, Array] = {}  # the weights of one block are kept; of several they would be the matrix

    def weights_of(rows: slice) -> Array:
        return held[0] if held else weights(rows)

    outputs = []
    for rows in blocks:
        w = weights(rows)
        if len(blocks) == 1:
            held[0] = w
        outputs.append(matmul(narrow(dropped(w, rows), q), v[..., seen(rows), :]))
    y = outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=-2)

    def pullback(dy: Array) -> tuple[Any, ...]:
        along: Callable[[Array], Array] = xp.matrix_transpose
        dq, dmask = [], []
        dk: Any = None
        dv: Any = None
        for rows in blocks:
            w, cols, g = weights_of(rows), seen(rows), dy[..., rows, :]
            to_v = matmul(along(narrow(dropped(w, rows), q)), g)
            dw = dropped(matmul(widen(g), widen(along(v[..., cols, :]))), rows)
            # the sum of dw w over keys is that of dy y over features
            total = xp.sum(widen(g) * widen(y[..., rows, :]), axis=-1, keepdims=True)
            if mask is not None and kind(mask) != BOOL:
                dmask.append(scores_gradient(w, dw, total))
                ds = narrow(dmask[-1] * scale, q)
            else:
                ds = narrow(scores_gradient(w, dw, total, scale), q)
            dq.append(unbroadcast(matmul(ds, k[..., cols, :]), q[..., rows, :]))
            to_k = matmul(along(ds), q[..., rows, :])
            if cols.stop < keys:
                to_k, to_v = (_lengthen(x, keys) for x in (to_k, to_v))
            dk, dv = (to_k, to_v) if dk is None else (dk + to_k, dv + to_v)
        return (
            dq[0] if len(dq) == 1 else xp.concat(dq, axis=-2),
            unbroadcast(dk, k),
            unbroadcast(dv, v),
            lambda out: _of_mask(xp, dmask, given) if dmask else None,
        )

    return y, pullback


def self_attention(x: Any, heads: int, mask: Any, p: float, causal: bool) -> Tensor:
    """Attention of a sequence to itself, after an affine map that makes queries, keys and values at once.

    Args:
        x: (N, L, 3 E), queries, keys and values side by side, of all heads each.
        heads: divides E.
        mask: as for `scaled_dot_product_attention`.
        p: the probability that a weight is dropped.
        causal: query l looks at keys 0 to l.

    Returns:
        (N, L, E), the heads side by side.
    """
    return packed_attention(
        x, heads, mask, p, causal, random.generators[random.DROPOUT].next_key() if p else None
    )


@differentiable(anywhere=("mask",))
def packed_attention(
    x: Array, heads: int, mask: Any = None, p: float = 0.0, causal: bool = False, draw: Any = None
) -> tuple[Array, Pullback]:
    """`attention` of the three parts of x, (N, L, 3 E) -> (N, L, E), whose gradients make one array again."""
    xp, (n, length, width) = namespace(x), x.shape
    e = width // 3
    side = (n, length, heads, e // heads)
    parts = xp.permute_dims(xp.reshape(x, (n, length, 3, *side[2:])), (2, 0, 3, 1, 4))
    y, of_parts = inside(attention, *(parts[i, ...] for i in range(3)), mask, p, causal, None, draw)

    def pullback(dy: Array) -> tuple[Any, ...]:
        *three, dmask = of_parts(xp.permute_dims(xp.reshape(dy, side), (0, 2, 1, 3)))
        dx = xp.stack([xp.permute_dims(d, (0, 2, 1, 3)) for d in three], axis=2)
        return xp.reshape(dx, x.shape), None, dmask

    return xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (n, length, e)), pullback


@fusable
def attention_weights(s: Array, scale: float, mask: Array | None = None, first: int | None = None) -> Array:
    """softmax(scale s + mask) along the keys; 0 for a query that may look nowhere.

    Args:
        s: (..., L, S) of products.
        scale: their factor.
        mask: broadcasts to s: where a query may look, or what is added.
        first: the number of the first query, of which none looks at later keys; None: all look at all.
    """
    xp = namespace(s)
    s = widen(s) * scale
    if first is not None:
        later = arange(s.shape[-1], s)[None, :] > arange(s.shape[-2], s)[:, None] + first
        s = xp.where(later, xp.full_like(zero(s), -math.inf), s)
    if mask is not None:
        s = xp.where(mask, s, xp.full_like(zero(s), -math.inf)) if kind(mask) == BOOL else s + widen(mask)
    if not math.prod(s.shape):
        return s
    top = xp.max(s, axis=-1, keepdims=True)
    nowhere = top == -math.inf
    e = xp.exp(s - xp.where(nowhere, zero(top), top))
    total = xp.sum(e, axis=-1, keepdims=True)
    return e / xp.where(nowhere, xp.ones_like(total), total)


@fusable
def scores_gradient(w: Array, dw: Array, total: Array, scale: float = 1.0) -> Array:
    """Of the scores from that of the weights: scale w (dw - total), `total` (..., L, 1) the sums of dw w."""
    return w * (dw - total) * scale


@differentiable(anywhere=("mask",))
def attention_matrix(q: Array, k: Array, mask: Any = None, causal: bool = False) -> tuple[Array, Pullback]:
    """softmax(q k^T / sqrt(E) + mask), the whole matrix: what `attention` multiplies values by."""
    xp, scale = namespace(q, k), 1 / math.sqrt(q.shape[-1])
    batch = _together(tuple(q.shape[:-2]), tuple(k.shape[:-2]))
    given = None if mask is None else mask_beside(mask, q, (*batch, q.shape[-2], k.shape[-2]))
    s = matmul(widen(q), widen(xp.matrix_transpose(k)))
    w = attention_weights(s, scale, _along_keys(given, k.shape[-2]), 0 if causal else None)

    def pullback(dy: Array) -> tuple[Any, ...]:
        dw = widen(dy)
        ds = scores_gradient(w, dw, xp.sum(dw * w, axis=-1, keepdims=True))
        into = narrow(ds * scale, q)
        return (
            unbroadcast(matmul(into, k), q),
            unbroadcast(matmul(xp.matrix_transpose(into), q), k),
            lambda out: None if given is None or kind(given) == BOOL else _of_mask(xp, [ds], given),
        )

    return narrow(w, q), pullback


def _along_keys(mask: Any, keys: int) -> Any:
    """A mask with axes for queries and keys, that of keys at its full length: parts of it are taken."""
    if mask is None or (mask.ndim > 1 and mask.shape[-1] == keys):
        return mask
    rows = mask.shape[-2] if mask.ndim > 1 else 1
    return namespace(mask).broadcast_to(mask, (*mask.shape[:-2], rows, keys))


def _of_mask(xp: Any, parts: list[Array], mask: Array) -> Array:
    whole = parts[0] if len(parts) == 1 else xp.concat(parts, axis=-2)
    return xp.astype(unbroadcast(whole, mask), mask.dtype, copy=False)


def _lengthen(x: Array, keys: int) -> Array:
    """Zeros for the keys that nobody looked at: all of them, where there are no queries."""
    return pad(x, [(0, 0)] * (x.ndim - 2) + [(0, keys - x.shape[-2]), (0, 0)])


def check_shapes(q: Array, k: Array, v: Array) -> tuple[int, ...]:
    """The leading axes of all three.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: they are not of one floating-point type.
    """
    name = "scaled_dot_product_attention"
    for word, x in (("query", q), ("key", k), ("value", v)):
        if floating(name, x, f"the {word}").dtype != q.dtype:
            raise TypeError(f"{name}: the {word} is {dtype_name(x.dtype)}, the query {dtype_name(q.dtype)}")
    return leading_axes(tuple(q.shape), tuple(k.shape), tuple(v.shape))


def leading_axes(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> tuple[int, ...]:
    """Those of query, key and value of these shapes.

    Raises:
        ValueError: the shapes do not fit.
    """
    name = "scaled_dot_product_attention"
    if min(len(q), len(k), len(v)) < 2 or q[-1] != k[-1] or k[-2] != v[-2]:
        raise ValueError(
            f"{name}: expected query (..., L, E), key (..., S, E) and value (..., S, V), got {q}, {k} and {v}"
        )
    try:
        return _together(q[:-2], k[:-2], v[:-2])
    except ValueError:
        raise ValueError(
            f"{name}: the leading axes of query {q}, key {k} and value {v} do not broadcast"
        ) from None


@lru_cache(256)
def _together(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that several broadcast to."""
    longest = max(map(len, shapes))
    columns = zip(*((1,) * (longest - len(s)) + tuple(s) for s in shapes), strict=True)
    sizes = [{n for n in column if n != 1} or {1} for column in columns]
    if any(len(s) > 1 for s in sizes):
        raise ValueError(f"shapes {shapes} do not broadcast")
    return tuple(s.pop() for s in sizes)


def check_mask(name: str, mask: Any) -> Any:
    """A mask as an array or a Tensor.

    Raises:
        TypeError: it is neither of bool nor of floats.
    """
    mask = mask if carries_gradients(mask) or isinstance(mask, Tensor) else array_like(mask)
    if kind(mask) not in (BOOL, FLOAT):
        raise TypeError(
            f"{name} is {dtype_name(mask.dtype)}, expected bool, or floating-point numbers, which are added "
            "to the scores; of 0 and 1 make bool, as in mask != 0"
        )
    return mask


def mask_beside(mask: Any, q: Array, shape: tuple[int, ...]) -> Array:
    """A mask beside q, of bool or of floats, that broadcasts to queries and keys."""
    like = q.data if carries_gradients(q) else q
    name = "scaled_dot_product_attention"
    mask = check_mask(f"{name}: attn_mask", mask)
    if not carries_gradients(mask):
        mask = array_like(mask)
        if kind(mask) != BOOL:
            mask = cast(mask, dtype_name(like.dtype))
        mask = constant(asarray(mask, backend=backend_of(like)), q)
    try:
        if _together(tuple(mask.shape), shape) != shape:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{name}: a mask of shape {tuple(mask.shape)} does not broadcast to queries and keys {shape}"
        ) from None
    return mask
