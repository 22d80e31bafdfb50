"""The results of all machines side by side, in Markdown: the documentation's page on performance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from bench import load, report
from bench.machine import device_name
from bench.results import Run, merged
from bench.summary import PEERS, Summary, summarize


@dataclass(frozen=True)
class Entry:
    """A summary, and the machine that it is of."""

    machine: str
    summary: Summary

    @property
    def title(self) -> str:
        """The head of its column."""
        return f"{self.machine}, {load.name(self.summary.load)}"


def markdown(history: dict[str, list[Run]]) -> str:
    """Geometric means first, then ratios case by case, goals, and all times: the latest of each case.

    Args:
        history: the runs by machine, as `results.history` gives them.
    """
    runs = [merged(found) for found in history.values()]
    if not runs:
        return "None yet."
    parts = []
    for column, peers in PEERS.items():
        found = [
            Entry(device_name(run.machine), s) for run in runs for s in summarize(run) if s.column == column
        ]
        if found:
            parts += [
                f"## {column}",
                *_means(found, peers),
                *_cases([e for e in found if e.summary.peer == peers[0]]),
            ]
    parts.append("## Goals")
    parts += [_machine(run) + "\n\n```text\n" + report.goal_table(run).strip("\n") + "\n```" for run in runs]
    parts.append("## All times")
    parts += [_details(run) for run in runs]
    return "\n\n".join(parts)


def _means(found: list[Entry], peers: Sequence[str]) -> Iterable[str]:
    """A row a machine and load, a column a peer."""
    yield "Geometric mean over cases of the time over a peer's, and the cases in which the peer is faster:"
    rows = []
    for title in dict.fromkeys(e.title for e in found):
        of = {e.summary.peer: e.summary for e in found if e.title == title}
        cells = [
            f"{s.mean:.2f} ({len(s.over)} of {len(s.ratios)})" if (s := of.get(p)) else "" for p in peers
        ]
        rows.append([title, *cells])
    yield _table(["machine", *peers], rows)


def _cases(found: list[Entry]) -> Iterable[str]:
    """A row a case, a column a machine and load."""
    if not found:
        return
    yield f"Case by case, time over {found[0].summary.peer}'s:"
    rows = []
    for case in dict.fromkeys(case for e in found for case in e.summary.ratios):
        ratios = [e.summary.ratios.get(case) for e in found]
        rows.append([case, *("" if r is None else f"**{r:.2f}**" if r > 1 else f"{r:.2f}" for r in ratios)])
    yield _table(["case", *(e.title for e in found)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _machine(run: Run) -> str:
    """Which one, when, and how far its figures can be compared."""
    shared = "" if run.settings.get("apart") or run.machine["gpu"] else "; all columns shared a process"
    return f"{device_name(run.machine)}, {run.date} UTC{shared}:"


def _details(run: Run) -> str:
    """Everything that was measured, folded."""
    tables = [
        report.case_table(run, key, [m for m in run.measurements if m.case == key]) for key in run.cases
    ]
    text = escape("\n".join([report.head(run), *tables]))
    return f"<details><summary>{escape(_machine(run))}</summary><pre>{text}</pre></details>"
