"""Rows of a table by number, summed, averaged or compared within bags of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np  # of the places of bags, which the host counts

from xpnet.core.arrays import narrow, widen
from xpnet.core.backend import Array
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.operators import max, sum
from xpnet.core.places import backend_of, namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional.embedding import beside, embedding
from xpnet.functional.targets import same_shape


@takes_input
def embedding_bag(
    x: Any,
    weight: Array | Tensor,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum over each bag of the rows weight[x]; 0 of an empty bag.

    Args:
        x: integers (B, L), a bag a row; or (n,), bags one behind the other, with `offsets`.
        weight: (n, d).
        offsets: (B,), where each bag of a flat x begins: integers from 0, none less than the one before.
        max_norm: rows that are looked up and longer than this are made so long first, in the table itself.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up here; not for "max".
        mode: "mean", "sum" or "max".
        sparse: False, as gradients are whole arrays.
        per_sample_weights: like x, of floats: factors of the rows, for "sum".
        include_last_offset: `offsets` has one more, the end of the last bag.
        padding_idx: the row of this number counts for nothing and has no gradient.

    Returns:
        (B, d).

    Raises:
        TypeError: x or the offsets are not of integers.
        ValueError: another mode, offsets that do not fit, or shapes that do not; or sparse=True.
        IndexError: a number is out of range; on CUDA when the host next reads a result.

    Flat bags are padded to the longest of them: they take the memory of (B, longest, d).

    >>> import xpnet, xpnet.functional as F
    >>> table = xpnet.asarray([[1.0, 2.0], [3.0, 6.0]])
    >>> F.embedding_bag([0, 1, 1], table, [0, 2])
    array([[2., 4.],
           [3., 6.]], dtype=float32)
    """
    check_mode("embedding_bag", mode)
    if per_sample_weights is not None and mode != "sum":
        raise ValueError(f'embedding_bag: per_sample_weights go with mode="sum", not with {mode!r}')
    if scale_grad_by_freq and mode == "max":
        raise ValueError('embedding_bag: scale_grad_by_freq goes with mode="mean" or "sum", not with "max"')
    numbers = beside(x, weight)
    table = (weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    rows = widen(embedding(numbers, *table))
    xp = namespace(rows)
    member = numbers != (weight.shape[0] if padding_idx is None else padding_idx % weight.shape[0])
    if per_sample_weights is not None:
        shape, given = tuple(numbers.shape), per_sample_weights
        given = same_shape(rows, given, "embedding_bag", "per_sample_weights", shape)
        rows = rows * xp.expand_dims(given, axis=-1)
    if numbers.ndim == 1:
        places, inside = _places(offsets, numbers.shape[0], include_last_offset)
        (bags, longest), on = places.shape, backend_of(numbers)
        if not numbers.shape[0]:  # sums of nothing, which know their table
            return narrow(sum(rows, 0, True) + xp.zeros((bags, 1), dtype=rows.dtype), weight)
        flat = asarray(places.reshape(-1), backend=on)
        rows = xp.reshape(xp.take(rows, flat, axis=0), (bags, longest, rows.shape[1]))
        member = namespace(member).reshape(namespace(member).take(member, flat), (bags, longest))
        member = member & asarray(inside, backend=on)
    elif numbers.ndim != 2:
        raise ValueError(f"embedding_bag: expected x of shape (B, L) or (n,), got {tuple(numbers.shape)}")
    elif offsets is not None:
        raise ValueError("embedding_bag: offsets go with a flat x; rows of x are bags by themselves")
    return narrow(_reduced(rows, member, mode), weight)


def check_mode(name: str, mode: str) -> str:
    """The mode, if it is one."""
    if mode not in ("mean", "sum", "max"):
        raise ValueError(f'{name}: mode must be "mean", "sum" or "max", got {mode!r}')
    return mode


def _reduced(rows: Any, member: Array, mode: str) -> Any:
    """(B, L, d) and which of the rows count, (B, L) -> (B, d)."""
    xp, mask = namespace(rows), namespace(member).expand_dims(member, axis=2)
    nothing = xp.zeros_like(rows)
    if mode != "max" or not rows.shape[1]:
        total = sum(xp.where(mask, rows, nothing), 1)
        if mode != "mean":
            return total
        counts = namespace(member).sum(namespace(member).astype(mask, total.dtype), axis=1)
        return total / xp.where(counts == 0, xp.ones_like(counts), counts)
    filled = namespace(member).any(mask, axis=1)
    largest = max(xp.where(mask, rows, xp.full_like(nothing, -math.inf)), 1)
    return xp.where(filled, largest, xp.zeros_like(largest))


def _places(offsets: Any, n: int, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """The places of each bag's rows, (B, longest), and which of them are of the bag."""
    if offsets is None:
        raise ValueError("embedding_bag: a flat x needs offsets, where each bag begins")
    starts = to_numpy(array_like(offsets))
    if starts.dtype.kind not in "iu":
        raise TypeError(f"embedding_bag: offsets are {starts.dtype}, expected integers")
    if starts.ndim != 1 or (last and not len(starts)):
        raise ValueError(f"embedding_bag: expected offsets of shape (B,), got {starts.shape}")
    bounds = starts.astype(np.int64) if last else np.append(starts.astype(np.int64), n)
    if bounds[0] != 0 or bounds[-1] != n or (np.diff(bounds) < 0).any():
        raise ValueError(
            f"embedding_bag: offsets must begin with 0, never fall, and end within the {n} numbers of x"
            f"{', the last of them at its end' if last else ''}, got {starts.tolist()}"
        )
    counts = np.diff(bounds)
    steps = np.arange(counts.max(initial=1))
    inside = steps < counts[:, None]
    return np.where(inside, bounds[:-1, None] + steps, 0), inside
