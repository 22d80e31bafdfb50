"""Waiting until the processes of other columns sleep: thread pools spin for a while after their work."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bench.process import Process

LOOK = 0.002  # seconds between two looks
LOOKS = 2  # in a row that must find no thread running: one may be between two locks
PAUSE = 0.03  # where the system does not tell; OpenBLAS spins for 25 ms
LONGEST = 1.0


def wait(processes: Iterable[Process]) -> bool:
    """Return when none of them works; False if one still does after a second.

    A thread that waits for a CPU counts as running. The clocks of processes would not do: they move with the
    ticks of the system, and stand still for a thread that spins while others have the CPUs.
    """
    processes = list(processes)
    end, found = time.perf_counter() + LONGEST, 0
    while found < LOOKS:
        running = [p.running() for p in processes]
        if None in running:
            time.sleep(PAUSE)
            return True
        found = 0 if any(running) else found + 1
        if found < LOOKS:
            time.sleep(LOOK)
        if time.perf_counter() > end:
            return False
    return True
