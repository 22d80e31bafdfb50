"""Other sizes of images: along each axis, a sum of the elements that a mode looks at, times weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np  # of tables that the host makes

from xpnet.core.arrays import arange, carries_gradients, constant, floating, keep, narrow, widen
from xpnet.core.backend import Array, Backend, dtype_name
from xpnet.core.checks import number
from xpnet.core.checks import size as whole
from xpnet.core.convert import asarray
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import getitem, reshape, transpose
from xpnet.core.places import backend_of, namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional.activations import maxout
from xpnet.functional.taps import Map, cells_of, taps, transposed


@lru_cache(maxsize=64)
def _there(how: Map, back: bool, dtype: str, backend: Backend) -> list[tuple[Array, Any, Any]]:
    """Places, weights (None: all 1) and where they are not 0 (None: everywhere), one triple a tap."""
    places, weights = transposed(how) if back else taps(how)
    found = []
    for at, w in zip(places.T, weights.T, strict=True):
        place = asarray(np.ascontiguousarray(at), backend=backend)
        weight = None if (w == 1).all() else asarray(np.ascontiguousarray(w), dtype, backend=backend)
        mask = None if w.all() or not back else asarray(np.ascontiguousarray(w != 0), backend=backend)
        found.append((place, weight, mask))
    return found


@differentiable(forward="linear")
def along_axes(x: Array, maps: tuple[Map, ...]) -> tuple[Array, Pullback]:
    """The last axes of x in other sizes: each element is a sum of some along the axis, times weights."""
    xp, count = namespace(x), len(maps)
    wide = widen(x)
    like = wide.data if carries_gradients(wide) else wide
    dtype, backend = dtype_name(like.dtype), backend_of(like)

    def through(z: Array, back: bool) -> Array:
        for i, how in enumerate(maps):
            axis = z.ndim - count + i
            beside = (-1, *(1,) * (count - 1 - i))
            total: Any = None
            for place, weight, mask in _there(how, back, dtype, backend):
                part = xp.take(z, place, axis=axis)
                if mask is not None:
                    part = keep(part, xp.broadcast_to(xp.reshape(mask, beside), part.shape))
                if weight is not None:
                    part = part * constant(backend.xp.reshape(weight, beside), z)
                total = part if total is None else total + part
            z = total
        return narrow(z, x)

    return through(wide, False), lambda dy: through(widen(dy), True)


MODES = {  # the mode of an axis, and the numbers of axes
    "nearest": ("nearest", (1, 2, 3)),
    "nearest-exact": ("nearest-exact", (1, 2, 3)),
    "area": ("mean", (1, 2, 3)),
    "linear": ("linear", (1,)),
    "bilinear": ("linear", (2,)),
    "trilinear": ("linear", (3,)),
    "bicubic": ("cubic", (2,)),
}


@takes_input
def interpolate(
    x: Array | Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images, sequences or volumes in another size.

    Args:
        x: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: of the result, one number or one an axis.
        scale_factor: or how many times that of x.
        mode: "nearest", "nearest-exact" or "area" of any; "linear", "bilinear" or "bicubic", "trilinear".
        align_corners: the elements at the ends stay there, of the linear and cubic modes.
        recompute_scale_factor: take the ratio of the sizes, which are whole, and not `scale_factor`.
        antialias: of "bilinear" and "bicubic", where images become smaller: every element counts, as with
            Pillow, and fine patterns do not turn into coarse ones.

    Returns:
        (N, C, ...) of that size.

    Raises:
        ValueError: both or neither of `size` and `scale_factor`, a mode for other axes, or nothing left.
        TypeError: a size that is no whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.interpolate(xpnet.asarray([[[1.0, 3.0]]]), scale_factor=2)
    array([[[1., 1., 3., 3.]]], dtype=float32)
    >>> F.interpolate(xpnet.asarray([[[1.0, 3.0]]]), 3, mode="linear", align_corners=True)
    array([[[1., 2., 3.]]], dtype=float32)
    """
    return along_axes(
        floating("interpolate", x),
        maps_of(tuple(x.shape), size, scale_factor, mode, align_corners, recompute_scale_factor, antialias),
    )


