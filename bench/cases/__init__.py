"""What is measured: single operations and whole training steps, over a sweep of sizes."""

from __future__ import annotations

from bench.cases.base import Case
from bench.cases.networks import NETWORKS
from bench.cases.operations import OPERATIONS
from bench.cases.steps import STEPS

SWEEPS = STEPS + NETWORKS + OPERATIONS


def by_key(key: str) -> Case:
    """The case of that key."""
    return next(case for sweep in SWEEPS for case in sweep.cases() if case.key == key)


def cases(only: str | None = None, quick: bool = False, device: bool = False) -> list[Case]:
    """The cases to run, steps first.

    Args:
        only: comma-separated words; a case stays if its key (`step mnist_mlp batch 128`) contains one.
        quick: only the sizes that the project's goals name, and of these no optimizer step above 1M.
        device: with the sizes that are too large for a CPU.

    Raises:
        ValueError: nothing is left.
    """
    every = [case for sweep in SWEEPS for case in sweep.cases()]
    found = [case for case in every if device or not case.device_only]
    if quick:
        found = [case for case in found if case.goal and case.bytes < 2e8]
    if only:
        words = [word.strip() for word in only.split(",")]
        found = [case for case in found if any(word in case.key for word in words)]
        if not found:
            keys = "\n  ".join(case.key for case in every)
            raise ValueError(f"--only {only!r} matches no case; cases are\n  {keys}")
    return found
