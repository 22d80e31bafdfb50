"""`pytest --skipped`: only what the last run without it skipped, since something was not installed."""

from __future__ import annotations

import pytest

KEY = "xpnet/skipped"


class Skipped:
    """Remembers what a run skips, in pytest's cache: tests, and files that were skipped as a whole."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.found = config, set[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.found.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.found.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.config.cache.set(KEY, sorted(self.found))


class OnlySkipped:
    """Selects what the last run skipped."""

    def __init__(self, config: pytest.Config) -> None:
        found = config.cache.get(KEY, None)
        if found is None:
            raise pytest.UsageError("--skipped: no run has said yet what it skipped; run pytest without it")
        self.found = set(found)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        parts: tuple[list[pytest.Item], list[pytest.Item]] = ([], [])
        for item in items:
            parts[bool(self.found & {item.nodeid, item.nodeid.split("::")[0]})].append(item)
        left, items[:] = parts
        config.hook.pytest_deselected(items=left)


def configure(config: pytest.Config) -> None:
    """Remember or select.

    A worker of pytest-xdist sees a part only, and remembers nothing; nor does a run without pytest's cache.
    """
    if config.getoption("--skipped"):
        config.pluginmanager.register(OnlySkipped(config))
    elif not hasattr(config, "workerinput") and hasattr(config, "cache"):
        config.pluginmanager.register(Skipped(config))
