"""The result of one diagnostic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["PASS", "WARN", "FAIL"]
_RANK = {"PASS": 0, "WARN": 1, "FAIL": 2}


@dataclass(frozen=True)
class Finding:
    """What one diagnostic measured and what to do about it.

    Attributes:
        name: of the diagnostic.
        status: "PASS", "WARN" (worth a look) or "FAIL" (training this will not work, or cannot be trusted).
        value: the number that was judged.
        expected: what it should be, in words.
        advice: what usually helps; empty if it passed.
        detail: where: the layer, the parameter, the step.

    >>> from xpnet.train import Finding
    >>> print(Finding("initial loss", "FAIL", 9.7, "about 2.3 = ln 10", "Make the initial weights smaller."))
    FAIL  initial loss          9.7        expected about 2.3 = ln 10
          Make the initial weights smaller.
    """

    name: str
    status: Status
    value: float
    expected: str
    advice: str = ""
    detail: str = ""

    def __str__(self) -> str:
        where = f"; {self.detail}" if self.detail else ""
        line = f"{self.status}  {self.name:<20}  {self.value:<9.4g}  expected {self.expected}{where}"
        return f"{line}\n      {self.advice}" if self.advice else line

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN and no infinity: they become null."""
        return {**vars(self), "value": self.value if math.isfinite(self.value) else None}


def judge(
    name: str,
    value: float,
    expected: str,
    *,
    warn: bool = False,
    fail: bool = False,
    advice: str = "",
    detail: str = "",
) -> Finding:
    """A finding whose status two conditions decide; advice is kept only if one of them holds."""
    status: Status = "FAIL" if fail else "WARN" if warn else "PASS"
    return Finding(name, status, float(value), expected, advice if status != "PASS" else "", detail)


def largest(fractions: Mapping[str, float]) -> tuple[str, float]:
    """The layer with the largest fraction, and that fraction; `("", 0.0)` if no layer has one."""
    return max(fractions.items(), key=lambda entry: entry[1], default=("", 0.0))


def worst(findings: Iterable[Finding]) -> Status:
    """The gravest status; "PASS" if there are no findings."""
    return max((f.status for f in findings), key=_RANK.__getitem__, default="PASS")