def maps_of(
    shape: tuple[int, ...],
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> tuple[Map, ...]:
    """The map of each axis. Raises as `interpolate` does."""
    name, axes = "interpolate", len(shape) - 2
    if mode not in MODES:
        raise ValueError(f"{name}: mode must be one of {', '.join(MODES)}, got {mode!r}")
    own, numbers = MODES[mode]
    if axes not in numbers:
        words = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
        raise ValueError(
            f"{name}: {mode} takes x of shape {' or '.join(words[n] for n in numbers)}, got {shape}"
        )
    if align_corners is not None and own not in ("linear", "cubic"):
        raise ValueError(f"{name}: align_corners is not for mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"{name}: antialias is for the modes bilinear and bicubic, not for {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name}: pass size or scale_factor, one of them")
    given = size if scale_factor is None else scale_factor
    each: list[Any] = [given] * axes if isinstance(given, Real | str) else list(given)
    if len(each) != axes:
        raise ValueError(f"{name}: expected one number, or {axes} of them, got {given!r}")
    if scale_factor is None:
        sizes = [whole(name, "size", s) for s in each]
    else:
        each = [number(name, "scale_factor", s, 0) for s in each]
        sizes = [math.floor(n * s) for s, n in zip(each, shape[2:], strict=True)]
    if min((*sizes, *shape[2:])) < 1:
        raise ValueError(f"{name}: sizes must be at least 1, got {tuple(shape[2:])} and {tuple(sizes)}")
    ratio = scale_factor is None or recompute_scale_factor or own == "mean"
    # the factor is forgotten where PyTorch on a CPU does so: in linear modes, and in nearest of images
    images = own == "nearest" and axes == 2
    simple = lambda n, m: (m == n and (images or own == "linear")) or (m == 2 * n and images)
    scales = [
        n / m if ratio or simple(n, m) else 1 / s for n, m, s in zip(shape[2:], sizes, each, strict=True)
    ]
    return tuple(
        Map(own, n, m, s, bool(align_corners), bool(antialias))
        for n, m, s in zip(shape[2:], sizes, scales, strict=True)
    )


def adaptive_sizes(name: str, shape: tuple[int, ...], output_size: Any, axes: int) -> list[int]:
    """The sizes that a pool with `axes` axes is to give; None keeps one.

    Raises:
        ValueError: the numbers of axes do not fit, or a size is below 1.
        TypeError: a size is not a whole number.
    """
    each = list(output_size) if isinstance(output_size, tuple | list) else [output_size] * axes
    if len(each) != axes or len(shape) not in (axes + 1, axes + 2) or not all(shape[-axes:]):
        raise ValueError(
            f"{name}: expected x of {axes + 2} axes, or {axes + 1} without N, and {axes} sizes, got {shape} "
            f"and {output_size!r}"
        )
    return [
        n if m is None else whole(name, "output_size", m) for n, m in zip(shape[-axes:], each, strict=True)
    ]


def _adaptive_mean(name: str, x: Any, output_size: Any, axes: int) -> Any:
    shape = tuple(floating(name, x).shape)
    sizes = adaptive_sizes(name, shape, output_size, axes)
    return along_axes(x, tuple(Map("mean", n, m, n / m) for n, m in zip(shape[-axes:], sizes, strict=True)))


def _side_by_side(x: Any, sizes: list[int]) -> Any:
    """The elements of each cell, the last of a short one again: (..., *sizes, elements)."""
    axes = len(sizes)
    lead, split = tuple(x.shape[:-axes]), list[int]()
    for i, (n, m) in enumerate(zip(x.shape[-axes:], sizes, strict=True)):
        cells = cells_of(n, m)
        k = max(stop - start for start, stop in cells)
        index = [min(start + j, stop - 1) for start, stop in cells for j in range(k)]
        if index != list(range(n)):
            x = getitem(x, (..., index, *(slice(None),) * (axes - 1 - i)))
        split += [m, k]
    first = len(lead)
    order = (*range(first), *range(first, first + 2 * axes, 2), *range(first + 1, first + 2 * axes, 2))
    x = transpose(reshape(x, (*lead, *split)), order)
    return reshape(x, (*lead, *sizes, math.prod(split[1::2])))


def _adaptive_max(name: str, x: Any, output_size: Any, axes: int, return_indices: bool) -> Any:
    shape = tuple(floating(name, x).shape)
    sizes, lead = adaptive_sizes(name, shape, output_size, axes), shape[:-axes]
    parts = _side_by_side(x, sizes)
    y = reshape(maxout(parts, parts.shape[-1]), (*lead, *sizes))
    if not return_indices:
        return y
    values, spatial = array_of(parts), shape[-axes:]
    table = _side_by_side(np.arange(math.prod(spatial)).reshape(spatial), sizes)  # where each element is
    xp, rows = namespace(values), math.prod(sizes)
    winner = xp.reshape(xp.astype(xp.argmax(values, axis=-1), xp.int64), (-1, rows))
    flat = winner + table.shape[-1] * arange(rows, values)
    places = xp.take(asarray(table.reshape(-1), backend=backend_of(values)), xp.reshape(flat, (-1,)))
    return y, xp.reshape(places, (*lead, *sizes))


@takes_input
def adaptive_avg_pool1d(x: Array | Tensor, output_size: int | tuple[int, ...]) -> Tensor:
    """The means of `output_size` nearly equal parts of sequences.

    Args:
        x: (N, C, L) or (C, L).
        output_size: L'.

    Returns:
        (N, C, L') or (C, L').

    Raises:
        ValueError: other numbers of axes, or a size below 1.
        TypeError: a size is not a whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.adaptive_avg_pool1d(xpnet.asarray([[1.0, 2.0, 6.0]]), 2)
    array([[1.5, 4. ]], dtype=float32)
    """
    return _adaptive_mean("adaptive_avg_pool1d", x, output_size, 1)


@takes_input
def adaptive_avg_pool2d(x: Array | Tensor, output_size: int | tuple[int | None, ...] | None) -> Tensor:
    """The means of nearly equal parts of images: as many as are asked for, whatever the image's size.

    Args:
        x: (N, C, H, W) or (C, H, W).
        output_size: one number or (H', W'); None keeps that of x.

    Returns:
        (N, C, H', W') or (C, H', W').

    Raises:
        ValueError: other numbers of axes, or a size below 1.
        TypeError: a size is not a whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.adaptive_avg_pool2d(xpnet.asarray([[[1.0, 2.0], [4.0, 5.0]]]), 1)
    array([[[3.]]], dtype=float32)
    """
    return _adaptive_mean("adaptive_avg_pool2d", x, output_size, 2)


@takes_input
def adaptive_avg_pool3d(x: Array | Tensor, output_size: int | tuple[int | None, ...] | None) -> Tensor:
    """The means of nearly equal parts of volumes.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        output_size: one number or (D', H', W'); None keeps that of x.

    Returns:
        (N, C, D', H', W') or (C, D', H', W').

    Raises:
        ValueError: other numbers of axes, or a size below 1.
        TypeError: a size is not a whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.adaptive_avg_pool3d(xpnet.asarray([[[[1.0, 2.0], [4.0, 5.0]]]]), 1)
    array([[[[3.]]]], dtype=float32)
    """
    return _adaptive_mean("adaptive_avg_pool3d", x, output_size, 3)


@takes_input
def adaptive_max_pool1d(
    x: Array | Tensor, output_size: int | tuple[int, ...], return_indices: bool = False
) -> Any:
    """The maxima of `output_size` nearly equal parts of sequences; the first of equal ones has the gradient.

    Args:
        x: (N, C, L) or (C, L).
        output_size: L'.
        return_indices: whether the places of the maxima are wanted, too.

    Returns:
        (N, C, L') or (C, L'); with `return_indices` the pair of this and the places, int64.

    Raises:
        ValueError: other numbers of axes, or a size below 1.
        TypeError: a size is not a whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.adaptive_max_pool1d(xpnet.asarray([[1.0, 2.0, 6.0]]), 2)
    array([[2., 6.]], dtype=float32)
    """
    return _adaptive_max("adaptive_max_pool1d", x, output_size, 1, return_indices)


@takes_input
def adaptive_max_pool2d(
    x: Array | Tensor, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False
) -> Any:
    """The maxima of nearly equal parts of images; the first of equal ones has the gradient.

    Args:
        x: (N, C, H, W) or (C, H, W).
        output_size: one number or (H', W'); None keeps that of x.
        return_indices: whether the places of the maxima, h W + w, are wanted, too.

    Returns:
        (N, C, H', W') or (C, H', W'); with `return_indices` the pair of this and the places, int64.

    Raises:
        ValueError: other numbers of axes, or a size below 1.
        TypeError: a size is not a whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.adaptive_max_pool2d(xpnet.asarray([[[1.0, 2.0], [4.0, 5.0]]]), (1, None))
    array([[[4., 5.]]], dtype=float32)
    """
    return _adaptive_max("adaptive_max_pool2d", x, output_size, 2, return_indices)


@takes_input
def adaptive_max_pool3d(
    x: Array | Tensor, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False
) -> Any:
    """The maxima of nearly equal parts of volumes; the first of equal ones has the gradient.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        output_size: one number or (D', H', W'); None keeps that of x.
        return_indices: whether the places of the maxima, (d H + h) W + w, are wanted, too.

    Returns:
        (N, C, D', H', W') or (C, D', H', W'); with `return_indices` the pair of this and the places, int64.

    Raises:
        ValueError: other numbers of axes, or a size below 1.
        TypeError: a size is not a whole number.

    >>> import xpnet, xpnet.functional as F
    >>> F.adaptive_max_pool3d(xpnet.asarray([[[[1.0, 2.0], [4.0, 5.0]]]]), (None, 1, 2))
    array([[[[4., 5.]]]], dtype=float32)
    """
    return _adaptive_max("adaptive_max_pool3d", x, output_size, 3, return_indices)
