"""One input after the other: how it ended, how long it took, how much memory it took."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.targets import Target, targets

SECONDS = 2.0
EXTRA = 64 * 2**20


class HangError(BaseException):
    """It took too long; no reader catches it."""


@dataclass
class Result:
    """What came of the inputs of a target.

    Attributes:
        read: how many were read, or refused, as they should.
        faults: how often which fault came, with the first input's number.
        slowest: seconds.
        growth: the most memory beyond three times the input, in bytes.
    """

    read: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[int]] = field(default_factory=dict)
    slowest: float = 0.0
    growth: int = 0


def memory(name: str) -> int:
    """`VmRSS` now or `VmHWM` at most since `forget_peak`, in bytes."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(name))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def malformed(target: Target, seed: int, number: int) -> bytes:
    """The input of that number; the same in every run."""
    rng = random.Random(f"{target.name} {seed} {number}")
    content = rng.choice(target.seeds)
    for _ in range(rng.choice((1, 1, 1, 2))):
        with suppress(Exception):  # a second change of what can no longer be taken apart
            content = rng.choice(target.mutations)(content, rng)
    return content


def run(target: Target, seed: int, numbers: range, folder: Path, measured: bool = True) -> Result:
    """Give a reader the inputs of these numbers."""

    def too_long(*_: object) -> None:
        raise HangError

    result, path = Result(), folder / f"input{target.ending}"
    previous = signal.signal(signal.SIGALRM, too_long)
    for number in numbers:
        content = malformed(target, seed, number)
        path.write_bytes(content)
        if measured:
            forget_peak()
            before = memory("VmRSS")
        start, fault = time.perf_counter(), ""
        signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(path)
            result.read["read"] += 1
        except ValueError as error:
            text = str(error)
            bad = "\n" in text or "\x1b" in text or len(text) > 2000
            fault = f"{type(error).__name__}: not one line: {text!r}"[:300] if bad else ""
            result.read["refused"] += not bad
        except HangError:
            fault = "it hangs"
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"[:300]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.perf_counter() - start
        result.slowest = max(result.slowest, seconds)
        if measured:
            growth = memory("VmHWM") - before - 3 * len(content)
            result.growth = max(result.growth, growth)
            if growth > EXTRA:
                fault = fault or f"it takes {growth >> 20} MB more than three times its {len(content)} bytes"
        if seconds > SECONDS:
            fault = fault or f"it takes {seconds:.1f} s"
        if fault:
            result.faults.setdefault(fault, []).append(number)
    signal.signal(signal.SIGALRM, previous)
    return result


def part(name: str, seed: int, first: int, last: int) -> tuple[str, Result]:
    """Some inputs of a target, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        folder = Path(scratch)
        target = next(t for t in targets(folder / "whole") if t.name == name)
        try:
            return name, run(target, seed, range(first, last), folder)
        finally:
            os.chdir("/")
