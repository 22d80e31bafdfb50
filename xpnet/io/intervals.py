"""Intervals around predicted numbers: split conformal prediction with the scale of an ensemble.

The score of a row is |y - m(x)| / s(x), with the members' mean m and s = sqrt(their variance + floor^2). Of
n rows that no member was trained or chosen by, q is the k-th smallest score, k = ceil((n + 1) level). A new
row like them has its y in m +- q s with a probability from level to level + 1 / (n + 1): its score may as
well be at any of the n + 1 places (Papadopoulos et al., 2002; Lei et al., 2018).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""The levels that a file has factors for."""

_FOR_90 = 9  # rows; the smallest n with ceil((n + 1) 0.9) <= n


def centre_and_scale(members: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """m and s, (n,) float64 each, for the members' predictions (K, n)."""
    members = members.astype(np.float64)
    return members.mean(axis=0), np.sqrt(members.var(axis=0) + floor**2)


def calibrated(scores: np.ndarray, floor: float) -> dict[str, Any]:
    """The factors q of each level that so many scores give, as JSON can hold them.

    >>> import numpy as np
    >>> from xpnet.io.intervals import calibrated
    >>> calibrated(np.arange(1.0, 10.0), floor=2.0)
    {'floor': 2.0, 'rows': 9, 'factors': {'0.5': 5.0, '0.8': 8.0, '0.9': 9.0}}
    """
    ordered, rows = np.sort(scores), len(scores)
    places = {level: math.ceil((rows + 1) * level - 1e-9) for level in LEVELS}
    factors = {str(level): float(ordered[k - 1]) for level, k in places.items() if k <= rows}
    return {"floor": float(floor), "rows": rows, "factors": factors}


def usual_level(intervals: Any) -> float | None:
    """0.9, or the highest below it that there are factors for; None: there are no intervals."""
    known = [float(level) for level in intervals["factors"]] if isinstance(intervals, dict) else []
    return max((level for level in known if level <= 0.9), default=None)


def calibration(intervals: Any, level: float) -> str:
    """How sure a level is: the rows it comes from, and the standard deviation of the share they make it hold.

    The share of new rows in an interval is Beta distributed, (k, rows + 1 - k) (Vovk, 2012).

    >>> from xpnet.io.intervals import calibration
    >>> calibration({"rows": 4, "factors": {"0.5": 1.0, "0.8": 2.0}}, 0.8)
    'calibrated on 4 rows: 80% +- 16%; 90% takes 9 rows'
    """
    rows = int(intervals["rows"])
    k = math.ceil((rows + 1) * level - 1e-9)
    spread = math.sqrt(k * (rows + 1 - k) / ((rows + 1) ** 2 * (rows + 2)))
    few = "" if level >= 0.9 or rows >= _FOR_90 else f"; 90% takes {_FOR_90} rows"
    return f"calibrated on {rows} rows: {level:.0%} +- {spread:.0%}{few}"


def around(members: np.ndarray, intervals: Any, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the interval of each row, (n,) float64 each.

    Args:
        members: their predictions, (K, n).
        intervals: what `calibrated` gave.
        level: one of its levels.

    Raises:
        ValueError: there are no intervals, or none of that level.
    """
    if not isinstance(intervals, dict):
        raise ValueError("the model has no intervals: train it with --ensemble 5, to predict a number")
    factors = {float(name): float(factor) for name, factor in intervals["factors"].items()}
    if level not in factors:
        known = ", ".join(f"{known:g}" for known in factors) or "none"
        raise ValueError(f"no interval of {level:g}: {intervals['rows']} rows gave those of {known}")
    centre, scale = centre_and_scale(members, float(intervals["floor"]))
    return centre - factors[level] * scale, centre + factors[level] * scale
