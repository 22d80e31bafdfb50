"""What a launch costs on the host: microseconds of Python, by launcher, without what CuPy does for it.

    python -m tests.kernels.launch_time [NAMES]                          on a GPU
    python -m tests.cupy_on_cpu python -m tests.kernels.launch_time      without

Kernels do nothing here, nor do cuBLASLt's products, and the arrays that a launcher asks for are the same
each time: what is left is its own code, and the views that it asks CuPy for. The process stays on one core,
its time is counted, not that of others, and every case takes its turn in every round. CuPy on the CPU is
built without optimization, unless with XP_CUPY_OPTIMIZE=-O2, as its wheels are.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.kernels.launches import Case, Idle, backward, cases, forward, products
from xpnet.cuda import cublaslt, loader

TURN = 20  # calls that are timed at once


class Work:
    """One way of a case: how often it launches and asks for an array, and its rounds in microseconds."""

    def __init__(self, name: str, call: Callable[[], Any]) -> None:
        self.name, self.call, self.rounds = name, call, list[float]()
        call()  # what repeats is kept from here on
        before = Idle.launches
        call()
        self.launches = Idle.launches - before

    def turn(self) -> None:
        """One round more."""
        start = time.thread_time_ns()
        for _ in range(TURN):
            self.call()
        self.rounds.append((time.thread_time_ns() - start) / 1e3 / TURN / max(1, self.launches))

    def line(self) -> str:
        """Its row of the table, by launch."""
        least, median = min(self.rounds), statistics.median(self.rounds)
        return f"{self.name:<38} {self.launches:>8} {least:>8.2f} {median:>8.2f}"


class Room(dict[Any, Any]):
    """In place of `loader.empty`: one array of each shape and dtype."""

    def __call__(self, like: Any, shape: Any, dtype: Any) -> Any:
        return self[shape, dtype]

    def __missing__(self, key: Any) -> Any:
        import cupy

        made = self[key] = cupy.empty(*key)
        return made


def works(every: dict[str, Case]) -> list[Work]:
    """Forward and backward of each case, where they launch anything."""
    found = []
    for name, case in every.items():
        found.append(Work(name, partial(forward, case)))
        pullback = forward(case)
        if pullback is not None:
            found.append(Work(f"{name}, backward", partial(backward, pullback, case[1])))
    return [work for work in found if work.launches]


def main(argv: list[str] | None = None) -> int:
    """Show the table; 2 without CuPy."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.launch_time")
    parser.add_argument("names", nargs="*", help="cases whose name contains one of these; default all")
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="default 200")
    options = parser.parse_args(argv)
    try:
        import cupy

        like = cupy.empty((64, 256), "float32")
    except Exception as error:
        print(f"launch_time: CuPy does not run here ({error}): see tests/cupy_on_cpu", file=sys.stderr)
        return 2
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    array, view = partial(loader.empty, like, like.shape, like.dtype), partial(like.reshape, 256, 64)
    loader.target().factory, loader.empty = Idle, Room()
    cublaslt.Plan._library_matmul = Idle()  # type: ignore[method-assign]
    every = {**cases(cupy.asarray), **products(cupy.asarray)}
    found = works({n: c for n, c in every.items() if any(word in n for word in options.names or [""])})
    theirs = [Work("an array of CuPy", array), Work("a view of CuPy", view)]
    gc.collect()
    gc.disable()
    for _ in range(options.rounds):
        for work in (*found, *theirs):
            work.turn()
    print(f"{'microseconds a launch':<38} {'launches':>8} {'least':>8} {'median':>8}")
    print("\n".join(work.line() for work in (*found, *theirs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
