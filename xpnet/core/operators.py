"""Arithmetic, reductions, indexing and shape operations: the ops behind `Tensor`'s operators and methods."""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import numpy as np

from xpnet.core import arrays, methods
from xpnet.core.again import backward_on_tensors as backward_on_tensors
from xpnet.core.arrays import (
    BOOL,
    COMPLEX,
    FLOAT,
    INTEGER,
    cast,
    floating,
    gather,
    keep,
    kind,
    repeated,
    scatter_add,
    sum_in_float32,
    widen,
    zero,
)
from xpnet.core.backend import Array
from xpnet.core.elementwise import absolute as absolute
from xpnet.core.elementwise import exp as exp
from xpnet.core.elementwise import log as log
from xpnet.core.elementwise import maximum as maximum
from xpnet.core.elementwise import minimum as minimum
from xpnet.core.elementwise import sqrt as sqrt
from xpnet.core.indexing import entries, in_range
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_name, device, namespace, on_device
from xpnet.core.shapes import conj, converted, meet, unbroadcast
from xpnet.core.tensor import Tensor
from xpnet.core.writes import assign as assign
from xpnet.core.writes import in_place as in_place

Result = tuple[Array, Pullback]
Axis = int | tuple[int, ...] | None


# ---- arithmetic -------------------------------------------------------------------------------------------


@differentiable(forward="pointwise", keeps=False)
def add(a: Array, b: Array) -> Result:
    """a + b."""
    p, q = meet(a, b, "add")
    return p + q, of_sum(a, b)


def of_sum(a: Array, b: Array) -> Pullback:
    """The gradients of a + b."""
    return lambda dy: (lambda out: unbroadcast(dy, a), lambda out: unbroadcast(dy, b))


@differentiable(forward="pointwise", keeps=False)
def subtract(a: Array, b: Array) -> Result:
    """a - b."""
    p, q = meet(a, b, "subtract")
    return p - q, lambda dy: (lambda out: unbroadcast(dy, a), lambda out: unbroadcast(-dy, b))


@differentiable(forward="pointwise")
def multiply(a: Array, b: Array) -> Result:
    """a * b."""
    of_a, of_b = a, b
    a, b = meet(a, b, "multiply")
    return a * b, lambda dy: (
        lambda out: unbroadcast(dy * conj(b), of_a),
        lambda out: unbroadcast(dy * conj(a), of_b),
    )


@differentiable(forward="pointwise")
def divide(a: Array, b: Array) -> Result:
    """a / b; of whole numbers in float32."""
    of_a, of_b = a, b
    a, b = meet(a, b, "divide")
    if not any(hasattr(x, "dtype") and kind(x) >= FLOAT for x in (a, b)):
        xp = namespace(a, b)
        a, b = (xp.astype(x, xp.float32) if hasattr(x, "dtype") else x for x in (a, b))
    y = a / b
    return y, lambda dy: (
        lambda out: unbroadcast(dy / conj(b), of_a),
        lambda out: unbroadcast(-dy * conj(y) / conj(b), of_b),  # in this order float16 holds it
    )


@differentiable(forward="pointwise")
def divide_rounded(a: Array, b: Array, mode: str) -> Result:
    """a / b rounded down ("floor") or towards 0 ("trunc"), which is flat: its gradients are 0."""
    a, b = meet(a, b, "divide")
    xp = namespace(a, b)
    if mode not in ("floor", "trunc"):
        raise ValueError(f'div: rounding_mode must be None, "floor" or "trunc", got {mode!r}')
    if mode == "floor":
        y = a // b
    else:  # of the quotient before it is rounded to float16
        exact = (widen(v) if hasattr(v, "shape") else v for v in (a, b))
        y = xp.astype(xp.trunc(operator.truediv(*exact)), (a if hasattr(a, "shape") else b).dtype, copy=False)
    flat = lambda dy, x: unbroadcast(xp.zeros_like(dy), x)
    return y, lambda dy: (lambda out: flat(dy, a), lambda out: flat(dy, b))


