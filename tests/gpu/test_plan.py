"""The plan of tests/gpu.sh, without a GPU: what stages leave when one hangs, dies or is red; a dry run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench import device
from tests.gpu import first_step, plan, smoke
from tests.gpu.__main__ import Call
from tests.gpu.plan import CALL, PLAN, Stage
from xpnet import functional as F

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.name != "posix", reason="tests/gpu.sh is for a POSIX system"),
]

ROOT = Path(__file__).resolve().parents[2]
STAGE = """
import os, signal, subprocess, sys, time
from tests.gpu.fragment import Fragment

what, found = sys.argv[1], Fragment()
found.keep(half=1)
if what == "hang":
    found.keep(child=subprocess.Popen(["sleep", "600"]).pid)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
if what == "die":
    os.kill(os.getpid(), signal.SIGSEGV)
if what == "absent":
    sys.exit(found.done(missing="no such tool"))
print("the last words")
sys.exit(found.done(what == "pass", summary=["said"]))
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run made-up stages, named after what they do; gives what gpu.json says and whether all passed."""
    (tmp_path / "made_up.py").write_text(STAGE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")

    def run(name: str, *what: str, gate: str = "", seconds: float = 60) -> tuple[dict[str, Any], bool]:
        made = Call(name, tmp_path / "out", tmp_path / "work")
        stages = [Stage(w, 5 if w == "hang" else seconds, "made_up", (w,), gate=w == gate) for w in what]
        passed = made.run(stages)
        return json.loads((tmp_path / "out" / "gpu.json").read_text()), passed

    return run


@pytest.mark.parametrize("name", list(PLAN))
def test_a_call_fits_into_six_minutes(name: str) -> None:
    stages = PLAN[name]
    assert sum(s.seconds for s in stages) <= CALL < 360
    assert len({s.name for s in stages}) == len(stages)  # they name the results
    for stage in stages:
        assert importlib.util.find_spec(stage.module) is not None
    assert stages[0] is plan.DEVICE


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_stage_that_hangs_is_cut_and_the_others_run(call: Any, tmp_path: Path) -> None:
    found, passed = call("1", "hang", "die", "fail", "absent", "pass")
    stages = found["calls"]["1"]
    assert {name: stage["status"] for name, stage in stages.items()} == {
        "hang": "cut", "die": "died", "fail": "failed", "absent": "missing", "pass": "passed",
    }  # fmt: skip
    assert not passed
    assert all(stage["result"]["half"] == 1 for stage in stages.values())  # what they had is kept
    assert stages["fail"]["tail"] == ["the last words"]
    if Path("/proc").exists():
        deadline = time.monotonic() + 10
        while alive(stages["hang"]["result"]["child"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(stages["hang"]["result"]["child"])
    with tarfile.open(tmp_path / "out" / "gpu.tar.gz") as tar:
        assert {f"call-1/{name}.log" for name in stages} <= set(tar.getnames())


def test_a_red_gate_ends_the_call(call: Any) -> None:
    found, passed = call("1", "device", "pass", gate="device")  # a device that could not be named
    assert found["calls"]["1"]["pass"] == {"status": "not run", "why": "device is red"}
    assert found["emulated"] is None
    assert not passed


def test_the_second_call_brings_the_first_ones_results(call: Any) -> None:
    call("1", "pass")
    found, passed = call("2", "absent")
    assert passed
    assert {name: list(stages) for name, stages in found["calls"].items()} == {"1": ["pass"], "2": ["absent"]}
    found, _ = call("1", "absent")  # again: its old results are gone
    assert {name: list(stages) for name, stages in found["calls"].items()} == {
        "1": ["absent"],
        "2": ["absent"],
    }


def test_tests_are_recorded_while_they_run_and_a_lost_context_is_left(tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="the plan runs tests through pytest-xdist")
    (tmp_path / "test_made_up.py").write_text(
        "import pytest\n"
        "dead = False\n"
        "def test_guilty():\n"
        "    global dead\n"
        "    dead = True\n"
        "    raise RuntimeError('cudaErrorIllegalAddress: an illegal memory access')\n"
        "@pytest.mark.parametrize('i', range(6))\n"
        "def test_innocent(i):\n"
        "    assert not dead\n"
        "def test_wrong():\n"
        "    assert 1 == 2, 'one is not two'\n"
        "def test_absent():\n"
        "    pytest.skip('not here')\n"
    )
    fragment = tmp_path / "fragment.json"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "tests.gpu.record", str(tmp_path)],
        env={**os.environ, "XPNET_GPU_FRAGMENT": str(fragment), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    found = json.loads(fragment.read_text())
    assert found["counts"]["passed"] == 6  # in a new process
    assert found["skipped"] == {"Skipped: not here": 1}
    failures = {name.partition("::")[2]: text for name, text in found["failures"].items()}
    assert failures.keys() == {"test_guilty", "test_wrong"}
    assert "one is not two" in failures["test_wrong"]


def test_the_extras_bring_what_compiles_the_kernels() -> None:
    """cupy-cuda13x alone has no NVRTC, no headers and no cuBLAS; below 14.2 it does not cache templates."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for cuda in ("12", "13"):
        (requirement,) = extras[f"cuda{cuda}"]
        name, _, version = requirement.partition(">=")
        assert name == f"cupy-cuda{cuda}x[ctk]"
        assert tuple(map(int, version.split("."))) >= (14, 2)


