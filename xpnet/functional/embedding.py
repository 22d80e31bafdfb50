"""Rows of a table by number, and the places of words in a sequence."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np  # of tables that the host makes

from xpnet.core.arrays import (
    INTEGER,
    carries_gradients,
    floating,
    gather,
    is_array,
    keep,
    kind,
    narrow,
    scatter_add,
    widen,
)
from xpnet.core.backend import Array, Backend, dtype_name
from xpnet.core.checks import number
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.node import Carried, Pullback
from xpnet.core.notes import OPS, check_labels
from xpnet.core.op import differentiable, no_grad
from xpnet.core.places import backend_name, backend_of, namespace
from xpnet.core.recording import by_values, on_host, refuse
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor, array_of
from xpnet.core.versions import wrote
from xpnet.core.writes import assign

Result = tuple[Array, Pullback]


@takes_input
def embedding(
    x: Any,
    weight: Array | Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """weight[x]: a row of the table for each number; the gradients of rows that repeat add up.

    Args:
        x: integers of any shape, 0 to n - 1, of any backend.
        weight: (n, d).
        padding_idx: the row of this number has no gradient; a negative one counts from the end.
        max_norm: rows that are looked up and longer than this are made so long first, in the table itself.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up here.
        sparse: False, as gradients are whole arrays.

    Returns:
        (*x.shape, d).

    Raises:
        TypeError: x is not of integers.
        ValueError: the weight is no table, or has no row `padding_idx`; or sparse=True.
        IndexError: a number is out of range; on CUDA when the host next reads a result.

    >>> import xpnet, xpnet.functional as F
    >>> F.embedding([1, 0, 1], xpnet.asarray([[1.0, 2.0], [3.0, 4.0]]))
    array([[3., 4.],
           [1., 2.],
           [3., 4.]], dtype=float32)
    """
    if sparse:
        raise ValueError("embedding: sparse=True is not there: gradients are whole arrays; leave it out")
    x = array_of(x) if is_array(x) else x
    if max_norm is None and not scale_grad_by_freq:
        return rows_of(weight, x, padding_idx)
    if max_norm is not None:
        _shorten(weight, x, number("embedding", "max_norm", max_norm), norm_type)
    y = rows_of(weight, x, padding_idx)
    return _by_frequency(y, x, weight.shape[0]) if scale_grad_by_freq else y


def _shorten(weight: Any, x: Any, max_norm: float, norm_type: float) -> None:
    """Make the rows weight[x] no longer than `max_norm`, in the table."""
    if isinstance(weight, Carried):
        raise TypeError("embedding: max_norm changes the table, which has a tangent here; leave it out")
    refuse("embedding: max_norm changes the table on the way")
    table = array_of(weight)
    places = beside(x, table)
    _write_shorter(table, namespace(places).reshape(places, (-1,)), max_norm, norm_type)
    if isinstance(weight, Tensor):
        wrote(weight)


@on_host
def _write_shorter(table: Array, places: Array, max_norm: float, norm_type: float) -> None:
    xp, rows = namespace(table), widen(gather(table, (places,)))
    norms = xp.linalg.vector_norm(rows, axis=1, keepdims=True, ord=norm_type)
    shorter = narrow(xp.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows), table)
    with no_grad():
        assign(Tensor(table), places, shorter)  # a row that is there twice is the same both times


@differentiable(forward="linear", anywhere=("x",), views=True)
def _by_frequency(rows: Array, x: Any, n: int) -> Result:
    """The rows as they are, and their gradients divided by how often their number is in x."""
    xp = namespace(rows)

    def pullback(dy: Array) -> Array:
        dy = widen(dy)
        places = xp.reshape(asarray(x, "int64", backend=backend_of(array_of(dy))), (-1,))
        ones = xp.reshape(xp.ones_like(dy[..., 0]), (-1,))
        counts = gather(scatter_add((n,), (places,), ones), (places,))
        return narrow(dy / xp.reshape(counts, (*rows.shape[:-1], 1)), rows)

    return rows, pullback


@differentiable(forward="linear", anywhere=("x",))
def rows_of(weight: Array, x: Any, padding_idx: int | None = None) -> Result:
    """weight[x]; the gradient is added up at the rows, in float32 for 16-bit types."""
    xp = namespace(weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: expected a weight of shape (n, d), got {tuple(weight.shape)}")
    n, d = weight.shape
    if padding_idx is not None and not -n <= padding_idx < n:
        raise ValueError(f"embedding: padding_idx={padding_idx} is not one of {n} rows")
    places = _numbers(x, weight)

    def pullback(dy: Array) -> Array:
        rows = xp.reshape(dy, (math.prod(places.shape), d))
        flat = xp.reshape(places, (math.prod(places.shape),))
        if padding_idx is not None:
            rows = keep(rows, (flat != padding_idx % n)[:, None])
        return narrow(scatter_add((n, d), (flat,), widen(rows)), dy)

    taken = gather(weight, (xp.reshape(places, (math.prod(places.shape),)),))
    return xp.reshape(taken, (*places.shape, d)), pullback


def _numbers(x: Any, weight: Array) -> Array:
    """Row numbers beside the table; one that is out of range is refused, or on CUDA noted, and is 0."""
    places = beside(x, weight)
    if backend_name(places) != "cupy":
        return places
    xp, n = namespace(places), weight.shape[0]
    flat, _ = check_labels(xp.reshape(places, (-1,)), xp.float32, n, None, OPS.index("embedding"))
    return xp.reshape(flat, places.shape)


@by_values
def beside(x: Any, weight: Array) -> Array:
    """Row numbers, int32 or int64, where the table is: looked at unless they come from CUDA."""
    x, n = array_like(x), weight.shape[0]
    if kind(x) != INTEGER:
        raise TypeError(f"embedding: x is {dtype_name(x.dtype)}, expected integers, the numbers of rows")
    like = array_of(weight) if carries_gradients(weight) else weight
    if backend_name(x) != "cupy":
        host = to_numpy(x)
        if host.size and (host.min() < 0 or host.max() >= n):
            wrong = host[(host < 0) | (host >= n)].flat[0]
            raise IndexError(f"embedding: {wrong} is out of range: of {n} rows, numbers are 0 to {n - 1}")
    name = dtype_name(x.dtype)
    narrow_enough = name == "int32" and backend_name(like) == "cupy"  # as kernels take them
    return asarray(x, name if narrow_enough else "int64", backend=backend_of(like))


def sinusoidal_encoding(length: int, dim: int, *, base: float = 10000.0, dtype: str = "float32") -> Array:
    """sin and cos of each place at `dim` / 2 wavelengths, from 2 pi to base * 2 pi (Vaswani et al., 2017).

    Args:
        length: places.
        dim: an even number of features: sines on the even ones, cosines on the odd ones.
        base: of the wavelengths.
        dtype: default float32.

    Returns:
        (length, dim) on the default backend: sin(l / base^(2i / dim)) at (l, 2i), cos at (l, 2i + 1).

    Raises:
        ValueError: an odd `dim`.

    >>> import xpnet.functional as F
    >>> F.sinusoidal_encoding(1, 4)
    array([[0., 1., 0., 1.]], dtype=float32)
    """
    if dim % 2:
        raise ValueError(f"sinusoidal_encoding: dim must be even, got {dim}")
    angles = _angles(length, dim, base)
    return asarray(np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(length, dim), dtype)


def _angles(length: int, dim: int, base: float) -> np.ndarray:
    return np.arange(length)[:, None] * base ** (-np.arange(0, dim, 2) / dim)


@lru_cache(maxsize=32)
def _turns(length: int, dim: int, base: float, dtype: str, backend: Backend) -> tuple[Array, Array]:
    """cos and sin of the angles, (length, dim / 2), kept where they are used."""
    angles = _angles(length, dim, base)
    return asarray(np.cos(angles), dtype, backend=backend), asarray(np.sin(angles), dtype, backend=backend)


@differentiable(forward="linear")
def rotary_embedding(x: Array, base: float = 10000.0, offset: int = 0, interleaved: bool = True) -> Result:
    """Turn each pair of features by place times a frequency: products q.k then know l - s (Su et al., 2021).

    Args:
        x: (..., L, D), queries or keys, D even.
        base: pair i turns by base^(-2i / D) a place.
        offset: the number of the first place, such as the length of what was read before.
        interleaved: pairs are neighbours (2i, 2i + 1), as in the paper; else (i, i + D / 2), as in LLaMA.

    Returns:
        The shape of x.

    Raises:
        ValueError: D is odd, there is no axis of places, or `offset` is negative.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> y = F.rotary_embedding(xpnet.asarray([[1.0, 0.0], [1.0, 0.0]]))
    >>> [[round(float(v), 4) for v in row] for row in y]  # cos 1 and sin 1
    [[1.0, 0.0], [0.5403, 0.8415]]
    """
    xp = namespace(floating("rotary_embedding", x))
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(f"rotary_embedding: expected x of shape (..., L, D), D even, got {tuple(x.shape)}")
    if offset < 0:
        raise ValueError(f"rotary_embedding: offset, the first place, must be at least 0, got {offset}")
    length, dim = x.shape[-2:]
    like = widen(x)
    of_like: Any = like.data if carries_gradients(like) else like
    cos, sin = _turns(offset + length, dim, base, dtype_name(of_like.dtype), backend_of(of_like))
    cos, sin = cos[offset:, :], sin[offset:, :]

    def turn(z: Array, sin: Array) -> Array:
        z = widen(z)
        if interleaved:
            z = xp.reshape(z, (*x.shape[:-1], dim // 2, 2))
            a, b = z[..., 0], z[..., 1]
        else:
            a, b = z[..., : dim // 2], z[..., dim // 2 :]
        p, q = a * cos - b * sin, a * sin + b * cos
        if interleaved:
            return narrow(xp.reshape(xp.stack([p, q], axis=-1), x.shape), x)
        return narrow(xp.concat([p, q], axis=-1), x)

    return turn(x, sin), lambda dy: turn(dy, -sin)
