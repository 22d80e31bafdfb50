"""A pytest plugin: the run so far as a stage's fragment, rewritten while tests run; works under pytest-xdist.

A CUDA context is lost after an illegal access, and every later test of the process fails with the guilty one:
so the process ends after it, and xdist starts another.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gpu.fragment import Fragment

MOST_FAILURES = 100
LOST = re.compile(
    "cudaError(IllegalAddress|LaunchFailure|MisalignedAddress|Assert|IllegalInstruction|HardwareStackError)"
    "|CUDA_ERROR_(ILLEGAL_ADDRESS|LAUNCH_FAILED|MISALIGNED_ADDRESS|ASSERT|ILLEGAL_INSTRUCTION)"
)


class Controller:
    """Where every report arrives: this process, or xdist's first one."""

    def __init__(self) -> None:
        self.found = Fragment()
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.slowest: list[tuple[float, str]] = []
        self.running: dict[str, float] = {}
        self.start = time.monotonic()

    def keep(self, every: float = 0.0, **values: Any) -> None:
        lines = [", ".join(f"{n} {what}" for what, n in self.counts.items())]
        lines += [f"{name}: {text.splitlines()[0][:160]}" for name, text in list(self.failures.items())[:25]]
        self.found.keep(
            every,
            counts=dict(self.counts),
            failures=self.failures,
            skipped=dict(self.reasons.most_common(30)),
            slowest=self.slowest,
            running=list(self.running),  # of a run that was cut: where it hung
            wall=time.monotonic() - self.start,
            summary=lines,
            **values,
        )

    def fail(self, name: str, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is None:
            text = "\n".join(str(report.longrepr).splitlines()[-3:])
        else:
            text = "\n".join(crash.message.splitlines()[:3]) + f"\n({crash.path}:{crash.lineno})"
        if len(self.failures) < MOST_FAILURES:
            self.failures[name] = text[:500]

    @pytest.hookimpl
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.running[nodeid] = time.monotonic()

    @pytest.hookimpl
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.running.pop(nodeid, None)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.counts["failed" if report.when == "call" else "error"] += 1
            self.fail(report.nodeid, report)
        elif report.skipped:
            self.counts["skipped"] += 1
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.reasons[reason[:160]] += 1
        elif report.when == "call":
            self.counts["passed"] += 1
        if report.when == "call":
            self.slowest = sorted([*self.slowest, (report.duration, report.nodeid)], reverse=True)[:10]
        self.keep(every=2.0)

    @pytest.hookimpl
    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.counts["error"] += 1
            self.fail(report.nodeid, report)

    @pytest.hookimpl
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.keep(exit_status=int(exitstatus))


class Worker:
    """One of xdist's processes."""

    lost = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: Any) -> Iterator[Any]:
        self.lost |= call.excinfo is not None and LOST.search(str(call.excinfo.value)) is not None
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        if self.lost:
            time.sleep(0.5)  # the report is on its way
            os._exit(1)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Worker() if hasattr(config, "workerinput") else Controller(), "gpu-record")
