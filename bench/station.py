"""A column at work on one case, in the process it is in."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np

from bench.cases.base import Case, Inputs, Program
from bench.columns.base import Column

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ROUGH = {"float32": 1, "tf32": 64, "bf16": 512}
"""Times the tolerance: inputs of products are rounded to 2^-11 or 2^-8 instead of 2^-24."""


class WrongResultError(Exception):
    """What a column computed is not what the case asks for."""


class Station:
    """A column, the program of the case it is working on, and where it is in the input sets."""

    def __init__(self, column: Column) -> None:
        self.column, self.at, self.sets = column, 0, 0
        self.program: Program | None = None

    def prepare(self, case: Case, inputs: Inputs, reference: Any) -> float:
        """Build the program and check its results; returns their error over its tolerance.

        Raises:
            NotExpressibleError: the column's library cannot do this.
            WrongResultError: the error is over the tolerance.
        """
        checked = case.checked()
        with self.column.active():
            program = checked.build(self.column, inputs)
            error = checked.verify(program.results(), reference) / ROUGH[self.column.precision]
            if not error <= 1:
                raise WrongResultError(f"WRONG RESULT: {error:.3g} times the tolerance")
            self.program = program if checked is case else case.build(self.column, inputs)
        self.at, self.sets = 0, len(inputs.sets)
        return error

    def calibrate(self, turn: float) -> int:
        """Warm up, and choose how many runs fill a turn."""
        assert self.program is not None
        gc.collect()
        gc.freeze()  # what was loaded so far need not be searched for garbage; what the column makes is
        seconds, repeats = self.turn(1)[0] * self.program.steps, 1
        while seconds * repeats < turn / 4:
            repeats *= 4
            seconds = self.turn(repeats)[0] * self.program.steps
        return max(1, round(turn / seconds))

    def launches(self) -> int | None:
        """Kernels, products and graphs of one piece of work; None where no device counts them."""
        try:
            import cpucuda
        except ImportError:
            return None
        assert self.program is not None
        with self.column.active(), cpucuda.count() as n:
            self.column.seconds(self.program.run, self._indices(1))
        return int(n.launches + n.products + n.graphs) // self.program.steps

    def turn(self, repeats: int) -> tuple[float, int]:
        """Seconds for one piece of work, over `repeats` runs, and how often another process took the CPU.

        A quarter as many untimed runs come first: threads wake, caches fill.
        """
        assert self.program is not None
        with self.column.active():
            self.column.seconds(self.program.run, self._indices(max(1, repeats // 4)))
            before = interruptions()
            total = self.column.seconds(self.program.run, self._indices(repeats))
            after = interruptions()
        return total / (repeats * self.program.steps), after - before

    def _indices(self, n: int) -> list[int]:
        indices = [(self.at + k) % self.sets for k in range(n)]
        self.at = (self.at + n) % self.sets
        return indices

    def forget(self) -> None:
        """Give the case's memory back."""
        self.program = None
        gc.unfreeze()
        gc.collect()
        self.column.forget()


def interruptions() -> int:
    """How often another process took a CPU from this one so far; 0 where the system does not say."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource is not None else 0


def make_inputs(case: Case, sets: int, rng: Any = None) -> Inputs:
    """Random inputs in so many sets; from `rng`, or the host's with seed 0: the same in every process."""
    rng = rng or np.random.default_rng(0)
    return Inputs(case.shared(rng), [case.inputs(rng) for _ in range(sets)])
