"""Ops that move elements: each is linear, and its pullback is its transpose, which is an op, too.

The arrays' side of scatter, padding and windows is in `xpnet.core.arrays`, whose functions come here when
they are given Tensors.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from xpnet.core import arrays
from xpnet.core.backend import Array
from xpnet.core.indexing import entries
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_name, device, namespace
from xpnet.core.shapes import unbroadcast
from xpnet.core.tensor import Tensor as Tensor

Result = tuple[Array, Pullback]


@differentiable(forward="linear", views=True)
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Result:
    """x repeated along new axes and axes of length 1; the gradient is summed over them."""
    return namespace(x).broadcast_to(x, shape), lambda dy: unbroadcast(dy, x)


@differentiable(forward="linear")
def concat(*parts: Array, axis: int | None = 0) -> Result:
    """Arrays joined along an axis (None: flattened first); the gradient is cut at the same places."""
    xp = namespace(*parts)
    y = xp.concat(parts, axis=axis)

    def pullback(dy: Array) -> tuple[Array, ...]:
        pieces, start, along = [], 0, 0 if axis is None else axis % dy.ndim
        for part in parts:
            n = math.prod(part.shape) if axis is None else part.shape[along]
            piece = dy[(*(slice(None),) * along, slice(start, start + n), ...)]
            pieces.append(xp.astype(xp.reshape(piece, part.shape), part.dtype, copy=False))
            start += n
        return tuple(pieces)

    return y, pullback


@differentiable(forward="linear", views=True)
def flip(x: Array, axis: int | tuple[int, ...] | None = None) -> Result:
    """The order reversed along `axis` (default: all)."""
    return namespace(x).flip(x, axis=axis), lambda dy: namespace(dy).flip(dy, axis=axis)


@differentiable(forward="linear")
def roll(x: Array, shift: Any, axis: Any = None) -> Result:
    """Moved around along `axis` (default: flattened) by `shift` places."""
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return namespace(x).roll(x, shift, axis=axis), lambda dy: namespace(dy).roll(dy, back, axis=axis)


@differentiable(forward="linear")
def cumulative_sum(x: Array, axis: int = -1) -> Result:
    """The running sum along `axis`; its transpose runs from the other end."""
    xp = namespace(x)
    back = lambda dy: xp.flip(xp.cumulative_sum(xp.flip(dy, axis=axis), axis=axis), axis=axis)
    return xp.cumulative_sum(x, axis=axis, dtype=x.dtype), back


@differentiable(forward="linear")
def put(x: Array, index: Any, value: Array) -> Result:
    """x with `value` at `index`, as x[index] = value would write it; in memory of its own."""
    xp = namespace(x, value)
    index = entries(index, x)
    if hasattr(value, "dtype") and not isinstance(value, int | float | complex):
        fitting = xp.astype(value, x.dtype, copy=False)
    else:
        fitting = value
    won = None
    if hasattr(value, "shape") and any("int" in str(getattr(i, "dtype", "")) for i in index):
        fitting, won = _winners(x, index, fitting)
    y = assigned(x, index, fitting)

    def by_x(dy: Array) -> Array:
        zeros = xp.zeros((), dtype=dy.dtype, device=device(dy))
        return put(dy, index, zeros)

    def by_value(dy: Array) -> Array:
        taken = _taken(dy, index)
        return xp.astype(
            _fit(taken if won is None else arrays.keep(taken, won), value), value.dtype, copy=False
        )

    return y, lambda dy: (lambda out: by_x(dy), None, lambda out: by_value(dy))


def _winners(x: Array, index: tuple[Any, ...], value: Array) -> tuple[Array, Array]:
    """The values that are left where integers name a place more than once, and which of them were."""
    like = x.data if arrays.carries_gradients(x) else x
    xp, places = namespace(like), arrays.arange(math.prod(x.shape), like)
    shape = tuple(arrays.gather(xp.reshape(places, tuple(x.shape)), index).shape)
    order = xp.reshape(arrays.arange(math.prod(shape), like), shape)
    written = assigned(xp.zeros_like(xp.reshape(places, tuple(x.shape))), index, order)
    last, of_value = arrays.gather(written, index), namespace(value)
    flat = of_value.reshape(of_value.broadcast_to(value, shape), (-1,))
    return of_value.reshape(_taken(flat, (xp.reshape(last, (-1,)),)), shape), last == order


def _taken(x: Array, index: tuple[Any, ...]) -> Array:
    """x[index]."""
    if any(hasattr(i, "dtype") for i in index) and not arrays.carries_gradients(x):
        return arrays.gather(x, index)
    return x[index if arrays.carries_gradients(x) or any(i is Ellipsis for i in index) else (*index, ...)]


def _fit(taken: Array, value: Array) -> Array:
    """The gradient of a value that was broadcast into its place, leading axes of length 1 left out."""
    while taken.ndim < value.ndim:
        taken = namespace(taken).expand_dims(taken, axis=0)
    return unbroadcast(taken, value)


def assigned(x: Array, index: tuple[Any, ...], value: Array) -> Array:
    """A copy of x with x[index] = value, by the backend's own means."""
    if backend_name(x) == "xpnet":
        return put(x, index, value)
    y = namespace(x).asarray(x, copy=True)
    integers = any(hasattr(i, "dtype") for i in index)
    if not integers and not any(i is Ellipsis for i in index):
        index = (*index, ...)
    if integers and backend_name(x) == "array_api_strict" and not _is_mask(index):
        return _put_by_mask(y, index, value)
    y[index[0] if len(index) == 1 else index] = value
    return y


