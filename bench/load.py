"""A stated load: processes of which each keeps one CPU busy, beside every turn.

`python -S -m bench.load` adds whole numbers in a loop of pure Python: no memory traffic, no threads, nothing
that waits. It ends with the process that started it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WHAT = "python -S -m bench.load: whole numbers added in a loop of pure Python"


@contextmanager
def beside(processes: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many of them, at work until the end of the block."""
    started = [
        subprocess.Popen([sys.executable, "-S", "-m", "bench.load"], stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def burn() -> None:
    """Work until the parent has ended."""
    parent = os.getppid()
    print("working", flush=True)
    while os.getppid() == parent:
        total = 0
        for number in range(100_000):
            total += number


def name(processes: int) -> str:
    """A load in words."""
    return "idle" if not processes else f"beside {processes} load process{'es' if processes > 1 else ''}"


if __name__ == "__main__":
    burn()
