"""All cases in one table: xpnet's times over each peer's, and their geometric means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, fsum, log

from bench import load
from bench.measurement import quartiles, ratios
from bench.results import Run

PEERS = {
    "xpnet": ("torch", "compile", "jax", "numpy"),
    "xpnet-captured": ("torch", "compile", "jax", "numpy"),
    "xpnet-cupy": ("torch-cuda", "compile-cuda-reduce-overhead", "jax-cuda"),
    "xpnet-cupy-captured": ("torch-cuda", "compile-cuda-reduce-overhead", "jax-cuda"),
}
"""Whose times xpnet's are divided by."""


def geometric_mean(values: Iterable[float]) -> float:
    """exp(mean log x): halved and doubled times cancel, which is not so for the mean of ratios.

    >>> round(geometric_mean([0.5, 2.0, 8.0]), 6)
    2.0
    """
    logarithms = [log(value) for value in values]
    return exp(fsum(logarithms) / len(logarithms))


@dataclass(frozen=True)
class Summary:
    """One column over one peer, idle or beside a load.

    Attributes:
        ratios: by case, the median over rounds of the ratios within a round.
    """

    column: str
    peer: str
    load: int
    ratios: dict[str, float]

    @property
    def mean(self) -> float:
        """The geometric mean over cases."""
        return geometric_mean(self.ratios.values())

    @property
    def over(self) -> dict[str, float]:
        """The cases in which the peer is faster, worst first."""
        slower = {case: ratio for case, ratio in self.ratios.items() if ratio > 1}
        return dict(sorted(slower.items(), key=lambda item: -item[1]))


def summarize(run: Run) -> list[Summary]:
    """Every column of ours over every peer that ran, idle first."""
    found = []
    for processes in run.loads:
        table = run.table(processes)
        for column, peers in PEERS.items():
            for peer in peers:
                both = {
                    case: quartiles(ratios(own, other))[1]
                    for case in run.cases
                    if (own := table.get((case, column))) is not None and own.seconds
                    if (other := table.get((case, peer))) is not None and other.seconds
                }
                if both:
                    found.append(Summary(column, peer, processes, both))
    return found


def text(run: Run) -> str:
    """The table: a row a case, a column a peer and load, then the means and what is over 1."""
    found = summarize(run)
    if not found:
        return ""
    lines = ["\nsummary: time over the peer's, median over rounds; below 1 is faster"]
    for column, processes in dict.fromkeys((s.column, s.load) for s in found):
        own = [s for s in found if (s.column, s.load) == (column, processes)]
        lines += ["", _row(f"{column}, {load.name(processes)}", [s.peer for s in own])]
        for case in dict.fromkeys(case for s in own for case in s.ratios):
            lines.append(_row(case, [f"{s.ratios[case]:.2f}" if case in s.ratios else "-" for s in own]))
        lines.append(_row("geometric mean", [f"{s.mean:.2f}" for s in own]))
        lines.append(_row("cases over 1.00", [f"{len(s.over)} of {len(s.ratios)}" for s in own]))
    return "\n".join(lines)


def _row(name: str, cells: Iterable[str]) -> str:
    return f"  {name:<42}" + "".join(f"{cell[:14]:>15}" for cell in cells)
