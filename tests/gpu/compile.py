"""Stage: compile every kernel instance of this device in twelve processes, into CuPy's cache on disk."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from typing import Any

from tests.gpu.fragment import DRY, Fragment, first_lines

PROCESSES = min(12, os.cpu_count() or 1)


def build(task: tuple[str, str]) -> tuple[str, str, float, str | None]:
    """One kernel: its file, its name, the seconds, what was wrong."""
    from xpnet.cuda import loader

    start, wrong = time.perf_counter(), None
    try:
        loader.kernel(*task)
    except Exception as error:  # one bad instance must not hide the others
        wrong = first_lines(error, 6)
    return (*task, time.perf_counter() - start, wrong)


def main() -> int:
    """Compile; 1 if an instance does not."""
    from xpnet import cuda
    from xpnet.cuda import loader

    found, start = Fragment(), time.perf_counter()
    arch = loader.target().arch
    every = cuda.instances(arch)
    # the long ones first, so that no process is left alone with one at the end
    files = sorted(every, key=lambda file: -len(loader.source(file)))
    tasks = [(file, name) for file in files for name in (every[file][:2] if DRY else every[file])]
    seconds: dict[str, list[float]] = {file: [] for file in files}
    slowest: list[Any] = []
    wrong: dict[str, str] = {}
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for file, name, took, reason in pool.imap_unordered(build, tasks):
            seconds[file].append(took)
            slowest = sorted([*slowest, (took, name)], reverse=True)[:5]
            if reason is not None:
                wrong[name] = reason
            found.keep(
                every=1.0,
                arch=arch,
                instances=len(tasks),
                done=sum(map(len, seconds.values())),
                files={f: {"count": len(s), "seconds": sum(s)} for f, s in seconds.items()},
                slowest=slowest,
                wrong=wrong,
            )
    took = time.perf_counter() - start
    total = sum(map(sum, seconds.values()))
    lines = [f"{len(tasks)} instances for sm_{arch} in {took:.1f} s, {total:.0f} s of {PROCESSES} processes"]
    return found.done(
        not wrong, wall=took, summary=[*lines, *(f"{k}: {v}" for k, v in list(wrong.items())[:5])]
    )


if __name__ == "__main__":
    sys.exit(main())
