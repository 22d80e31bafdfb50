"""Rows of a table of float32 by number."""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import Array
from xpnet.core.node import Joint, Room
from xpnet.cpu.launch import FLOAT32, NOT_EMPTY, contiguous, empty, fits, run, single
from xpnet.functional.embedding import beside, rows_of


@rows_of.kernel("numpy", NOT_EMPTY)
def rows(weight: Array, x: Any, padding_idx: int | None = None) -> Any:
    """weight[x]; the gradients of a row add up in the order of the tokens, in all threads."""
    if weight.dtype != FLOAT32 or weight.ndim != 2:
        return NotImplemented
    n, d = weight.shape
    if padding_idx is not None and not -n <= padding_idx < n:
        return NotImplemented
    places = contiguous(beside(x, weight), "int64")
    if not places.size:
        return NotImplemented
    y = empty((*places.shape, d), FLOAT32)
    run("take_rows", single(weight), places, y, d)

    def into(dy: Array, room: Room) -> tuple[Array]:
        dweight = room[0] if 0 in room and fits(room[0]) else empty((n, d), FLOAT32)
        run("add_rows", single(dy), places, dweight, d, -1 if padding_idx is None else padding_idx % n)
        return (dweight,)

    return y, Joint(into)
