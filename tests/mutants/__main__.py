"""python -m tests.mutants xpnet/optim xpnet/train --sample 100 --seed 0

Plants one mistake at a time, runs the tests that reach it, and lists those that no test notices. Mistakes
that change nothing are in `equivalent.txt`, each with the reason. Needs `coverage`. Of the kept tools,
mutmut (3.8) leaves decorated functions alone, which all ops are; cosmic-ray (8.7) changes files in place and
runs one command for each of them.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy  # noqa: F401  loaded once, before the forks

from tests.mutants.judge import ROOT, Reached, judge
from tests.mutants.make import Mutant, mutants

FOLDERS = (
    "core",
    "functional",
    "optim",
    "train",
    "nn",
    "transforms",
    "diagnostics",
    "data",
    "io",
    "array_api",
    "test_defaults.py",
)
CUDA = ("cupy_graph", "cupy_namespace", "capture", "recording", "captured", "manual")  # what only a GPU runs


def known() -> dict[str, str]:
    """Mutants that are equivalent, and why, without their line numbers."""
    found = {}
    for line in (Path(__file__).parent / "equivalent.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            mutant, _, reason = line.partition("  # ")
            found[mutant.strip()] = reason
    return found


def named(mutant: Mutant) -> str:
    return f"{mutant.path}: {mutant.what}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[2])
    parser.add_argument("paths", nargs="+", help="files or folders of xpnet")
    parser.add_argument("--sample", type=int, help="so many of them, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60, help="of tests for each one (default: 60)")
    parser.add_argument("--tests", nargs="*", help="folders of tests (default: those of the core packages)")
    parser.add_argument("--show", action="store_true", help="list the mutants, run nothing")
    options = parser.parse_args()
    os.chdir(ROOT)
    files = [
        p for top in options.paths for p in ([Path(top)] if top.endswith(".py") else Path(top).rglob("*.py"))
    ]
    files = sorted(str(p) for p in files if p.stem not in CUDA)
    every = [m for file in files for m in mutants(file)]
    equivalent = known()
    skipped = [m for m in every if named(m) in equivalent]
    every = [m for m in every if named(m) not in equivalent]
    chosen = (
        every
        if options.sample is None
        else random.Random(options.seed).sample(every, min(options.sample, len(every)))
    )
    if options.show:
        print(*chosen, sep="\n")
        return 0
    reached = Reached(options.tests or [f"tests/{name}" for name in FOLDERS])
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401

    todo, lock, results, start = (
        sorted(chosen, reverse=True),
        threading.Lock(),
        Counter[str](),
        time.perf_counter(),
    )
    bad: list[tuple[str, Mutant]] = []

    def work() -> None:
        while True:
            with lock:
                if not todo:
                    return
                mutant = todo.pop()
                tests = reached.tests(mutant)
            verdict = judge(mutant, tests, reached.seconds, options.seconds) if tests else "not reached"
            with lock:
                results[verdict] += 1
                if verdict in ("survived", "not reached"):
                    bad.append((verdict, mutant))
                    print(f"{verdict}: {mutant}", flush=True)

    threads = [threading.Thread(target=work) for _ in range(options.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    killed, judged = results["killed"] + results["timeout"], sum(results.values()) - results["not reached"]
    print(f"{len(chosen)} of {len(every)} mutants (seed {options.seed}); {len(skipped)} more are equivalent")
    score = f"{killed / max(judged, 1):.1%} of those that run, {time.perf_counter() - start:.0f} s"
    left, never = results["survived"], results["not reached"]
    print(f"{killed} killed, {left} survived, {never} on lines that no test runs: {score}")
    return int(results["survived"] > 0)


if __name__ == "__main__":
    sys.exit(main())
