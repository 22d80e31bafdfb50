"""Maxima put back where they were; all others are 0."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.arrays import arange, floating, scatter_add
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import reshape
from xpnet.core.places import namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor, array_of

Sizes = int | tuple[int, ...]


@differentiable
def put_back(x: Array, places: Array, size: int) -> tuple[Array, Pullback]:
    """Rows (R, n) with their values at `places` in rows of `size`; several at one place are one value."""
    xp, (rows, n) = namespace(x), x.shape
    flat = xp.reshape(places + size * xp.reshape(arange(rows, places), (-1, 1)), (-1,))
    ones = scatter_add((rows * size,), (flat,), xp.ones_like(xp.reshape(x, (-1,))))
    total = scatter_add((rows * size,), (flat,), xp.reshape(x, (-1,)))
    y = total / xp.where(ones == 0, xp.ones_like(ones), ones)  # windows that share a maximum agree on it

    def pullback(dy: Array) -> Array:
        return xp.reshape(xp.take(xp.reshape(dy, (-1,)), flat), (rows, n))

    return xp.reshape(y, (rows, size)), pullback


def _unpool(
    name: str,
    x: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Any,
    axes: int,
) -> Any:
    every = lambda value: (value,) * axes if isinstance(value, int) else tuple(value)
    shape, places = tuple(floating(name, x).shape), array_of(indices)
    if len(shape) not in (axes + 1, axes + 2) or tuple(places.shape) != shape:
        raise ValueError(f"{name}: expected x of {axes + 2} axes and indices like it, got {shape}")
    kernel = every(kernel_size)
    steps, pads = kernel if stride is None else every(stride), every(padding)
    lead, usual = shape[:-axes], shape[-axes:]
    usual = tuple((n - 1) * s - 2 * p + k for n, s, p, k in zip(usual, steps, pads, kernel, strict=True))
    size = usual if output_size is None else tuple(output_size)[-axes:]
    if any(abs(a - b) >= s for a, b, s in zip(size, usual, steps, strict=True)):
        raise ValueError(f"{name}: output_size must be near {usual}, by less than the stride, got {size}")
    rows = math.prod(lead)
    y = put_back(reshape(x, (rows, -1)), namespace(places).reshape(places, (rows, -1)), math.prod(size))
    return reshape(y, (*lead, *size))


@takes_input
def max_unpool1d(
    x: Array | Tensor,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima of windows of sequences where they were, by `max_pool1d(..., return_indices=True)`.

    Args:
        x: (N, C, L') or (C, L').
        indices: likewise, the places.
        kernel_size: of the windows.
        stride: step of the windows; default: the kernel size.
        padding: of the pool.
        output_size: (L,) or the whole shape; default: the smallest of those that give x.

    Returns:
        (N, C, L) or (C, L).

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> y, places = F.max_pool1d(xpnet.asarray([[1.0, 2.0, 4.0, 3.0]]), 2, return_indices=True)
    >>> F.max_unpool1d(y, places, 2)
    array([[0., 2., 4., 0.]], dtype=float32)
    """
    return _unpool("max_unpool1d", x, indices, kernel_size, stride, padding, output_size, 1)


@takes_input
def max_unpool2d(
    x: Array | Tensor,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima of windows of images where they were, by `max_pool2d(..., return_indices=True)`.

    Args:
        x: (N, C, H', W') or (C, H', W').
        indices: likewise, the places.
        kernel_size: of the windows.
        stride: step of the windows; default: the kernel size.
        padding: of the pool.
        output_size: (H, W) or the whole shape; default: the smallest of those that give x.

    Returns:
        (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> y, places = F.max_pool2d(xpnet.asarray([[[1.0, 2.0], [4.0, 3.0]]]), 2, return_indices=True)
    >>> F.max_unpool2d(y, places, 2)
    array([[[0., 0.],
            [4., 0.]]], dtype=float32)
    """
    return _unpool("max_unpool2d", x, indices, kernel_size, stride, padding, output_size, 2)


@takes_input
def max_unpool3d(
    x: Array | Tensor,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima of windows of volumes where they were, by `max_pool3d(..., return_indices=True)`.

    Args:
        x: (N, C, D', H', W') or (C, D', H', W').
        indices: likewise, the places.
        kernel_size: of the windows.
        stride: step of the windows; default: the kernel size.
        padding: of the pool.
        output_size: (D, H, W) or the whole shape; default: the smallest of those that give x.

    Returns:
        (N, C, D, H, W) or (C, D, H, W).

    Raises:
        ValueError: shapes that do not fit.

    >>> import xpnet, xpnet.functional as F
    >>> y, places = F.max_pool3d(xpnet.asarray([[[[1.0, 2.0], [4.0, 3.0]]]]), (1, 2, 2), return_indices=True)
    >>> F.max_unpool3d(y, places, (1, 2, 2))
    array([[[[0., 0.],
             [4., 0.]]]], dtype=float32)
    """
    return _unpool("max_unpool3d", x, indices, kernel_size, stride, padding, output_size, 3)
