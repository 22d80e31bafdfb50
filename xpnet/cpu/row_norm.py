"""Layer and group norm of float32: rows of values that are standardised alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, empty, fits, run, single
from xpnet.functional import normalization


def _rows(
    x: np.ndarray, weight: Array | None, bias: Array | None, eps: float, n: int, channels: int, length: int
) -> Any:
    """y and the pullback to (x, a number, weight, bias); rows of n values, `length` of them to a channel."""
    rows = x.size // n
    sizes = rows, n, channels, length
    y, (mean, inverse) = np.empty_like(x), empty((2, rows))
    run("row_norm", x, weight, bias, eps, y, mean, inverse, *sizes)

    def pullback(dy: Array) -> tuple[Any, ...]:
        dx, (dweight, dbias) = np.empty_like(x), empty((2, channels), np.float32)
        run("row_norm_gradient", single(dy), x, weight, mean, inverse, dx, dweight, dbias, *sizes)
        shaped = [
            None if like is None else d.reshape(like.shape) for like, d in ((weight, dweight), (bias, dbias))
        ]
        return dx, None, *shaped

    return y, pullback


@normalization.layer_norm.kernel("numpy", NOT_EMPTY)
def layer_norm(
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Any:
    """Each row is in the cache from its sums to its result."""
    tail = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if x.dtype != np.float32 or x.shape[x.ndim - len(tail) :] != tail or not x.size:
        return NotImplemented
    x, n = single(x), math.prod(tail)
    if not fits(x, weight, bias) or any(a is not None and a.shape != tail for a in (weight, bias)):
        return NotImplemented
    return _rows(x, weight, bias, eps, n, n, 1)


@normalization.group_norm.kernel("numpy", NOT_EMPTY)
def group_norm(
    x: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Any:
    """Each group of a sample is in the cache from its sums to its result."""
    if x.dtype != np.float32 or x.ndim < 2 or not x.size or num_groups < 1 or x.shape[1] % num_groups:
        return NotImplemented
    x, channels, length = single(x), x.shape[1], math.prod(x.shape[2:])
    if not fits(x, weight, bias) or any(a is not None and a.shape != (channels,) for a in (weight, bias)):
        return NotImplemented
    return _rows(x, weight, bias, eps, channels // num_groups * length, channels, length)
