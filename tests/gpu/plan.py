"""The stages of each call, in order, with the seconds that are kept for each.

A stage may run until the sum of its seconds and those before it: what an earlier stage has saved goes to the
next, and one that hangs takes nothing from those that follow.
"""

from __future__ import annotations

from dataclasses import dataclass

CALL = 350  # seconds: under 6 minutes, with the start of the interpreter and the merge


@dataclass(frozen=True)
class Stage:
    """`python -m MODULE ARGUMENTS`, at most so long; if a gate is red, the call ends there."""

    name: str
    seconds: float
    module: str
    arguments: tuple[str, ...] = ()
    gate: bool = False


DEVICE = Stage("device", 30, "tests.gpu.device", gate=True)

PLAN: dict[str, tuple[Stage, ...]] = {
    "1": (
        DEVICE,
        Stage("smoke", 75, "tests.gpu.smoke", gate=True),
        Stage("compile", 65, "tests.gpu.compile"),
        Stage("kernels", 75, "tests.gpu.suite", ("kernels",)),
        Stage("suite", 95, "tests.gpu.suite", ("suite",)),
    ),
    "2": (
        DEVICE,
        Stage("compile", 45, "tests.gpu.compile"),
        Stage("parity", 25, "tests.gpu.parity"),
        Stage("first_step", 30, "tests.gpu.first_step"),
        Stage("benchmark", 110, "tests.gpu.benchmark"),
        Stage("memcheck", 40, "tests.gpu.sanitizer", ("memcheck",)),
        Stage("racecheck", 35, "tests.gpu.sanitizer", ("racecheck",)),
        Stage("probes", 25, "tests.gpu.probes"),
    ),
    "3": (
        DEVICE,
        Stage("convolution", 120, "tests.gpu.convolution"),
    ),
}
