"""Reductions and running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.array_api.creation import ones, zeros
from xpnet.array_api.function import derived
from xpnet.array_api.values import is_dtype
from xpnet.core import operators
from xpnet.core.places import namespace
from xpnet.core.structure import concat
from xpnet.core.structure import cumulative_sum as _cumulative_sum

CHAPTER = "statistical"
Axis = int | tuple[int, ...] | None


def _as(x: Any, dtype: Any) -> Any:
    return operators.astype(x, dtype) if dtype is not None and is_dtype(dtype) and dtype != x.dtype else x


@derived("sum", CHAPTER, "The sum over `axis` (default: all).", "1 for each element")
def sum(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """Sum."""
    return operators.sum(_as(x, dtype), axis, keepdims)


@derived("mean", CHAPTER, "The mean over `axis` (default: all).", "1 / n for each element")
def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Mean."""
    return operators.mean(x, axes_of(x, axis), keepdims)


@derived("max", CHAPTER, "The maximum over `axis` (default: all).", "shared equally by the maxima")
def max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Maximum."""
    return operators.max(x, axis, keepdims)


@derived("min", CHAPTER, "The minimum over `axis` (default: all).", "shared equally by the minima")
def min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Minimum."""
    return operators.min(x, axis, keepdims)


def axes_of(x: Any, axis: Axis) -> tuple[int, ...]:
    """The axes that are meant, from 0.

    Raises:
        ValueError: x does not have them.
    """
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -x.ndim <= a < x.ndim for a in axes):
        raise ValueError(f"axis={axis} of an array of shape {tuple(x.shape)}")
    return tuple(a % x.ndim for a in axes)


@derived(
    "var",
    CHAPTER,
    "The variance over `axis`: the squares of the distances from the mean, over n - `correction`.",
    "2 (x - mean) / (n - correction)",
)
def var(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Variance."""
    n = math.prod(x.shape[a] for a in axes_of(x, axis))
    centred = x - operators.mean(x, axis, True)
    total = operators.sum(centred * centred, axis, keepdims)
    return total * (1 / (n - correction)) if n > correction else total / 0  # NaN, or infinite, as in NumPy


def flat_at_zero(f: Callable[[Any], Any], x: Any) -> Any:
    """f(x), and at 0 the value 0 with derivative 0, where that of f is infinite: a root's, say."""
    xp, nothing = namespace(x), x == 0
    return xp.where(nothing, xp.zeros_like(x), f(xp.where(nothing, xp.ones_like(x), x)))


@derived(
    "std",
    CHAPTER,
    "The standard deviation, the root of `var`.",
    "(x - mean) / ((n - correction) std), 0 at std = 0",
)
def std(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Standard deviation."""
    return flat_at_zero(operators.sqrt, var(x, axis=axis, correction=correction, keepdims=keepdims))


def _ones(x: Any, n: int) -> Any:
    """n ones before the last axis of x, constants."""
    return ones((*x.shape[:-1], n), dtype=x.dtype, device=x.device)


@derived("prod", CHAPTER, "The product over `axis` (default: all).", "the product of the others, also at 0")
def prod(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """A tree of products of halves: exact where an element is 0, to any order."""
    x, axes = _as(x, dtype), axes_of(x, axis)
    rest = tuple(a for a in range(x.ndim) if a not in axes)
    kept = tuple(x.shape[a] for a in rest)
    y = operators.reshape(operators.transpose(x, rest + axes), (*kept, math.prod(x.shape[a] for a in axes)))
    while y.shape[-1] > 1:
        n = y.shape[-1]
        half = operators.getitem(y, (..., slice(0, n // 2))) * operators.getitem(
            y, (..., slice(n // 2, 2 * (n // 2)))
        )
        y = half if n % 2 == 0 else concat(half, operators.getitem(y, (..., slice(n - 1, n))), axis=-1)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape)) if keepdims else kept
    return operators.reshape(y, shape) if y.shape[-1] else operators.sum(y, -1) + 1


def _along(name: str, x: Any, axis: int | None) -> int:
    """The axis of a running sum or product.

    Raises:
        ValueError: x has several, of which none is named, or does not have the one that is.
    """
    if axis is None and x.ndim != 1:
        raise ValueError(f"{name}: x of shape {tuple(x.shape)} needs an axis to run along")
    return axes_of(x, 0 if axis is None else axis)[0]


def _last(x: Any, axis: int | None) -> tuple[Any, Any]:
    """x with `axis` last, and what puts it back."""
    a = _along("cumulative_prod", x, axis)
    order = (*(i for i in range(x.ndim) if i != a), a)
    back = tuple(order.index(i) for i in range(x.ndim))
    return operators.transpose(x, order), lambda y: operators.transpose(y, back)


@derived(
    "cumulative_sum", CHAPTER, "The running sum along `axis`.", "the running sum of dy from the other end"
)
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """Running sum."""
    x = operators.reshape(x, (1,)) if not x.ndim and axis is None else x
    a = _along("cumulative_sum", x, axis)
    y = _cumulative_sum(_as(x, dtype), a)
    if not include_initial:
        return y
    shape = (*y.shape[:a], 1, *y.shape[a + 1 :])
    return concat(zeros(shape, dtype=y.dtype, device=y.device), y, axis=a)


@derived("cumulative_prod", CHAPTER, "The running product along `axis`.", "that of the products, also at 0")
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """Hillis and Steele's scan, log2(n) products of shifted arrays: exact at 0, to any order."""
    x = operators.reshape(x, (1,)) if not x.ndim and axis is None else x
    y, back = _last(_as(x, dtype), axis)
    n, step = y.shape[-1], 1
    while step < n:
        y = y * concat(_ones(y, step), operators.getitem(y, (..., slice(0, n - step))), axis=-1)
        step *= 2
    return back(concat(_ones(y, 1), y, axis=-1) if include_initial else y)


FUNCTIONS = {f.__name__: f for f in (sum, mean, max, min, var, std, prod, cumulative_sum, cumulative_prod)}
