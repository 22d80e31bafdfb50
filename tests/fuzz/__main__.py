"""python -m tests.fuzz --inputs 50000 --seed 0

Every input is made from its target, the seed and its number; `--target NAME --only NUMBER` shows one again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.run import Result, malformed, part
from tests.fuzz.targets import targets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=50_000, help="of all targets together (default: 50000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--target", help="one kind of file only")
    parser.add_argument("--only", type=int, help="one input only, with its traceback")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        chosen = [t for t in targets(Path(scratch) / "whole") if options.target in (None, t.name)]
        if options.only is not None:
            path = Path(scratch) / f"input{chosen[0].ending}"
            path.write_bytes(malformed(chosen[0], options.seed, options.only))
            print(f"{path.stat().st_size} bytes")
            try:
                chosen[0].read(path)
            except Exception:
                traceback.print_exc()
            return 0
        os.chdir("/")
    each, start = -(-options.inputs // len(chosen)), time.perf_counter()
    step = 500
    tasks = [(t.name, options.seed, a, min(a + step, each)) for t in chosen for a in range(0, each, step)]
    total: dict[str, Result] = {t.name: Result() for t in chosen}
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for name, found in pool.map(part, *zip(*tasks, strict=True)):
            result = total[name]
            result.read += found.read
            result.slowest, result.growth = (
                max(result.slowest, found.slowest),
                max(result.growth, found.growth),
            )
            for fault, numbers in found.faults.items():
                result.faults.setdefault(fault, []).extend(numbers)
    bad = 0
    for name, result in total.items():
        faults = sum(map(len, result.faults.values()))
        bad += faults
        print(
            f"{name:14} {result.read['read']:6} read {result.read['refused']:6} refused {faults:5} faults"
            f"  slowest {result.slowest:.2f} s, at most {result.growth / 2**20:.0f} MB beyond 3 x the input"
        )
        for fault, numbers in sorted(result.faults.items(), key=lambda item: -len(item[1]))[:8]:
            print(f"    {len(numbers):5} x {fault} (such as --target {name!r} --only {numbers[0]})")
    print(
        f"{each * len(chosen)} inputs, {bad} faults, seed {options.seed}, {time.perf_counter() - start:.0f} s"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
