"""Features computed from pictures: histograms of oriented gradients (Dalal & Triggs, 2005; deck S1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of, namespace
from xpnet.data.resample import Size, as_float, check_pictures, pair

_Pair = tuple[int, ...]
_EPS = 1e-5
_NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")
_PICTURES = 512  # at a time: the gradients of a chunk stay small


def hog(
    images: Any,
    orientations: int = 9,
    pixels_per_cell: Size = (8, 8),
    cells_per_block: Size = (3, 3),
    block_norm: str = "L2-Hys",
    transform_sqrt: bool = False,
    feature_vector: bool = True,
    trilinear: bool = False,
) -> Array:
    """Histograms of oriented gradients of a batch; names, defaults and values are scikit-image's.

    Args:
        images: (N, C, H, W); of several channels, each pixel takes the one whose gradient is largest.
        orientations: bins over 180 degrees.
        pixels_per_cell: height and width of a cell, which has one histogram.
        cells_per_block: height and width of a block, whose histograms are normalised together.
        block_norm: "L1", "L1-sqrt", "L2" or "L2-Hys" (L2, cut off at 0.2, L2 again).
        transform_sqrt: take the square root of the pixels first; they must not be negative.
        feature_vector: (N, features); otherwise (N, blocks, blocks, cells, cells, orientations).
        trilinear: divide each pixel among the nearest bins and cells, in proportion, as Dalal & Triggs do
            against aliasing; scikit-image counts it whole where it falls.

    Returns:
        float64 for float64 images, else float32, on their backend.

    Raises:
        ValueError: pictures smaller than a block, or an unknown norm.

    >>> from xpnet.data import hog, load_digits
    >>> hog(load_digits(flatten=False).x[:2], 8, (4, 4), (1, 1)).shape
    (2, 32)
    """
    x = as_float(images if hasattr(images, "dtype") else np.asarray(images, dtype=np.float32))
    check_pictures(x, "hog")
    cell, block = pair(pixels_per_cell, "hog: pixels_per_cell"), pair(cells_per_block, "hog: cells_per_block")
    cells = tuple(n // c for n, c in zip(x.shape[2:], cell, strict=True))
    if orientations < 1 or block_norm not in _NORMS:
        raise ValueError(
            f"hog: expected orientations >= 1 and block_norm one of {', '.join(_NORMS)}, got {orientations} "
            f"and {block_norm!r}"
        )
    if any(n < b for n, b in zip(cells, block, strict=True)):
        raise ValueError(
            f"hog: pictures of {tuple(x.shape[2:])} are smaller than a block of {block} cells of {cell}"
        )
    xp = namespace(x)
    parts = []
    for i in range(0, max(x.shape[0], 1), _PICTURES):
        part = x[i : min(i + _PICTURES, x.shape[0]), ...]
        magnitude, angle = _gradients(xp.sqrt(part) if transform_sqrt else part)
        histogram = (_shared if trilinear else _counted)(magnitude, angle, orientations, cell, cells)
        blocks = _normalised(_blocks(histogram / math.prod(cell), block), block_norm)
        shape = (part.shape[0], -1) if feature_vector and part.shape[0] else blocks.shape
        parts.append(xp.reshape(xp.astype(blocks, x.dtype), shape))
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def _gradients(x: Array) -> tuple[Array, Array]:
    """Length and angle (degrees, 0 to 180) of x[i + 1] - x[i - 1], 0 at the edge: (N, H, W) float64.

    In float64: a rounded angle would fall into the next bin.
    """
    xp = namespace(x)
    down, right = xp.zeros_like(x), xp.zeros_like(x)
    down[:, :, 1:-1, :] = x[:, :, 2:, :] - x[:, :, :-2, :]
    right[:, :, :, 1:-1] = x[:, :, :, 2:] - x[:, :, :, :-2]
    length = xp.hypot(down, right)
    rows, columns, largest = down[:, 0, ...], right[:, 0, ...], length[:, 0, ...]
    for c in range(1, x.shape[1]):
        better = length[:, c, ...] > largest
        rows = xp.where(better, down[:, c, ...], rows)
        columns = xp.where(better, right[:, c, ...], columns)
        largest = xp.where(better, length[:, c, ...], largest)
    rows, columns = xp.astype(rows, xp.float64), xp.astype(columns, xp.float64)
    return xp.hypot(rows, columns), xp.remainder(xp.atan2(rows, columns) * (180 / math.pi), 180.0)


def _counted(magnitude: Array, angle: Array, bins: int, cell: _Pair, cells: _Pair) -> Array:
    """The sum of the lengths in each bin and cell: (N, rows, columns, bins)."""
    xp = namespace(magnitude)
    height, width = (n * c for n, c in zip(cells, cell, strict=True))
    magnitude, angle = magnitude[:, :height, :width], angle[:, :height, :width]
    found = []
    for b in range(bins):
        inside = (angle >= 180.0 / bins * b) & (angle < 180.0 / bins * (b + 1))
        votes = xp.where(inside, magnitude, xp.zeros_like(magnitude))
        votes = xp.reshape(votes, (magnitude.shape[0], cells[0], cell[0], cells[1], cell[1]))
        found.append(xp.sum(votes, axis=(2, 4)))
    return xp.stack(found, axis=-1)


def _shared(magnitude: Array, angle: Array, bins: int, cell: _Pair, cells: _Pair) -> Array:
    """Each length divided among the two nearest bins, rows and columns of cells: (N, rows, columns, bins)."""
    xp, backend = namespace(magnitude), backend_of(magnitude)
    weights = []
    for pixels, side, count in zip(magnitude.shape[1:], cell, cells, strict=True):
        place = (np.arange(pixels) + 0.5) / side - 0.5  # in cells, from the centre of the first one
        near = np.maximum(1 - np.abs(place[None, :] - np.arange(count)[:, None]), 0)
        weights.append(asarray(near, backend=backend))
    place = angle * (bins / 180.0) - 0.5
    found = []
    for b in range(bins):
        distance = xp.abs(place - b)
        distance = xp.minimum(distance, bins - distance)  # 180 degrees is 0 again
        weight = 1 - distance if bins > 1 else xp.ones_like(distance)
        votes = magnitude * xp.maximum(weight, xp.zeros_like(weight))
        found.append(weights[0] @ votes @ xp.matrix_transpose(weights[1]))
    return xp.stack(found, axis=-1)


def _blocks(histogram: Array, block: tuple[int, int]) -> Array:
    """The histograms of each block: (N, rows, columns, cells, cells, bins)."""
    n, rows, columns, bins = histogram.shape
    height, width = rows - block[0] + 1, columns - block[1] + 1
    xp = namespace(histogram)
    parts = [histogram[:, i : i + height, j : j + width, :] for i in range(block[0]) for j in range(block[1])]
    return xp.reshape(xp.stack(parts, axis=3), (n, height, width, *block, bins))


def _normalised(blocks: Array, norm: str) -> Array:
    """Each block divided by its norm."""
    xp, axes = namespace(blocks), (3, 4, 5)
    if norm.startswith("L1"):
        y = blocks / (xp.sum(xp.abs(blocks), axis=axes, keepdims=True) + _EPS)
        return xp.sqrt(y) if norm == "L1-sqrt" else y
    y = _l2(blocks)
    return y if norm == "L2" else _l2(xp.minimum(y, xp.full_like(y, 0.2)))


def _l2(blocks: Array) -> Array:
    xp = namespace(blocks)
    return blocks / xp.sqrt(xp.sum(blocks * blocks, axis=(3, 4, 5), keepdims=True) + _EPS**2)
