"""Layer, group and RMS norm of float32: rows of values that are standardised alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import FLOAT32, NOT_EMPTY, empty, fits, run, single
from xpnet.functional import normalization, rms


def _rows(
    x: np.ndarray,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    n: int,
    channels: int,
    length: int,
    centred: bool = True,
) -> Any:
    """y and the pullback to (x, a number, weight, bias); rows of n values, `length` of them to a channel."""
    rows = x.size // n
    sizes = rows, n, channels, length
    y, inverse, mean = np.empty_like(x), empty(rows), empty(rows) if centred else None
    run("row_norm", x, weight, bias, eps, y, mean, inverse, *sizes)

    def pullback(dy: Array) -> tuple[Any, ...]:
        dx, (dweight, dbias) = np.empty_like(x), empty((2, channels), np.float32)
        run("row_norm_gradient", single(dy), x, weight, mean, inverse, dx, dweight, dbias, *sizes)
        shaped = [
            None if like is None else d.reshape(like.shape) for like, d in ((weight, dweight), (bias, dbias))
        ]
        return dx, None, *shaped

    return y, pullback


def _last(x: Array, normalized_shape: int | tuple[int, ...], *parameters: Array | None) -> int:
    """The values of a row, if the kernel takes these rows and their parameters, else 0."""
    tail = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if x.dtype != np.float32 or not tail or x.shape[x.ndim - len(tail) :] != tail:
        return 0
    if any(a is not None and (a.shape != tail or not fits(a) or a.dtype != FLOAT32) for a in parameters):
        return 0
    return math.prod(tail) if x.size else 0


@normalization.layer_norm.kernel("numpy", NOT_EMPTY)
def layer_norm(
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Any:
    """Each row is in the cache from its sums to its result."""
    n = _last(x, normalized_shape, weight, bias)
    return _rows(single(x), weight, bias, eps, n, n, 1) if n else NotImplemented


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


@rms.rms_norm.kernel("numpy", NOT_EMPTY)
def rms_norm(
    x: Array, normalized_shape: int | tuple[int, ...], weight: Array | None = None, eps: float | None = None
) -> Any:
    """As layer norm, with nothing taken off."""
    n = _last(x, normalized_shape, weight)
    if not n:
        return NotImplemented
    eps = float(np.finfo(np.float32).eps) if eps is None else eps
    y, pullback = _rows(single(x), weight, None, eps, n, n, 1, centred=False)
    return y, lambda dy: pullback(dy)[:3]
