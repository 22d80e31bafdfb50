"""Workers whose columns misbehave: `python -m tests.bench.faulty KEY`."""

from __future__ import annotations

import os
import sys
import time

from bench import columns, worker
from bench.columns import NumpyColumn


class Faulty(NumpyColumn):
    """Works as NumPy's column does, with a fault in one of its calls, or in every one."""

    def __init__(self, key: str = "good", at: int = 0, fault=None, missing: str | None = None) -> None:
        self.key, self.at, self.fault, self.reason, self.calls = key, at, fault, missing, 0

    def missing(self):
        return self.reason

    def seconds(self, run, indices):
        self.calls += 1
        if self.fault is not None and self.at in (self.calls, EVERY):
            self.fault()
        return super().seconds(run, indices)


def die():
    print("Segmentation fault, so to say", file=sys.stderr, flush=True)
    os._exit(3)


def spin():
    """Keep a thread at work after the turn, as waiting thread pools do."""
    import threading

    def work():
        end = time.perf_counter() + 0.3
        while time.perf_counter() < end:
            pass

    threading.Thread(target=work, daemon=True).start()


def hang():
    time.sleep(1000)


EVERY = 0
LATE = 12  # calls: after the calibration, in the rounds
COLUMNS = {
    c.key: c
    for c in (
        Faulty("good"),
        Faulty("dies", LATE, die),
        Faulty("dies-at-once", 1, die),
        Faulty("hangs", LATE, hang),
        Faulty("spins", EVERY, spin),
        Faulty("raises", LATE, lambda: 1 / 0),
        Faulty("absent", missing="nothing is not installed"),
    )
}

if __name__ == "__main__":
    known = columns.by_key
    columns.by_key = lambda key: COLUMNS.get(key) or known(key)
    sys.exit(worker.main())
