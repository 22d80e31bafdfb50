"""Resampling pictures (N, C, H, W) on their own backend: whole pixels are picked, others are interpolated.

Both are separable, so a picture's new rows and columns are found apart. Interpolation is then two small
matrix products a picture, A x B^T, with one row of weights for each new pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.arrays import gather
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of, namespace

Size = int | tuple[int, int]


def pair(size: Size, name: str) -> tuple[int, int]:
    """Height and width; one number is both."""
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(isinstance(n, int) and n >= 1 for n in both):
        raise ValueError(f"{name}: expected an integer of at least 1 or a pair of them, got {size!r}")
    return both


def check_pictures(x: Array, name: str) -> None:
    """Refuse what is not (N, C, H, W)."""
    if x.ndim != 4:
        raise ValueError(f"{name}: expected pictures of shape (N, C, H, W), got {tuple(x.shape)}")


def pick(x: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    """y[n, c, i, j] = x[n, c, rows[n, i], columns[n, j]].

    Args:
        x: (N, C, H, W).
        rows: (N, H') integers on the host.
        columns: (N, W') integers on the host.
    """
    n, c = x.shape[:2]
    index = (
        np.arange(n)[:, None, None, None],
        np.arange(c)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
    if type(x) is np.ndarray:
        return x[index]
    return gather(x, tuple(asarray(i, backend=backend_of(x)) for i in index))


def triangle_weights(inputs: int, outputs: int, start: Any, length: Any) -> np.ndarray:
    """Weights of bilinear interpolation along one axis, (N, outputs, inputs) float32.

    Args:
        inputs: pixels there are.
        outputs: pixels wanted.
        start: (N,) where the part to show begins, in pixels; 0 is the outer edge of the first one.
        length: (N,) its length.

    A triangle as wide as two pixels, of the input when enlarging and of the output when reducing, so that
    every input pixel counts and nothing flickers: what Pillow's BILINEAR does. Beyond the edge, the outermost
    pixel goes on.
    """
    start, length = (np.atleast_1d(np.asarray(v, dtype=np.float64))[:, None, None] for v in (start, length))
    step = length / outputs
    centre = start + (np.arange(outputs)[None, :, None] + 0.5) * step
    centre = np.clip(centre, 0.5, inputs - 0.5)
    weights = 1 - np.abs(np.arange(inputs) + 0.5 - centre) / np.maximum(step, 1.0)
    weights = np.maximum(weights, 0)
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def interpolate(x: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    """A x B^T for each picture: (N, C, H, W) -> (N, C, H', W').

    Args:
        x: pictures, floats.
        rows: A, (N, H', H) or (1, H', H), weights on the host.
        columns: B, (N, W', W) or (1, W', W), weights on the host.
    """
    xp, backend, dtype = namespace(x), backend_of(x), dtype_name(x.dtype)
    left = xp.expand_dims(asarray(rows, dtype, backend=backend), axis=1)
    right = xp.expand_dims(asarray(columns, dtype, backend=backend), axis=1)
    return left @ x @ xp.matrix_transpose(right)


def resize(x: Array, size: Size) -> Array:
    """Pictures scaled to height and width `size`, bilinear.

    Args:
        x: (N, C, H, W); integers become float32.
        size: (H', W') or one number for both.

    Returns:
        (N, C, H', W').

    Raises:
        ValueError: x is not of four axes, or a size is below 1.

    >>> import numpy as np
    >>> from xpnet.data.resample import resize
    >>> resize(np.array([[[[0.0, 4.0]]]], dtype=np.float32), (1, 4))
    array([[[[0., 1., 3., 4.]]]], dtype=float32)
    """
    check_pictures(x, "resize")
    height, width = pair(size, "resize: size")
    rows = triangle_weights(x.shape[2], height, 0, x.shape[2])
    columns = triangle_weights(x.shape[3], width, 0, x.shape[3])
    return interpolate(as_float(x), rows, columns)


def resize_shorter(x: Array, side: int) -> Array:
    """Pictures scaled so that the shorter of height and width is `side`; their shape stays (decks S3, S5).

    Args:
        x: (N, C, H, W); integers become float32.
        side: the new length.

    Returns:
        (N, C, side, W') or (N, C, H', side).

    Raises:
        ValueError: x is not of four axes, or side is below 1.

    >>> import numpy as np
    >>> from xpnet.data import resize_shorter
    >>> resize_shorter(np.zeros((1, 3, 8, 16)), 4).shape
    (1, 3, 4, 8)
    """
    check_pictures(x, "resize_shorter")
    scale = side / min(x.shape[2:])
    return resize(x, (max(side, round(x.shape[2] * scale)), max(side, round(x.shape[3] * scale))))


def as_float(x: Array) -> Array:
    """Integers as float32; floats as they are."""
    return x if "float" in str(x.dtype) else namespace(x).astype(x, namespace(x).float32)