def _is_mask(index: tuple[Any, ...]) -> bool:
    return len(index) == 1 and "bool" in str(getattr(index[0], "dtype", ""))


def _put_by_mask(y: Array, index: tuple[Any, ...], value: Array) -> Array:
    """Where the standard has no assignment to integer arrays: the last one written wins."""
    xp, n = namespace(y), math.prod(y.shape)
    flat = arrays.positions(tuple(y.shape), index, y)
    value = xp.broadcast_to(xp.asarray(value, dtype=y.dtype, device=device(y)), flat.shape)
    there = xp.reshape(flat, (-1, 1)) == arrays.arange(n, flat)
    order = xp.reshape(xp.arange(1, there.shape[0] + 1, dtype=xp.int64, device=device(y)), (-1, 1))
    last = xp.max(xp.astype(there, xp.int64) * order, axis=0)
    taken = xp.take(xp.reshape(value, (-1,)), xp.where(last > 0, last - 1, xp.zeros_like(last)))
    return xp.reshape(xp.where(last > 0, taken, xp.reshape(y, (-1,))), y.shape)


@differentiable(forward="linear")
def scatter(values: Array, shape: tuple[int, ...], index: tuple[Any, ...]) -> Result:
    """Zeros of `shape` with values added at `index`; repeated indices add up. The transpose of x[index]."""
    index = entries(index, values)
    return arrays.scatter_add(shape, index, values), lambda dy: namespace(dy).reshape(
        arrays.gather(dy, index), values.shape
    )


@differentiable(forward="linear")
def zero_pad(x: Array, widths: Any) -> Result:
    """x with `before, after` zeros added on each axis; the gradient is that of the inside."""
    return arrays.pad(x, widths), lambda dy: arrays.unpad(dy, widths)


def pad(x: Array, widths: Any, value: float = 0.0) -> Array:
    """The same with elements of another value."""
    y = zero_pad(x, widths)
    if not value:
        return y
    like = x.data if arrays.carries_gradients(x) else x
    return y + arrays.pad(namespace(like).zeros_like(like), widths, value)


@differentiable(forward="linear")
def im2col(x: Array, places: Any, size: tuple[int, int], groups: int = 1) -> Result:
    """Windows as columns; the transpose is `col2im`."""
    return arrays.im2col(x, places, size, groups), lambda dy: arrays.col2im(dy, places, size, tuple(x.shape))


@differentiable(forward="linear")
def col2im(columns: Array, places: Any, size: tuple[int, int], shape: tuple[int, ...]) -> Result:
    """Columns added where they came from; the transpose is `im2col`."""
    back = lambda dy: namespace(dy).reshape(arrays.im2col(dy, places, size), columns.shape)
    return arrays.col2im(columns, places, size, shape), back


@differentiable(forward="pointwise")
def erf(x: Array) -> Result:
    """The error function; derivative 2 / sqrt(pi) exp(-x^2)."""
    xp = namespace(x)
    return arrays.erf(x), lambda dy: dy * ((2 / math.sqrt(math.pi)) * xp.exp(-x * x))


@differentiable(forward="multilinear")
def einsum(*operands: Array, subscripts: str) -> Result:
    """The sum of products that `subscripts` says, as "ij,jk->ik"; each gradient is another such sum."""
    inputs, output = subscripts.split("->")
    names = inputs.split(",")
    y = arrays.einsum(subscripts, *operands)

    def by(i: int, dy: Array) -> Array:
        others = [(n, x) for k, (n, x) in enumerate(zip(names, operands, strict=True)) if k != i]
        known = set(output).union(*(set(n) for n, _ in others))
        here = "".join(c for c in names[i] if c in known)
        spec = ",".join([output, *(n for n, _ in others)]) + "->" + here
        xp = namespace(dy)
        found = arrays.einsum(spec, dy, *(_conj(x) for _, x in others))
        shape = tuple(n if c in known else 1 for c, n in zip(names[i], operands[i].shape, strict=True))
        return xp.broadcast_to(xp.reshape(found, shape), operands[i].shape) + 0

    return y, lambda dy: tuple((lambda out, i=i: by(i, dy)) for i in range(len(operands)))


def _conj(x: Array) -> Array:
    return namespace(x).conj(x) if "complex" in str(x.dtype) else x


arrays.of_tensors = sys.modules[__name__]
