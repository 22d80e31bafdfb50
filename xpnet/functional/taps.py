"""What each element of an axis in another size is made of: which of those before, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np  # of tables that the host makes


class Map(NamedTuple):
    """The map of one axis.

    Attributes:
        mode: a key of `MODES`, or "mean".
        n: elements before.
        m: elements after.
        scale: the distance of neighbours after, in elements before.
        align: the ends stay where they are.
        antialias: where there are fewer elements after, the weights reach as far as those are apart.
    """

    mode: str
    n: int
    m: int
    scale: float
    align: bool = False
    antialias: bool = False


Taps = tuple[np.ndarray, np.ndarray]
"""(m, k) places and their weights: each element after is a sum of k of those before."""


def _nearest(how: Map) -> Taps:
    shift = np.float32(0.5 if how.mode == "nearest-exact" else 0)
    places = np.floor((np.arange(how.m, dtype=np.float32) + shift) * np.float32(how.scale))
    return np.minimum(places, how.n - 1).astype(np.int64)[:, None], np.ones((how.m, 1))


def _positions(how: Map) -> np.ndarray:
    if how.align:
        return np.arange(how.m) * ((how.n - 1) / (how.m - 1) if how.m > 1 else 0.0)
    return (np.arange(how.m) + 0.5) * how.scale - 0.5


def _linear(how: Map) -> Taps:
    at = np.maximum(_positions(how), 0)
    low = np.minimum(np.floor(at).astype(np.int64), how.n - 1)
    part = np.clip(at - low, 0, 1)
    return np.stack([low, np.minimum(low + 1, how.n - 1)], 1), np.stack([1 - part, part], 1)


def _keys(d: np.ndarray, a: float) -> np.ndarray:
    """The weight at a distance (Keys, 1981)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _cubic(how: Map) -> Taps:
    at = _positions(how)
    low = np.floor(at).astype(np.int64)
    d = np.abs((at - low)[:, None] + np.array([1, 0, -1, -2]))
    return np.clip(low[:, None] + np.arange(-1, 3), 0, how.n - 1), _keys(d, -0.75)


_FILTERS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "linear": (1, lambda d: np.maximum(1 - d, 0)),
    "cubic": (2, lambda d: _keys(d, -0.5)),  # as Pillow has it, and PyTorch after it
}
"""How far weights reach, and what they are at a distance."""


def _antialiased(how: Map) -> Taps:
    """Weights as wide as elements after are apart, which add up to 1."""
    reach, weigh = _FILTERS[how.mode]
    scale = how.scale if not how.align else (how.n - 1) / (how.m - 1) if how.m > 1 else 0.0
    wide, centre = max(scale, 1.0), scale * (np.arange(how.m) + 0.5)
    first = np.maximum((centre - reach * wide + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + reach * wide + 0.5).astype(np.int64), how.n)
    places = first[:, None] + np.arange((stop - first).max())
    weights = np.where(places < stop[:, None], weigh(np.abs(places + 0.5 - centre[:, None]) / wide), 0.0)
    return np.minimum(places, how.n - 1), weights / weights.sum(axis=1, keepdims=True)


def _mean(how: Map) -> Taps:
    cells = cells_of(how.n, how.m)
    k = max(stop - start for start, stop in cells)
    places = np.array([[min(start + j, stop - 1) for j in range(k)] for start, stop in cells])
    sizes = np.array([[stop - start] for start, stop in cells])
    return places, np.where(np.arange(k) < sizes, 1 / sizes, 0.0)


def cells_of(n: int, m: int) -> list[tuple[int, int]]:
    """The m parts, nearly equal and perhaps overlapping, of n elements."""
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


_TAPS: dict[str, Callable[[Map], Taps]] = {
    "nearest": _nearest,
    "nearest-exact": _nearest,
    "linear": _linear,
    "cubic": _cubic,
    "mean": _mean,
}


def taps(how: Map) -> Taps:
    """What each element after is made of."""
    return _antialiased(how) if how.antialias else _TAPS[how.mode](how)


def transposed(how: Map) -> Taps:
    """What the gradient of each element before is made of."""
    places, weights = taps(how)
    users: list[list[tuple[int, float]]] = [[] for _ in range(how.n)]
    for i, (row, row_weights) in enumerate(zip(places.tolist(), weights.tolist(), strict=True)):
        for j, w in zip(row, row_weights, strict=True):
            if w:
                users[j].append((i, w))
    k = max(1, *map(len, users))
    filled = [u + [(u[-1][0] if u else 0, 0.0)] * (k - len(u)) for u in users]
    table = np.array(filled).reshape(how.n, k, 2)
    return table[..., 0].astype(np.int64), table[..., 1]