@differentiable(forward="pointwise")
def power(a: Array, b: Array) -> Result:
    """a ** b; the gradient with respect to the exponent needs a > 0, or a = 0 and b >= 0, where it is 0."""
    a, b = meet(a, b, "power")
    xp = namespace(a, b)
    # float16 may hold the gradients and not their factors
    base, exponent = (widen(v) if hasattr(v, "shape") else v for v in (a, b))
    wide = base**exponent
    y = wide if base is a and exponent is b else xp.astype(wide, (a if hasattr(a, "shape") else b).dtype)

    def by_base(dy: Array) -> Array:
        dy = widen(dy)
        if not hasattr(b, "shape"):
            dx = dy * conj(b * base ** (b - 1)) if b else xp.zeros_like(dy)
        else:  # x ** 0 is 1 everywhere, although 0 * 0 ** -1 is not a number
            flat = exponent == 0
            less = xp.where(flat, xp.ones_like(exponent), exponent) - 1
            dx = xp.where(flat, zero(dy), dy * conj(exponent * base**less))
        return xp.astype(unbroadcast(dx, a), a.dtype, copy=False)

    def by_exponent(dy: Array) -> Array:
        dy = widen(dy)
        x = base if hasattr(a, "shape") else xp.full((), a, dtype=exponent.dtype, device=device(b))
        real = xp.real(exponent) if kind(exponent) == COMPLEX else exponent
        still = (x == 0) & (real >= 0)  # 0 ** b is 0 there, although 0 * log 0 is not a number
        dx = dy * conj(wide * xp.log(xp.where(still, xp.ones_like(x), x)))
        return xp.astype(unbroadcast(xp.where(still, zero(dx), dx), b), b.dtype, copy=False)

    return y, lambda dy: (lambda out: by_base(dy), lambda out: by_exponent(dy))


@differentiable(forward="linear")
def negative(x: Array) -> Result:
    """-x."""
    return -x, lambda dy: -dy


@differentiable(forward="multilinear")
def matmul(a: Array, b: Array) -> Result:
    """a @ b for matrices, vectors, and stacks of matrices that broadcast."""
    a, b = meet(a, b, "matmul")
    xp = namespace(a, b)
    y = arrays.matmul(a, b)

    def left(dy: Array) -> Array:
        if b.ndim == 1:  # y[..., i] = a[..., i, :] . b
            return dy * b if a.ndim == 1 else unbroadcast(xp.expand_dims(dy, axis=-1) * b, a)
        if a.ndim == 1:
            return unbroadcast(xp.sum(b * xp.expand_dims(dy, axis=-2), axis=-1), a)
        return unbroadcast(arrays.matmul(dy, conj(xp.matrix_transpose(b))), a)

    def right(dy: Array) -> Array:
        if a.ndim == 1:
            return (
                dy * a
                if b.ndim == 1
                else unbroadcast(xp.expand_dims(a, axis=-1) * xp.expand_dims(dy, axis=-2), b)
            )
        if b.ndim == 1:
            return unbroadcast(xp.sum(a * xp.expand_dims(dy, axis=-1), axis=-2), b)
        return unbroadcast(arrays.matmul(conj(xp.matrix_transpose(a)), dy), b)

    return y, lambda dy: (lambda out: left(dy), lambda out: right(dy))


# ---- reductions -------------------------------------------------------------------------------------------


