"""The process of one column: `python -m bench.worker COLUMN`, told what to do by lines of JSON.

It answers each line with one line, and sleeps on its pipe until the next: no other column's threads, memory
or settings are in it. What libraries print goes to its standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from bench import columns, limits, machine
from bench.cases import by_key
from bench.cases.base import NotExpressibleError
from bench.measurement import described
from bench.station import Station, WrongResultError, make_inputs


class Worker:
    """What a column's process can be asked; every method takes and gives what JSON can hold."""

    def __init__(self, column: str) -> None:
        self.column = columns.by_key(column)
        self.station = Station(self.column)

    def ready(self) -> dict[str, Any]:
        """Load the library; `missing` says why it cannot run here."""
        missing = self.column.missing()
        if missing is None:
            self.column.prepare()
        return {"missing": missing}

    def probe(self, keys: list[str]) -> dict[str, Any]:
        """Why each of these columns cannot run here, and what this machine is."""
        missing = {key: columns.by_key(key).missing() for key in keys}
        return {"missing": missing, "machine": machine.describe(threads()), "versions": machine.versions()}

    def limits(self, quick: bool) -> dict[str, Any]:
        """Seconds of this column's copies and products."""
        return limits.of_column(self.column, threads(), quick)

    def reference(self, case: str, sets: int, path: str) -> dict[str, Any]:
        """Write the results of the reference into a file."""
        found = by_key(case)
        np.savez(path, **found.checked().reference(make_inputs(found, sets)))
        return {}

    def prepare(self, case: str, sets: int, path: str) -> dict[str, Any]:
        """Make the inputs, build the program, check it; `missing` says why it is not to be timed."""
        found = by_key(case)
        with np.load(path) as reference:
            values = dict(reference)
        try:
            return {"error": self.station.prepare(found, make_inputs(found, sets), values), "missing": None}
        except (NotExpressibleError, WrongResultError) as reason:
            return {"error": None, "missing": str(reason)}

    def calibrate(self, turn: float) -> dict[str, Any]:
        """How many runs fill a turn."""
        return {"repeats": self.station.calibrate(turn)}

    def turn(self, repeats: int) -> dict[str, Any]:
        """One turn."""
        seconds, interrupted = self.station.turn(repeats)
        return {"seconds": seconds, "interruptions": interrupted}

    def forget(self) -> dict[str, Any]:
        """Give the case's memory back."""
        self.station.forget()
        return {}


def threads() -> int:
    """For every library here: the coordinator's choice."""
    return int(os.environ["OMP_NUM_THREADS"])


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    for line in requests:
        request = json.loads(line)
        method: Callable[..., dict[str, Any]] = getattr(worker, request.pop("do"))
        try:
            answer = method(**request)
        except Exception as error:  # the report has it in one line; the next case may work
            answer = {"failed": described(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main(arguments: list[str] | None = None) -> int:
    """Serve the column that is named."""
    (column,) = arguments or sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library's prints must not look like answers
    serve(Worker(column), sys.stdin, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
