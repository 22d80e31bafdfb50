"""How well a predicted number is: measures on a test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet.io.intervals import around, calibration


def regression_measures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """R2, mean absolute and root mean squared error, in the units of the target.

    Args:
        truth: (n,).
        predicted: (n,).

    >>> import numpy as np
    >>> from xpnet.cli.measures import regression_measures
    >>> regression_measures(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))["r2"]
    0.5
    """
    truth, error = truth.astype(np.float64), predicted.astype(np.float64) - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "r2": 1 - float((error**2).sum()) / spread if spread else None,
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "samples": len(truth),
    }


def measures_line(result: Mapping[str, Any]) -> str:
    """In words."""
    r2 = "" if result["r2"] is None else f"R2 {result['r2']:.4f}, "
    return f"{r2}mean absolute error {result['mae']:.6g}, root mean squared error {result['rmse']:.6g}"


def coverages(truth: np.ndarray, members: np.ndarray, intervals: Mapping[str, Any]) -> list[dict[str, float]]:
    """For the intervals of each level, `coverage`."""
    levels = map(float, intervals["factors"])
    return [coverage(truth, *around(members, intervals, level), level) for level in levels]


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray, level: float) -> dict[str, float]:
    """How many of the true numbers are in intervals of a level, and how wide those are on average."""
    inside = (low <= truth) & (truth <= high)
    return {"level": level, "coverage": float(inside.mean()), "width": float((high - low).mean())}


def coverage_line(found: Mapping[str, float], intervals: Mapping[str, Any]) -> str:
    """In words, with what the level rests on."""
    share = f"hold {found['coverage']:.1%} of the true numbers"
    width = f"and are {found['width']:.6g} wide on average"
    return f"{found['level']:.0%} intervals {share}, {width} ({calibration(intervals, found['level'])})"
