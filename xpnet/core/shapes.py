"""How the arguments of an op meet: their dtypes, and the shapes that they are broadcast to."""

from __future__ import annotations

import math

from xpnet.core.arrays import COMPLEX, FLOAT, kind, sum_in_float32, sum_rows
from xpnet.core.backend import Array, dtype_name
from xpnet.core.places import SCALARS, known_backend, namespace


def unbroadcast(dy: Array, x: Array) -> Array:
    """The gradient of broadcasting `x`: sum over the axes that were repeated; real if x is."""
    if not hasattr(x, "shape"):
        return dy
    if dy.dtype != x.dtype and kind(dy) == COMPLEX and kind(x) == FLOAT:
        dy = namespace(dy).real(dy)
    if tuple(dy.shape) == tuple(x.shape):
        return dy
    xp = namespace(dy)
    extra = dy.ndim - x.ndim
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(x.shape) if n == 1 != dy.shape[i + extra]
    )
    columns = math.prod(x.shape)
    if columns > 1 and axes == tuple(range(len(axes))) and known_backend(dy) in ("numpy", "cupy"):
        # over rows of a matrix, which is a kernel's: CuPy's reduction takes ten times as long, NumPy's twice
        total = sum_rows(xp.reshape(dy, (math.prod(dy.shape) // columns, columns)))
        return xp.reshape(total, x.shape)
    return xp.reshape(sum_in_float32(dy, axis=axes), x.shape)


def meet(a: Array, b: Array, name: str) -> tuple[Array, Array]:
    """Both arguments in one dtype: whole numbers and truth values take the floating-point type of the other.

    Raises:
        TypeError: two floating-point types, of which one would spread without a word.
        DeviceError: two backends or devices.
    """
    xp = namespace(a, b)
    if type(b) in SCALARS or type(a) in SCALARS or a.dtype is b.dtype or a.dtype == b.dtype:
        return a, b
    if type(a) is complex or type(b) is complex:
        return a, b
    kinds = kind(a), kind(b)
    if kinds == (FLOAT, FLOAT):
        narrow, wide = sorted((a, b), key=lambda x: xp.finfo(x.dtype).bits)
        raise TypeError(
            f"{name}: {dtype_name(wide.dtype)} reached a tensor of dtype {dtype_name(narrow.dtype)}; convert "
            f"one, as in xpnet.asarray(x, {dtype_name(narrow.dtype)!r})"
        )
    if kinds[0] > kinds[1] and kinds[0] >= FLOAT:
        b = xp.astype(b, a.dtype)
    elif kinds[1] >= FLOAT:
        a = xp.astype(a, b.dtype)
    return a, b


def converted(dy: Array, x: Array) -> Array:
    """A gradient in the dtype of x, of which it is; real if x is."""
    if dy.dtype == x.dtype:
        return dy
    xp = namespace(dy)
    return xp.astype(xp.real(dy) if kind(dy) == COMPLEX and kind(x) != COMPLEX else dy, x.dtype)


def conj(x: Array) -> Array:
    """The complex conjugate; real numbers as they are."""
    if not hasattr(x, "dtype"):
        return x.conjugate() if type(x) is complex else x
    return namespace(x).conj(x) if kind(x) == COMPLEX else x