# ---- on CuPy on the CPU ------------------------------------------------------------------------------------


@pytest.fixture
def on_the_cpu() -> None:
    cupy = pytest.importorskip("cupy", reason="needs CuPy on the CPU: python -m tests.cupy_on_cpu pytest ...")
    if not cupy.__version__.endswith("+cpu"):
        pytest.skip("a dry run is for CuPy on the CPU; this one has a device: run tests/gpu.sh")


@pytest.mark.usefixtures("on_the_cpu")
def test_a_dry_run(tmp_path: Path) -> None:
    """Device and smoke: networks train as on NumPy, and nothing can take the result for a GPU's."""
    work = {"OUT": str(tmp_path), "XPNET_GPU_WORK": str(tmp_path / "work"), "PYTHON": sys.executable}
    command = ["bash", str(ROOT / "tests/gpu.sh"), "1", "--dry", "--only", "device,smoke"]
    ran = subprocess.run(command, env={**os.environ, **work}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["emulated"] is True
    assert found["dry"] is True
    assert "EMULATED" in ran.stdout
    runs = found["calls"]["1"]["smoke"]["result"]
    runs.pop("summary")
    assert set(runs) == {f"{n} {k}" for n in ("mlp", "cnn", "float16") for k in ("fused", "unfused")}
    assert all(run["ok"] for run in runs.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gpu.json", "gpu.tar.gz", "work"]


@pytest.mark.parametrize("wrong", ["differ", "raise"])
def test_smoke_is_red(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """For losses that are not NumPy's, and for an error; the other runs are still told."""

    def train(run: smoke.Run, backend: str, fused: bool) -> list[float]:
        if backend == "cupy" and fused and run.dtype == "float16":
            if wrong == "raise":
                raise RuntimeError("no kernel")
            return [2.0, 1.9]
        return [2.0, 1.0]

    monkeypatch.setattr(smoke, "train", train)
    monkeypatch.delenv("XPNET_GPU_FRAGMENT", raising=False)
    assert smoke.main() == 1
    found = json.loads(capsys.readouterr().out)
    assert [name for name, run in found.items() if name != "summary" and not run["ok"]] == ["float16 fused"]
    assert len(found["summary"]) == 1


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize("right", [True, False])
def test_the_benchmark_checks_on_the_device(monkeypatch: pytest.MonkeyPatch, right: bool) -> None:
    """Tiny sizes there; a wrong result is not timed; without PyTorch's CUDA there is no ratio."""
    cross_entropy = F.cross_entropy
    if not right:
        monkeypatch.setattr(F, "cross_entropy", lambda z, y: cross_entropy(z * 1.001, y))
    run, wrong = device.measure_all("cross_entropy 64x10,norm_cluster")
    assert wrong is not right
    assert run.machine["emulated"]
    assert "torch-cuda" in run.missing
    table = device.table(run)
    loss, norm = (row["xpnet-cupy"] for row in table.values())
    assert norm["seconds"] > 0
    assert norm["to_torch"] is None
    assert ("seconds" in loss) == right
    assert right or "WRONG RESULT" in loss["missing"]


def test_a_first_step_is_judged_by_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_step, "DRY", False)
    assert first_step.judged("cold", 4.9) == "; goal 5 s met"
    assert first_step.judged("cold", 5.1) == "; goal 5 s MISSED"
    assert first_step.judged("warm", 0.5) == "; goal 0.5 s met"
    assert first_step.judged("warm", 0.6) == "; goal 0.5 s MISSED"
    monkeypatch.setattr(first_step, "DRY", True)
    assert first_step.judged("cold", 9.0) == ""
