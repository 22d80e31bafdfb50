"""Launches kernels/row_norm.cu: layer norm, RMS norm and group norm, one pass forward and one backward.

The gradients of weight and bias are sums over rows: of partial sums that the pass leaves (layer norm, RMS
norm), or of one for each channel of each sample (group norm).
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.node import Joint, Room
from xpnet.cuda import loader
from xpnet.cuda.activations import add_parts
from xpnet.cuda.element import ELEMENTS, Element, element
from xpnet.functional import normalization, rms

FILE = "row_norm.cu"
HELD = 4  # pieces a thread, as in the source
LANES = (32, 128, 512)  # threads of a row
SUMS = 256  # threads of a block of channel_sums
WORKERS = 512  # most partial sums that are added up


def _vector(t: Element) -> int:
    """Eight values of 16 bits at once would not leave enough registers for sums."""
    return min(4, t.vector)


@cache
def _name(way: str, t: Element, vec: int, lanes: int, centred: bool) -> str:
    return f"row_{way}<{t.ctype}, {vec}, {lanes}, {str(centred).lower()}>"


@cache
def _sums(t: Element) -> str:
    return f"channel_sums<{t.ctype}, {SUMS}>"


def instances(arch: int) -> dict[str, list[str]]:
    """Every kernel that this module launches on an architecture, by file."""
    names = [_sums(t) for t in ELEMENTS.values()]
    for t in ELEMENTS.values():
        for vec, centred in product((_vector(t), 1), (False, True)):
            names += [
                _name(way, t, vec, lanes, centred) for lanes in LANES for way in ("forward", "backward")
            ]
    return {FILE: names}


class Plan(NamedTuple):
    """How rows of a length are launched."""

    vec: int
    forward: str
    backward: str
    block: tuple[int]
    per_block: int  # rows


@cache
def plan(t: Element, n: int, aligned: bool, centred: bool = True) -> Plan | None:
    """The fewest threads that hold a row of n values; None if it is too long."""
    vec = _vector(t) if aligned and n % _vector(t) == 0 else 1
    for lanes in LANES:
        if n <= HELD * vec * lanes:
            block = max(128, lanes)
            forward, backward = (_name(way, t, vec, lanes, centred) for way in ("forward", "backward"))
            return Plan(vec, forward, backward, (block,), block // lanes)
    return None


class Case(NamedTuple):
    """What is the same in every call with such shapes, dtypes and options."""

    t: Element
    rows: int
    step: int  # bytes that should divide the address of a row
    narrow: Any  # a bit for each parameter that is not of the accumulator's type
    eps: Any
    geometry: tuple[Any, ...]


@lru_cache(1024)
def _case(
    dtype: Any, size: int, n: int, source: tuple[int, int, int], parameters: tuple[Any, Any], eps: float
) -> Case | None:
    """Of rows of n values; `parameters`: dtypes of weight and bias. None if the kernels do not take it."""
    t = element(dtype)
    if t is None or size == 0 or size // n >= 2**31:
        return None
    if any(p not in (None, dtype, np.dtype(t.scalar)) for p in parameters):
        return None
    rows, narrow = size // n, [p is not None and p != t.scalar for p in parameters]
    geometry = loader.int64(rows), *map(loader.int32, (n, *source))
    step = _vector(t) * dtype.itemsize
    return Case(t, rows, step, loader.int32(narrow[0] + 2 * narrow[1]), t.scalar(eps), geometry)


def _normalize(
    x: Array,
    n: int,
    shape: tuple[int, int, int],
    weight: Array | None,
    bias: Array | None,
    eps: float,
    centred: bool = True,
) -> Any:
    """Rows of n values; `shape`: segment, per and groups of the source; `centred`: less their mean."""
    dtypes = None if weight is None else weight.dtype, None if bias is None else bias.dtype
    case = _case(x.dtype, x.size, n, shape, dtypes, eps)
    if case is None:
        return NotImplemented
    for a in (weight, bias):
        if a is not None and not loader.is_contiguous(a):
            return NotImplemented
    t, rows, step, narrow, eps, geometry = case
    x = loader.contiguous(x)
    p = plan(t, n, loader.address(x) % step == 0, centred)
    if p is None:
        return NotImplemented
    segment, per, groups = shape
    y, saved = loader.empty(x, x.shape, x.dtype), loader.empty(x, (1 + centred, rows), t.scalar)
    blocks = loader.ceil_div(rows, p.per_block)
    args = (x, weight, bias, narrow, y, saved, eps, *geometry)
    loader.kernel(FILE, p.forward)((blocks,), p.block, args)

    def into(dy: Array, room: Room) -> tuple[Any, ...]:
        dy = loader.contiguous(dy)
        q = plan(t, n, (loader.address(x) | loader.address(dy)) % step == 0, centred)
        assert q is not None or p.vec > 1
        if q is None:  # dy lies askew, and single values of it would be too many
            dy, q = dy + 0, p
        affine, ordinary = weight is not None or bias is not None, segment == groups == 1
        grid = loader.ceil_div(rows, q.per_block)
        parts = None
        if affine and ordinary:
            grid = min(grid, WORKERS // q.per_block)
            parts = loader.empty(x, (1 + centred, grid * q.per_block, n), t.scalar)
        dx = loader.empty(x, x.shape, x.dtype)
        args = (x, dy, weight, narrow, saved, dx, parts, *geometry)
        loader.kernel(FILE, q.backward)((grid,), q.block, args)
        if affine and not ordinary:
            channels = per * groups
            parts = loader.empty(x, (2, rows // groups, channels), t.scalar)
            sizes = (*map(loader.int64, (rows, rows * per)), *map(loader.int32, (segment, per)))
            sums = (x, dy, saved, parts, *sizes)
            launch = loader.kernel(FILE, _sums(t))
            launch((loader.ceil_div(rows * per, SUMS // 32),), (SUMS,), sums)
        found: list[Array | None] = []
        for i, a in enumerate((weight, bias)):
            found.append(None)
            if a is not None and parts is not None:
                found[i] = out = loader.room(room.get(2 + i), a)
                add_parts(t if a.dtype == x.dtype else t.wide, parts[i], out)
        return dx, None, *found

    return y, Joint(into)


@normalization.layer_norm.kernel("cupy")
def layer_norm(
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Any:
    """See `xpnet.functional.layer_norm`."""
    n = _length(x, normalized_shape, weight, bias)
    return NotImplemented if n is None else _normalize(x, n, (1, n, 1), weight, bias, eps)


def _length(x: Array, normalized_shape: Any, *parameters: Array | None) -> int | None:
    """Values of a row, if x and the parameters have the shapes that they must have."""
    tail = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if x.shape[x.ndim - len(tail) :] != tail:
        return None
    for a in parameters:
        if a is not None and a.shape != tail:
            return None
    return math.prod(tail)


@rms.rms_norm.kernel("cupy")
def rms_norm(
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    eps: float | None = None,
) -> Any:
    """See `xpnet.functional.rms_norm`."""
    n, t = _length(x, normalized_shape, weight), element(x.dtype)
    if n is None or t is None or not normalized_shape:
        return NotImplemented
    eps = float(np.finfo(t.scalar).eps) if eps is None else eps
    return _normalize(x, n, (1, n, 1), weight, None, eps, centred=False)


@normalization.group_norm.kernel("cupy")
def group_norm(
    x: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Any:
    """See `xpnet.functional.group_norm`."""
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups or x.size == 0:
        return NotImplemented
    channels, segment = x.shape[1], math.prod(x.shape[2:])
    if any(a is not None and a.shape != (channels,) for a in (weight, bias)):
        return NotImplemented
    per = channels // num_groups
    return _normalize(x, per * segment, (segment, per, num_groups), weight, bias, eps)
