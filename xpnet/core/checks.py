"""The arguments of layers and loops, looked at when these are made and not when they first run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any

import numpy as np


def nearest(name: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that was most likely meant, for messages; None if none is like it, or it is no name."""
    found = get_close_matches(name, known, 1, cutoff) if isinstance(name, str) else []
    return found[0] if found else None


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


def number(layer: str, name: str, value: Any, least: float = -math.inf) -> float:
    """A number, Python's or NumPy's, of at least `least`.

    Raises:
        TypeError: no number.
        ValueError: below `least`, or NaN.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{layer}: {name} must be a number, got {value!r}")
    if not float(value) >= least:
        raise ValueError(f"{layer}: {name} must be at least {least:g}, got {value}")
    return float(value)


def probability(layer: str, name: str, value: Any) -> float:
    """The probability of dropping.

    Raises:
        TypeError: no number.
        ValueError: outside [0, 1].
    """
    p = number(layer, name, value)
    if not 0 <= p <= 1:
        raise ValueError(f"{layer}: {name} is the probability of dropping, in [0, 1], got {value}")
    return p


def axis(layer: str, name: str, value: Any) -> int:
    """A whole number, also a negative one, which counts from the end. Raises as `size` does."""
    return size(layer, name, value, -sys.maxsize)


def initializer(layer: str, name: str, value: Any) -> Any:
    """A function of (shape, dtype).

    Raises:
        TypeError: something else, such as its name.
    """
    if not callable(value):
        raise TypeError(f"{layer}: {name} must be a function, such as xpnet.init.he_normal, got {value!r}")
    return value
