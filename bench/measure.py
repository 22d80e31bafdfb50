"""How a case is measured: inputs that outgrow the cache, a check of every column, then interleaved rounds.

In a round every column has one turn, in an order that rotates; a turn is one untimed call, then as many
timed ones as fill the time of a turn. Ratios are taken within a round, so that a machine that slows down for
a while slows both sides. Medians and quartiles stand for the rounds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import numpy as np

from bench.cases.base import Case, Inputs, NotExpressibleError, Program
from bench.columns import Column

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Settings:
    """Attributes:
    rounds: turns of every column; up to three times as many while one is noisy.
    turn: seconds a turn should take.
    pause: seconds before a turn, in which the threads of the column before stop spinning (25 ms, OpenBLAS).
    rotate: bytes of input sets to rotate through.
    noisy: interquartile range over median from which rounds are added.
    memory: bytes that all columns of one case may take together.
    budget: seconds a case may take; three rounds are made at any rate.
    retries: how often a turn that was interrupted is taken again; the least interrupted one counts.
    """

    rounds: int = 9
    turn: float = 0.12
    pause: float = 0.03
    rotate: int = 256 << 20
    noisy: float = 0.1
    memory: int = 8 << 30
    budget: float = 60.0
    retries: int = 0
    most_sets: int = 32


QUICK = Settings(rounds=5, turn=0.015, rotate=64 << 20, noisy=float("inf"), most_sets=8, budget=4.0)


FAILURES = ("FAILED", "WRONG")
ROUGH = 64  # times the tolerance, for products of rounded inputs
"""How the reason starts where a column should have run."""


PATIENT = {"turn": 0.005, "retries": 30}
"""For a busy machine: turns short enough to pass between two interruptions. They are chosen by interruptions,
never by time, so the choice favours nobody."""


@dataclass
class Measurement:
    """One case on one column, or why there are no times.

    Attributes:
        seconds: for one piece of work, in each round.
        interruptions: how often other processes took a CPU from a turn, in each round.
        repeats: pieces of work a turn.
        error: the error of the results over its tolerance.
    """

    case: str
    column: str
    seconds: list[float] = field(default_factory=list)
    interruptions: list[int] = field(default_factory=list)
    repeats: int = 0
    error: float | None = None
    missing: str | None = None


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


def interruptions() -> int:
    """How often another process took a CPU from this one so far; 0 where the system does not say."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource is not None else 0


def make_inputs(case: Case, settings: Settings, rng: Any = None) -> Inputs:
    """Random inputs, in as many sets as outgrow the cache; from `rng`, or the host's with seed 0."""
    rng = rng or np.random.default_rng(0)
    return Inputs(case.shared(rng), [case.inputs(rng) for _ in range(_sets(case, settings))])


def _sets(case: Case, settings: Settings) -> int:
    return max(1, min(settings.most_sets, -(-settings.rotate // case.footprint)))


@dataclass
class _Runner:
    """A program on its column, and where it is in its input sets."""

    column: Column
    program: Program
    sets: int
    measured: Measurement
    at: int = 0

    def turn(self, repeats: int) -> float:
        """Seconds for one piece of work, over `repeats` runs after an untimed one."""
        with self.column.active():
            self.column.seconds(self.program.run, self._indices(1))
            total = self.column.seconds(self.program.run, self._indices(repeats))
        return total / (repeats * self.program.steps)

    def _indices(self, n: int) -> list[int]:
        indices = [(self.at + k) % self.sets for k in range(n)]
        self.at = (self.at + n) % self.sets
        return indices

    def calibrate(self, turn: float) -> None:
        """Warm up, and choose how many runs fill a turn."""
        seconds, repeats = self.turn(1) * self.program.steps, 1
        while seconds * repeats < turn / 4:
            repeats *= 4
            seconds = self.turn(repeats) * self.program.steps
        self.measured.repeats = max(1, round(turn / seconds))


def measure(case: Case, columns: Iterable[Column], settings: Settings, rng: Any = None) -> list[Measurement]:
    """Check and time one case on every column; one that cannot run it, or is wrong, has a reason instead.

    Args:
        case: what to measure.
        columns: the libraries.
        settings: how.
        rng: where inputs come from, for columns that take these: `DeviceRandom` for CuPy arrays.
    """
    columns = list(columns)
    need = case.footprint * _sets(case, settings) * (len(columns) + 2)
    if need > settings.memory:
        reason = f"left out: the columns need about {need / 2**30:.0f} GiB together"
        return [Measurement(case.key, c.key, missing=reason) for c in columns]
    inputs = make_inputs(case, settings, rng)
    reference = case.checked().reference(inputs)
    found, runners = [], []
    for column in columns:
        measured = Measurement(case.key, column.key)
        found.append(measured)
        if case.device_only and column.device == "cpu":
            measured.missing = "this size is for devices"
            continue
        try:
            with column.active():
                program = prepare(case, column, inputs, reference, measured)
        except NotExpressibleError as reason:
            measured.missing = str(reason)
        except Exception as error:  # one column's failure must not end the run, and is reported
            measured.missing = f"FAILED: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        else:
            if program is not None:
                runners.append(_Runner(column, program, len(inputs.sets), measured))
    take_turns(runners, settings)
    runners.clear()
    for column in columns:
        column.forget()
    return found


def prepare(
    case: Case, column: Column, inputs: Inputs, reference: Any, measured: Measurement
) -> Program | None:
    """The program, if its results are right; the error over its tolerance is noted."""
    checked = case.checked()
    program = checked.build(column, inputs)
    # inputs rounded to ten bits of mantissa: 2^-11 instead of float32's 2^-24
    rough = 1 if column.precise else ROUGH
    measured.error = checked.verify(program.results(), reference) / rough
    if not measured.error <= 1:
        measured.missing = f"WRONG RESULT: {measured.error:.3g} times the tolerance"
        return None
    return program if checked is case else case.build(column, inputs)


def take_turns(runners: list[_Runner], settings: Settings) -> None:
    """Interleaved rounds."""
    for runner in runners:
        runner.calibrate(settings.turn)
    start = time.perf_counter()
    gc.collect()
    gc.freeze()  # what was loaded so far need not be searched for garbage; what the columns make is
    try:
        for number in range(3 * settings.rounds):
            if number >= settings.rounds and not any(is_noisy(r.measured, settings.noisy) for r in runners):
                break
            if number >= min(3, settings.rounds) and time.perf_counter() - start > settings.budget:
                break
            shift = number % max(1, len(runners))
            for runner in runners[shift:] + runners[:shift]:
                found = quiet_turn(runner, settings, start + settings.budget)
                runner.measured.interruptions.append(found[0])
                runner.measured.seconds.append(found[1])
    finally:
        gc.unfreeze()


def quiet_turn(runner: _Runner, settings: Settings, deadline: float) -> tuple[int, float]:
    """Interruptions and seconds of the least interrupted turn; the first one without any ends the search."""
    tries = []
    for _ in range(settings.retries + 1):
        time.sleep(settings.pause)
        before = interruptions()
        seconds = runner.turn(runner.measured.repeats)
        tries.append((interruptions() - before, seconds))
        if tries[-1][0] == 0 or time.perf_counter() > deadline:
            break
    return min(tries, key=lambda t: t[0])
