"""Indexing, searching, sorting, sets, and questions about all elements."""

from __future__ import annotations

from typing import Any

from xpnet.array_api.elementwise import promoted
from xpnet.array_api.function import Function, constant, derived
from xpnet.array_api.statistical import axes_of
from xpnet.array_api.values import value_of
from xpnet.core import elementwise
from xpnet.core.arrays import arange
from xpnet.core.methods import Methods
from xpnet.core.operators import getitem, subtract
from xpnet.core.places import namespace
from xpnet.core.structure import concat

PICKED = "dy at the elements that were taken; those taken twice add up"


def _array(indices: Any) -> Any:
    return indices.data if isinstance(indices, Methods) else indices


@derived("take", "indexing", "The elements of x at `indices`, along `axis`.", PICKED)
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Take."""
    a = (0 if axis is None else axis) % x.ndim
    return getitem(x, (*(slice(None),) * a, _array(indices), ...))


@derived("take_along_axis", "indexing", "One element for each index, along `axis`.", PICKED)
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Take one for each index."""
    indices, a = _array(indices), axis % x.ndim
    xp = namespace(indices)
    shape = [max(m, n) if i != a else m for i, (m, n) in enumerate(zip(indices.shape, x.shape, strict=True))]
    place = [
        xp.reshape(arange(n, x.data), tuple(n if i == k else 1 for i in range(x.ndim)))
        for k, n in enumerate(x.shape)
    ]
    place[a] = xp.astype(xp.broadcast_to(indices, tuple(shape)), xp.int64)
    return getitem(x, tuple(xp.broadcast_to(p, tuple(shape)) for p in place))


@derived("where", "searching", "x1 where the condition holds, else x2.", "dy for the one that was taken")
def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """Choose."""
    return elementwise.where(condition, *promoted(x1, x2))


@derived("sort", "sorting", "The elements in order along `axis`.", "dy, put back where each came from")
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Sort."""
    order = value_of("argsort", (x.data,), {"axis": axis, "descending": descending, "stable": stable})
    return take_along_axis(x, order, axis=axis)


@derived("diff", "utility", "The differences of neighbours along `axis`, `n` times over.", "its transpose")
def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """Differences."""
    a = axes_of(x, axis)[0]
    parts = [p for p in (prepend, x, append) if p is not None]
    if len(parts) > 1:
        x = concat(*promoted(*parts), axis=a)
    before = (slice(None),) * a
    for _ in range(n):
        last = x.shape[a]
        x = subtract(
            getitem(x, (*before, slice(1, last), ...)), getitem(x, (*before, slice(0, max(last - 1, 0)), ...))
        )
    return x


_REDUCED = "x, /, *, axis=None, keepdims=False"
ARGUMENTS = {
    "nonzero": "x, /",
    "searchsorted": "x1, x2, /, *, side='left', sorter=None",
    "argsort": "x, /, *, axis=-1, descending=False, stable=True",
}
CONSTANTS = {
    "searching": {
        "argmax": "The index of the maximum along `axis`.",
        "argmin": "The index of the minimum along `axis`.",
        "count_nonzero": "How many elements are not 0.",
        "nonzero": "The indices of the elements that are not 0.",
        "searchsorted": "Where x2 would be inserted into the sorted x1.",
    },
    "sorting": {"argsort": "The indices that would sort x along `axis`."},
    "utility": {"all": "Whether all elements hold.", "any": "Whether any element holds."},
}
SETS = {
    "unique_all": "The different values, the first of each, which each element is, and how often it occurs.",
    "unique_counts": "The different values, and how often each occurs.",
    "unique_inverse": "The different values, and which of them each element is.",
    "unique_values": "The different values.",
}
FUNCTIONS: dict[str, Function] = {
    **{f.__name__: f for f in (take, take_along_axis, where, sort, diff)},
    **{
        n: constant(n, chapter, text, ARGUMENTS.get(n, _REDUCED))
        for chapter, rows in CONSTANTS.items()
        for n, text in rows.items()
    },
    **{n: constant(n, "set", text, "x, /", refuses=True) for n, text in SETS.items()},
}
