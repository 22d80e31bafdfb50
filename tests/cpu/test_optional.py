"""The CPU kernels are optional: without them the Array API bodies run, and `xpnet info` says why."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cpu.native import needs_native
from xpnet.cpu import launch

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]
WITHOUT = "import sys; sys.modules['xpnet.cpu._native'] = None\n"
STEP = """
import numpy as np, xpnet
from xpnet import functional as F, nn, optim
x = np.random.default_rng(0).normal(size=(4096, 16)).astype(np.float32)
xpnet.manual_seed(0)
model = nn.Sequential(
    nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16)
)
optimizer = optim.Adam(model, lr=0.1)
loss = F.cross_entropy(model(xpnet.tensor(x)), np.arange(4096) % 16)
loss.backward()
optimizer.step()
print(*F.relu.kernels)
print(loss.item(), *np.asarray(model.theta))
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return done.stdout


@needs_native
def test_without_the_extension_the_bodies_run():
    kernels, found = run(STEP).splitlines()
    nothing, expected = run(WITHOUT + STEP).splitlines()
    assert (kernels, nothing) == ("numpy", "")
    found, expected = (np.array(line.split(), float) for line in (found, expected))
    # one update of Adam is lr sign(g): where g is nearly 0 its sign may differ
    close = np.abs(found - expected) < 1e-5
    assert close[0]
    assert close.mean() > 0.97


def test_info_says_what_there_is():
    command = "from xpnet.cli import main; sys.exit(main(['info']))"
    assert "CPU kernels: not built: there was no C compiler" in run(WITHOUT + command)
    if launch.Native is not None:
        line = next(
            s for s in run("import sys;" + command, XPNET_NUM_THREADS="3").splitlines() if "CPU k" in s
        )
        assert line == f"CPU kernels: ready, for {launch.Native.instructions} instructions, 3 threads"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XPNET_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"XPNET_NUM_THREADS": "many", "OMP_NUM_THREADS": "2"}, 2),
        ({"XPNET_NUM_THREADS": "\u00b2", "OMP_NUM_THREADS": "0003"}, 3),
    ],
)
def test_number_of_threads(variables, expected, monkeypatch):
    for name in ("XPNET_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = launch.default_threads()
    assert 1 <= cores <= (os.cpu_count() or 1)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.default_threads() == expected


@needs_native
def test_bad_arguments_are_refused():
    x = np.ones((4, 6), np.float32)
    with pytest.raises(TypeError, match="relu: argument 1: expected a contiguous array"):
        launch.run("relu", np.empty((4, 3), np.float32), x[:, ::2])
    frozen = x.copy()
    frozen.flags.writeable = False
    with pytest.raises(TypeError, match="relu: argument 0: expected a contiguous array that can be written"):
        launch.run("relu", frozen, x)
    with pytest.raises(TypeError, match="relu: expected 2 arguments, got 1"):
        launch.run("relu", x)
    with pytest.raises(TypeError):
        launch.run("sgd_f32", x, x, None, False, "fast", 0.0, 0.0, False, 0.0)
    with pytest.raises(TypeError, match="no kernel 999"):
        launch.Native.run(999, x)


@needs_native
@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory")
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize(
    ("kernel", "arrays"),
    [
        # 77 MB of the caller
        ("gemm", "x, w, y = ones(300_000, 64), ones(64, 300), ones(300_000, 300)"),
        # 48 MB of each task
        ("correlate", "x, w, y = ones(2, 4, 1_000_000, 3), ones(4, 4, 2, 1), ones(2, 4, 1, 3)"),
    ],
)
def test_no_memory_is_an_error(kernel, arrays, threads):
    """In the caller and in the pool's threads; what follows has its memory again."""
    code = f"""
import resource, numpy as np
from xpnet.cpu.launch import run
ones = lambda *shape: np.ones(shape, "f4")
{arrays}
sizes = np.array([2, 4, 1_000_000, 3, 4, 1, 3, 2, 1, 0, 0, 1, 1, 999_999, 1, 1])
products = lambda x, w, y: (x, x.shape[1], 1, w, w.shape[1], 1, y, w.shape[1], *y.shape, len(w), None, 0)
small = products(ones(640, 64), ones(64, 200), ones(640, 200))
for _ in range(100):
    run("gemm", *small)  # starts the threads; each has scratch
arguments = products(x, w, y) if {kernel!r} == "gemm" else (x, w, None, y, sizes)
with open("/proc/self/statm") as f:
    used = int(f.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), -1))
try:
    run({kernel!r}, *arguments)
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
run("gemm", *small)
run({kernel!r}, *arguments)
print(y.min(), y.max())
"""
    values = {"gemm": "64.0 64.0", "correlate": "8.0 8.0"}[kernel]
    message = f"{kernel}: no memory for its intermediate results"
    # one arena: glibc gives a thread that has allocated one of 64 MB, in which 48 would still be found
    assert run(code, XPNET_NUM_THREADS=threads, MALLOC_ARENA_MAX="1").splitlines() == [message, values]


@pytest.mark.skipif(os.name == "nt", reason="another compiler")
def test_without_a_compiler_the_installation_goes_on(tmp_path):
    pytest.importorskip("setuptools")
    shutil.copytree(ROOT / "xpnet/cpu/native", tmp_path / "xpnet/cpu/native")
    shutil.copy(ROOT / "setup.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "CC": "no-such-compiler"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "xpnet.cpu._native" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.so"))
