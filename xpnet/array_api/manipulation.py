"""Shapes: the elements stay, so the derivative puts them back."""

from __future__ import annotations

import math
from typing import Any

from xpnet.array_api.elementwise import promoted
from xpnet.array_api.function import derived
from xpnet.array_api.values import any_tensor, value_of
from xpnet.core import structure
from xpnet.core.arrays import arange
from xpnet.core.methods import Methods
from xpnet.core.operators import getitem, reshape, transpose

CHAPTER = "manipulation"
MOVED = "dy, put back in its place"
SUMMED = "dy, summed over what was repeated"


@derived("broadcast_to", CHAPTER, "x repeated to a shape.", SUMMED, views=True)
def broadcast_to(x: Any, /, shape: tuple[int, ...]) -> Any:
    """Broadcast."""
    return structure.broadcast_to(x, tuple(shape))


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that several are broadcast to.

    Raises:
        ValueError: they do not fit.
    """
    n = max(map(len, shapes), default=0)
    out: list[int] = []
    for sizes in zip(*((1,) * (n - len(s)) + tuple(s) for s in shapes), strict=True):
        large = {k for k in sizes if k != 1}
        if len(large) > 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} do not fit together")
        out.append(large.pop() if large else 1)
    return tuple(out)


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """All arrays, repeated to one shape.

    Derivative: dy, summed over what was repeated.
    """
    if not any_tensor(arrays):
        return list(value_of("broadcast_arrays", arrays, {}))
    shape = broadcast_shapes(*(tuple(a.shape) for a in arrays))
    return [broadcast_to(a, shape) for a in arrays]


@derived(
    "concat", CHAPTER, "Arrays joined along `axis`; None: flattened first.", "dy, cut at the same places"
)
def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Join."""
    return structure.concat(*promoted(*arrays), axis=axis)


@derived("stack", CHAPTER, "Arrays joined along a new axis.", "dy at the same places")
def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """Join along a new axis."""
    return structure.concat(*(expand_dims(a, axis=axis) for a in promoted(*arrays)), axis=axis)


@derived("unstack", CHAPTER, "The parts of x along `axis`, a tuple.", MOVED, views=True)
def unstack(x: Any, /, *, axis: int = 0) -> Any:
    """Take apart."""
    a = axis % x.ndim
    return tuple(getitem(x, (*(slice(None),) * a, i, ...)) for i in range(x.shape[a]))


@derived("expand_dims", CHAPTER, "x with a new axis of length 1 at `axis`.", MOVED, views=True)
def expand_dims(x: Any, /, axis: int | tuple[int, ...] = 0) -> Any:
    """New axes."""
    axes = (axis,) if isinstance(axis, int) else axis
    n = x.ndim + len(axes)
    if any(not -n <= a < n for a in axes):
        raise IndexError(f"expand_dims: axis {axis} is out of range for a result of {n} axes")
    new, sizes = {a % n for a in axes}, iter(x.shape)
    return reshape(x, tuple(1 if i in new else next(sizes) for i in range(n)))


@derived("squeeze", CHAPTER, "x without the axes `axis`, which are of length 1.", MOVED, views=True)
def squeeze(x: Any, /, axis: int | tuple[int, ...]) -> Any:
    """Fewer axes."""
    axes = {a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {tuple(x.shape)} is not of length 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@derived("reshape", CHAPTER, "The same elements in another shape; one entry may be -1.", MOVED, views=True)
def reshape_(x: Any, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Any:
    """Reshape."""
    return reshape(x, tuple(shape))


@derived("permute_dims", CHAPTER, "The axes in another order.", MOVED, views=True)
def permute_dims(x: Any, /, axes: tuple[int, ...]) -> Any:
    """Permute."""
    return transpose(x, tuple(axes))


@derived("moveaxis", CHAPTER, "Axes moved from `source` to `destination`.", MOVED, views=True)
def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    """Move axes."""
    start = [s % x.ndim for s in ((source,) if isinstance(source, int) else source)]
    end = [d % x.ndim for d in ((destination,) if isinstance(destination, int) else destination)]
    order = [i for i in range(x.ndim) if i not in start]
    for d, s in sorted(zip(end, start, strict=True)):
        order.insert(d, s)
    return transpose(x, tuple(order))


@derived("flip", CHAPTER, "The order reversed along `axis` (default: all).", MOVED, views=True)
def flip(x: Any, /, *, axis: int | tuple[int, ...] | None = None) -> Any:
    """Reverse."""
    return structure.flip(x, axis)


@derived("roll", CHAPTER, "Elements moved around by `shift` along `axis` (default: flattened).", MOVED)
def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    """Move around."""
    return structure.roll(x, shift, axis)


@derived("tile", CHAPTER, "x repeated as a whole, `repetitions` times along each axis.", SUMMED)
def tile(x: Any, repetitions: int | tuple[int, ...], /) -> Any:
    """Repeat as a whole."""
    repetitions = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    n = max(x.ndim, len(repetitions))
    times = (1,) * (n - len(repetitions)) + tuple(repetitions)
    shape = (1,) * (n - x.ndim) + tuple(x.shape)
    spread = reshape(x, tuple(k for s in shape for k in (1, s)))
    wide = structure.broadcast_to(spread, tuple(k for t, s in zip(times, shape, strict=True) for k in (t, s)))
    return reshape(wide, tuple(t * s for t, s in zip(times, shape, strict=True)))


@derived("repeat", CHAPTER, "Each element `repeats` times along `axis` (default: flattened).", SUMMED)
def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Repeat elements."""
    if axis is None:
        x, axis = reshape(x, (math.prod(x.shape),)), 0
    a = axis % x.ndim
    times = repeats.data if isinstance(repeats, Methods) else repeats
    where = value_of("repeat", (arange(x.shape[a], x.data), times), {})
    return getitem(x, (*(slice(None),) * a, where, ...))


FUNCTIONS = {
    f.__name__: f
    for f in (
        broadcast_to, broadcast_arrays, concat, stack, unstack, expand_dims, squeeze, reshape_, permute_dims,
        moveaxis, flip, roll, tile, repeat,
    )
}  # fmt: skip
broadcast_arrays.chapter = CHAPTER  # type: ignore[attr-defined]
