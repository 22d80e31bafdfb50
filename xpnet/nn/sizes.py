"""The arguments of layers, looked at when a layer is made and not when it first runs."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np


def size(layer: str, name: str, value: Any, min_size: int = 1) -> int:
    """A whole number, Python's or NumPy's, of at least `min_size`.

    Raises:
        TypeError: no whole number.
        ValueError: below `min_size`.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{layer}: {name} must be a whole number, got {value!r}")
    if value < min_size:
        raise ValueError(f"{layer}: {name} must be at least {min_size}, got {value}")
    return int(value)


def window(layer: str, name: str, value: Any, min_size: int = 1) -> int | tuple[int, int]:
    """One such number, or a pair of them for height and width. Raises as `size` does."""
    if not isinstance(value, tuple | list):
        return size(layer, name, value, min_size)
    if len(value) == 1:
        return size(layer, name, value[0], min_size)
    if len(value) != 2:
        raise ValueError(f"{layer}: {name} must be one number or two, for height and width, got {value!r}")
    return size(layer, name, value[0], min_size), size(layer, name, value[1], min_size)


def epsilon(layer: str, value: Any) -> float:
    """A number of at least 0, which is added to a variance.

    Raises:
        TypeError: no number.
        ValueError: below 0, or NaN.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{layer}: eps must be a number, got {value!r}")
    if not float(value) >= 0:
        raise ValueError(f"{layer}: eps must be at least 0, got {value}")
    return float(value)
