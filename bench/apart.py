"""One case on columns that have a process each; this process only tells them whose turn it is.

While one works, the others sleep on their pipes; its turn begins when their thread pools have come to rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import load, quiet
from bench.cases.base import Case
from bench.measure import left_out
from bench.measurement import ColumnError, Measurement
from bench.process import Process
from bench.rounds import Settings, take_turns


class Apart:
    """The processes of all columns, and one more that computes references.

    Args:
        processes: one a column.
        helper: computes references.
        settings: how cases are measured.
        loads: numbers of load processes; the rounds of each are made with them at work.
    """

    def __init__(
        self, processes: Sequence[Process], helper: Process, settings: Settings, loads: Sequence[int] = (0,)
    ) -> None:
        self.processes, self.helper = list(processes), helper
        self.settings, self.loads = settings, list(loads)
        self.restless = 0

    def measure(self, case: Case) -> list[Measurement]:
        """Check and time one case on every column, idle and beside each load."""
        first = [Measurement(case.key, p.column.key) for p in self.processes]
        reason = left_out(case, len(self.processes), self.settings)
        if reason is not None:
            for m in first:
                m.missing = reason
            return first
        players = self._prepare(case, first)
        found = [m for m in first if m.missing is not None]
        for processes in self.loads:
            turns = [(p, replace(m, seconds=[], interruptions=[], load=processes)) for p, m in players]
            settings = replace(self.settings, retries=0) if processes else self.settings
            with load.beside(processes):
                take_turns(turns, settings, self._quiet)
            found += [m for _, m in turns]
            players = [(p, m) for p, m in players if p.alive]
        for process in self.processes:
            if process.alive:
                _ask(process, Measurement("", ""), "forget")
        order = {p.column.key: i for i, p in enumerate(self.processes)}
        return sorted(found, key=lambda m: (m.load, order[m.column]))

    def _prepare(self, case: Case, found: list[Measurement]) -> list[tuple[Process, Measurement]]:
        """Programs built and checked, all columns at once, and calibrated, one after the other."""
        settings, players = self.settings, []
        sets = settings.sets(case.footprint)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            what = {"case": case.key, "sets": sets, "path": str(Path(folder) / "reference.npz")}
            reference = Measurement("", "")
            self._revive(self.helper, reference)
            _ask(self.helper, reference, "reference", **what)
            for process, m in zip(self.processes, found, strict=True):
                m.missing = reference.missing
                self._revive(process, m)
                if case.device_only and process.column.device == "cpu":
                    m.missing = "this size is for devices"
                if m.missing is None:
                    process.send("prepare", **what)
                    players.append((process, m))
            for process, m in players:
                answer = _receive(process, m)
                m.error, m.missing = answer.get("error"), m.missing or answer.get("missing")
        for process, m in players:
            if m.missing is None:
                self._quiet(process)
                m.repeats = _ask(process, m, "calibrate", turn=settings.turn).get("repeats", 0)
        return [(process, m) for process, m in players if m.missing is None]

    def _revive(self, process: Process, m: Measurement) -> None:
        """Start a worker that ended anew, but not one that hung: the next case would wait as long again."""
        if process.alive:
            return
        if process.hung:
            m.missing = "left out: its process hung before"
            return
        process.restart()
        _receive(process, m)

    def _quiet(self, player: Any) -> None:
        everyone = [*self.processes, self.helper]
        self.restless += not quiet.wait(p for p in everyone if p is not player)


def _receive(process: Process, m: Measurement) -> dict[str, Any]:
    """The answer; an empty one if there is none, and the measurement says why."""
    try:
        return process.receive()
    except ColumnError as error:
        m.fail(error)
        return {}


def _ask(process: Process, m: Measurement, do: str, **what: Any) -> dict[str, Any]:
    process.send(do, **what)
    return _receive(process, m)