def _restore(y: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """Give a reduced array its reduced axes back, as ones, so that it broadcasts against `x`."""
    if keepdims:
        return y
    if axis is None and not y.shape and type(x) is np.ndarray:
        return y  # broadcasts as it is
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    reduced = [a % x.ndim for a in axes]
    return namespace(y).reshape(y, tuple(1 if i in reduced else n for i, n in enumerate(x.shape)))


def _axis_of(x: Array, axis: Axis) -> Axis:
    """NumPy and PyTorch let a 0-d array have an axis 0; CuPy and the standard do not."""
    return None if x.ndim == 0 and axis in (0, -1) else axis


@differentiable(forward="linear")
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """The sum over `axis` (default: all), in the dtype of `x`; of whole numbers and truths in 64 bits."""
    xp, axis = namespace(x), _axis_of(x, axis)
    if kind(x) == BOOL:
        x = xp.astype(x, xp.int64)
    whole = kind(x) == INTEGER
    y = xp.sum(x, axis=axis, keepdims=keepdims) if whole else sum_in_float32(x, axis, keepdims)
    return y, lambda dy: repeated(_restore(dy, x, axis, keepdims), x.shape)


@differentiable(forward="linear")
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """The mean over `axis` (default: all)."""
    xp, axis = namespace(floating("mean", x)), _axis_of(x, axis)
    y = xp.mean(x, axis=axis, keepdims=keepdims)
    count = math.prod(x.shape) // (math.prod(y.shape) or 1)
    fraction = 1 / count if count else 0.0  # a factor below 1: a large count overflows float16
    return y, lambda dy: repeated(_restore(dy * fraction, x, axis, keepdims), x.shape)


def _extremum(name: str) -> Any:
    def body(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
        xp, axis = namespace(x), _axis_of(x, axis)
        y = getattr(xp, name)(x, axis=axis, keepdims=keepdims)

        def pullback(dy: Array) -> Array:
            top = _restore(y, x, axis, keepdims)
            hit = (x == top) | ((x != x) & (top != top))
            ties = xp.sum(xp.astype(hit, dy.dtype), axis=axis, keepdims=True)
            return xp.where(hit, _restore(dy, x, axis, keepdims) / ties, zero(dy))

        return y, pullback

    body.__name__, body.__doc__ = (
        name,
        f"The {name}imum over `axis` (default: all); ties share the gradient equally.",
    )
    return differentiable(forward="transposed")(body)


max = _extremum("max")
min = _extremum("min")


# ---- shape ------------------------------------------------------------------------------------------------


@differentiable(forward="linear", views=True)
def reshape(x: Array, shape: tuple[int, ...]) -> Result:
    """The same elements in another shape; one entry may be -1."""
    xp = namespace(x)
    return xp.reshape(x, shape), lambda dy: xp.reshape(dy, x.shape)


@differentiable(forward="linear", views=True)
def flatten(x: Array, start_dim: int = 1, end_dim: int = -1) -> Result:
    """Merge the axes from `start_dim` to `end_dim`: (N, C, H, W) -> (N, C H W).

    Args:
        x: any shape.
        start_dim: the first of the axes.
        end_dim: the last of them.

    Returns:
        The elements in the same order, with one axis in place of those.

    Raises:
        ValueError: x does not have these axes, or they are not in order.

    >>> import xpnet, xpnet.functional as F
    >>> F.flatten(xpnet.asarray([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[1., 2., 3., 4.]], dtype=float32)
    """
    xp, n = namespace(x), x.ndim or 1
    if not (-n <= start_dim < n and -n <= end_dim < n and start_dim % n <= end_dim % n):
        raise ValueError(
            f"flatten: start_dim={start_dim} and end_dim={end_dim} are not axes in order of an array of "
            f"shape {tuple(x.shape)}"
        )
    first, last = start_dim % n, end_dim % n + 1
    shape = (*x.shape[:first], math.prod(x.shape[first:last]), *x.shape[last:])
    return xp.reshape(x, shape), lambda dy: xp.reshape(dy, x.shape)


@differentiable(forward="linear", views=True)
def transpose(x: Array, axes: tuple[int, ...] | None = None) -> Result:
    """Permute the axes (default: reverse them)."""
    xp = namespace(x)
    axes = tuple(range(x.ndim))[::-1] if axes is None else tuple(a % x.ndim for a in axes)
    inverse = tuple(axes.index(i) for i in range(x.ndim))
    return xp.permute_dims(x, axes), lambda dy: xp.permute_dims(dy, inverse)


@differentiable(forward="linear", views=True)
def getitem(x: Array, index: Any) -> Result:
    """x[index] for slices, integers, None, masks, integer arrays of any backend; repeated indices add up."""
    xp = namespace(x)
    index = entries(index, x)
    if any(hasattr(i, "dtype") for i in index):
        if backend_name(x) == "cupy":
            index = in_range(index, x)
        return gather(x, index), lambda dy: scatter_add(tuple(x.shape), index, dy)
    if Ellipsis not in index:
        index = (*index, ...)

    def pullback(dy: Array) -> Array:
        dx = xp.zeros_like(x)
        place = tuple(i for i in index if i is not None)  # None only adds axes of length 1
        dx[place] = xp.reshape(dy, dx[place].shape)
        return dx

    return x[index], pullback


# ---- what Tensor's methods need beside ops ----------------------------------------------------------------


@differentiable(forward="linear")
def clone(x: Array) -> Result:
    """A copy."""
    return namespace(x).asarray(x, copy=True), lambda dy: dy


@differentiable(forward="linear")
def astype(x: Array, dtype: Any) -> Result:
    """In another dtype."""
    return cast(x, dtype), lambda dy: converted(dy, x)


@differentiable(forward="linear", views=True)
def squeeze(x: Array, axis: int) -> Result:
    """Without an axis of length 1."""
    xp = namespace(x)
    return xp.squeeze(x, axis=axis), lambda dy: xp.reshape(dy, x.shape)


@differentiable(forward="linear")
def select(x: Array, indices: Array, axis: int) -> Result:
    """One element along `axis` for each index; `indices` has the axis, of length 1."""
    xp = namespace(x, indices)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    places = xp.reshape(xp.arange(x.shape[axis], dtype=indices.dtype, device=device(x)), tuple(shape))
    chosen = places == indices
    value = xp.sum(keep(x, chosen), axis=axis, keepdims=True, dtype=x.dtype)
    return value, lambda dy: keep(xp.broadcast_to(dy, x.shape) + 0, chosen)


def compare(name: str, x: Any, other: Any) -> Tensor:
    """A Tensor of bool, element by element; it has no gradient."""
    value, other = values_of(x), values_of(other)
    if hasattr(other, "shape"):
        namespace(value, other)  # refuses another backend
    with on_device(value):
        return Tensor(getattr(value, name)(other))


def values_of(x: Any) -> Any:
    """The array of a Tensor, or of what carries more than one; anything else as it is."""
    return x.data if isinstance(x, methods.Methods) else x


methods.ops = sys.modules[__name__]
