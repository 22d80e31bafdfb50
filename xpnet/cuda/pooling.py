"""Launches kernels/pooling.cu: max and average pooling, one launch forward and one backward."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array
from xpnet.cuda import loader
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import pooling
from xpnet.functional.convolution import Size, pair

FILE = "pooling.cu"
BLOCK = 256
MOST = (1 << 31) - (1 << 16)  # elements of an array: a thread's number is 32 bits wide
_WINNERS = {"unsigned char": np.uint8, "int": np.int32}


@cache
def _max_pool(t: Element, where: str) -> str:
    places = "true" if where == "long long" else "false"
    return f"max_pool<{t.ctype}, {where}, {places}, {BLOCK}>"


@cache
def _max_pool_gradient(t: Element, where: str) -> str:
    return f"max_pool_gradient<{t.ctype}, {where}, {BLOCK}>"


@cache
def _average(way: str, t: Element) -> str:
    return f"{way}<{t.ctype}, {BLOCK}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names = []
    for t in ELEMENTS.values():
        names += [_max_pool(t, where) for where in (*_WINNERS, "long long")]
        names += [_max_pool_gradient(t, where) for where in _WINNERS]
        names += [_average(way, t) for way in ("average_pool", "average_pool_gradient")]
    return {FILE: names}


class Plan(NamedTuple):
    """The output's shape and size, the kernel's sizes as in XP_WINDOWS, and how many a window has."""

    output: tuple[int, ...]
    size: int
    sizes: tuple[np.int32, ...]
    elements: int


@lru_cache(512)
def plan(
    x: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, name: str
) -> Plan:
    """The windows over images of this shape.

    Raises:
        ValueError: they do not fit.
    """
    w = pooling.windows_over(loader.Shaped(x), kernel, stride, padding, dilation, ceil_mode, name)
    sizes = (*x[2:], *w.size, *w.kernel, *w.stride, *w.padding, *pair(dilation, "dilation", 1))
    output = (*x[:2], *w.size)
    return Plan(output, math.prod(output), tuple(map(np.int32, sizes)), w.kernel[0] * w.kernel[1])


def _plan(x: Array, *options: Any) -> tuple[Element, Plan] | None:
    """The element and the plan, if the kernels take this."""
    t = element(x.dtype)
    if t is None or x.ndim != 4 or not 0 < x.size < MOST:
        return None
    try:
        hash(options)
    except TypeError:  # a list, or what is refused by name
        options = tuple([tuple(o) if isinstance(o, list) else o for o in options])
        made = plan.__wrapped__(x.shape, *options)
    else:
        made = plan(x.shape, *options)
    return (t, made) if made.size < MOST else None


def _launch(kernel: str, threads: int, *args: Any) -> None:
    loader.kernel(FILE, kernel)((loader.ceil_div(threads, BLOCK),), (BLOCK,), args)


def _max(x: Array, *options: Any) -> Any:
    found = _plan(x, *options, "max_pool2d")
    if found is None:
        return NotImplemented
    t, made = found
    x = loader.contiguous(x)
    where = "unsigned char" if made.elements < 256 else "int"
    y, n = loader.empty(x, made.output, x.dtype), made.size
    winner = loader.empty(x, made.output, _WINNERS[where])
    _launch(_max_pool(t, where), n, x, y, winner, loader.int32(n), *made.sizes)

    def pullback(dy: Array) -> Array:
        dx = loader.empty(x, x.shape, x.dtype)
        count = loader.int32(dx.size)
        _launch(_max_pool_gradient(t, where), dx.size, loader.contiguous(dy), winner, dx, count, *made.sizes)
        return dx

    return y, pullback


@pooling.max_pool2d.kernel("cupy")
def max_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """See `xpnet.functional.max_pool2d`: the winner of each window is kept, a byte if it can."""
    return _max(x, kernel_size, stride, padding, 1, False)


@pooling.max_pool2d_spread.kernel("cupy")
def max_pool2d_spread(
    x: Array, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
) -> Any:
    """The same with dilation and windows that are cut off at the end."""
    return _max(x, kernel_size, stride, padding, dilation, ceil_mode)


@pooling.max_pool2d_indices.kernel("cupy")
def max_pool2d_indices(
    x: Array, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
) -> Any:
    """See `xpnet.functional.pooling.max_pool2d_indices`."""
    found = _plan(x, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
    if found is None:
        return NotImplemented
    t, made = found
    x = loader.contiguous(x)
    places = loader.empty(x, made.output, np.int64)
    n = made.size
    _launch(_max_pool(t, "long long"), n, x, None, places, loader.int32(n), *made.sizes)
    return places


def _mean(x: Array, t: Element, made: Plan, padded: bool, divisor: int) -> Any:
    x = loader.contiguous(x)
    # a window of eight elements and more is shared: its rows lie side by side
    lanes = 1 if made.elements < 8 else 8 if made.elements < 64 else 32
    options = (loader.int32(padded), loader.int32(divisor), *made.sizes)
    y = loader.empty(x, made.output, x.dtype)
    sizes = loader.int32(y.size), loader.int32(lanes)
    _launch(_average("average_pool", t), y.size * lanes, x, y, *sizes, *options)

    def pullback(dy: Array) -> Array:
        dx = loader.empty(x, x.shape, x.dtype)
        kernel = _average("average_pool_gradient", t)
        _launch(kernel, dx.size, loader.contiguous(dy), dx, loader.int32(dx.size), *options)
        return dx

    return y, pullback


@pooling.avg_pool2d.kernel("cupy")
def avg_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """See `xpnet.functional.avg_pool2d`."""
    if divisor_override is not None and not 0 < divisor_override < MOST:
        return NotImplemented
    found = _plan(x, kernel_size, stride, padding, 1, ceil_mode, "avg_pool2d")
    return NotImplemented if found is None else _mean(x, *found, count_include_pad, divisor_override or 0)


@pooling.global_avg_pool2d.kernel("cupy")
def global_avg_pool2d(x: Array) -> Any:
    """See `xpnet.functional.global_avg_pool2d`."""
    found = _plan(x, tuple(x.shape[2:]), 1, 0, 1, False, "global_avg_pool2d")
    if found is None:
        return NotImplemented
    y, pullback = _mean(x, *found, False, 0)
    return y.reshape(x.shape[:2]), pullback
