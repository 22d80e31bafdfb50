"""What was measured of one case on one column, and what is computed from rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

FAILURES = ("FAILED", "WRONG")
"""How the reason starts where a column should have run."""


@dataclass
class Measurement:
    """One case on one column, or why there are no times.

    Attributes:
        seconds: for one piece of work, in each round.
        interruptions: how often other processes took a CPU from a turn, in each round.
        repeats: pieces of work a turn.
        error: the error of the results over its tolerance.
        load: processes that worked beside every turn.
        launches: of one piece of work, where the device counts them: that of tests/cupy_on_cpu does.
    """

    case: str
    column: str
    seconds: list[float] = field(default_factory=list)
    interruptions: list[int] = field(default_factory=list)
    repeats: int = 0
    error: float | None = None
    missing: str | None = None
    load: int = 0
    launches: int | None = None

    def fail(self, error: Exception) -> None:
        """There are no times, because of this."""
        self.seconds, self.interruptions = [], []
        self.missing = f"FAILED: {described(error)}"

    @property
    def failed(self) -> bool:
        """Whether the column should have run, and right."""
        return (self.missing or "").startswith(FAILURES)


def described(error: Exception) -> str:
    """An error in one line; those that are written for the report as they are."""
    line = (str(error).splitlines() or [""])[0][:200]
    return line if isinstance(error, ColumnError) else f"{type(error).__name__}: {line}"


class ColumnError(Exception):
    """A column's process could not do its work; the message is one line of the report."""


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    q1, _, q3 = quantiles(values, n=4, method="inclusive")
    return q1, median(values), q3


def ratios(measured: Measurement, baseline: Measurement) -> list[float]:
    """Round by round, the time over the baseline's; below 1 is faster."""
    return [a / b for a, b in zip(measured.seconds, baseline.seconds, strict=False)]


def is_noisy(measured: Measurement, limit: float) -> bool:
    """Whether the interquartile range is more than `limit` of the median."""
    q1, middle, q3 = quartiles(measured.seconds)
    return q3 - q1 > limit * middle
