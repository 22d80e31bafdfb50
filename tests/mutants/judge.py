"""Whether the tests notice a mistake: a forked process imports the changed module and runs them."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.mutants.make import Mutant

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".mutants"
MEMORY = 8 * 2**30
BACKENDS = "numpy,array_api_strict"  # kernels run on one, bodies on the other


class Reached:
    """Which tests run which line, as `coverage` saw it, and how long each takes."""

    def __init__(self, folders: list[str]) -> None:
        self.file, self.times = STORE / "coverage", STORE / "times.json"
        newest = max(p.stat().st_mtime for top in ("xpnet", "tests") for p in (ROOT / top).rglob("*.py"))
        said = STORE / "folders.json"
        fresh = said.exists() and said.stat().st_mtime > newest and json.loads(said.read_text()) == folders
        if not fresh:
            STORE.mkdir(exist_ok=True)
            print(f"which tests of {', '.join(folders)} run which lines ...", flush=True)
            self.file.unlink(missing_ok=True)
            code = "import sys; from tests.mutants.judge import trace; sys.exit(trace(sys.argv[1:]))"
            done = subprocess.run(
                [sys.executable, "-c", code, *folders], cwd=ROOT, capture_output=True, text=True
            )
            if done.returncode:
                raise SystemExit(
                    f"the tests fail without any mistake:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
                )
            said.write_text(json.dumps(folders))
        import coverage

        self.data = coverage.CoverageData(str(self.file))
        self.data.read()
        self.seconds: dict[str, float] = json.loads(self.times.read_text())
        self._lines: dict[str, dict[int, list[str]]] = {}

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run its line, quick ones first; where it runs at import, those that use the file."""
        lines = self._lines.get(mutant.path)
        if lines is None:
            lines = self._lines[mutant.path] = self.data.contexts_by_lineno(str(ROOT / mutant.path))
        last = mutant.line + mutant.source()[mutant.start : mutant.stop].count("\n")
        found = {t for line in range(mutant.line, last + 1) for t in lines.get(line, ())}
        if found == {""}:
            found = {t for tests in lines.values() for t in tests}
        return sorted(found - {""}, key=lambda test: self.seconds.get(test, 1.0))


def trace(folders: list[str]) -> int:
    """Run the tests, and write down what each one reaches."""
    import coverage
    import pytest

    seen = coverage.Coverage(data_file=str(STORE / "coverage"), source=[str(ROOT / "xpnet")])
    times: dict[str, float] = {}

    class Plugin:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item: Any) -> Any:
            seen.switch_context(item.nodeid)
            start = time.perf_counter()
            try:
                return (yield)
            finally:
                times[item.nodeid] = time.perf_counter() - start
                seen.switch_context("")

    seen.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--backend", BACKENDS, *folders], plugins=[Plugin()])
    seen.stop()
    seen.save()
    (STORE / "times.json").write_text(json.dumps(times))
    return int(code)


class Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from other source."""

    def __init__(self, mutant: Mutant) -> None:
        self.source, self.path = mutant.source(), str(ROOT / mutant.path)
        parts = Path(mutant.path).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        package = self.path.endswith("__init__.py")
        spec = importlib.machinery.ModuleSpec(name, self, origin=self.path, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [str(Path(self.path).parent)]
        return spec

    def get_filename(self, name: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        return self.source.encode()

    def path_stats(self, path: str) -> Any:
        raise OSError  # no bytecode is kept


def judge(mutant: Mutant, tests: list[str], times: dict[str, float], seconds: float) -> str:
    """ "killed", "timeout" (killed, too), or "survived" of the tests that take `seconds` together."""
    chosen, sum_ = [], 0.0
    for test in tests:
        sum_ += times.get(test, 0.1)
        if sum_ > seconds and chosen:
            break
        chosen.append(test)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os._exit(_child(mutant, chosen))
        finally:
            os._exit(99)
    limit = time.monotonic() + 30 + 10 * min(sum_, seconds)
    while time.monotonic() < limit:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "timeout"


def _child(mutant: Mutant, tests: Iterable[str]) -> int:
    import pytest

    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.meta_path.insert(0, Changed(mutant))
    order = {test: i for i, test in enumerate(tests)}

    class Plugin:
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            items[:] = sorted((i for i in items if i.nodeid in order), key=lambda item: order[item.nodeid])

    files = list(dict.fromkeys(test.split("::")[0] for test in tests))
    words = ["-x", "-q", "-p", "no:cacheprovider", "--backend", BACKENDS, "--no-header", *files]
    return int(pytest.main(words, plugins=[Plugin()]))
