"""Fused CPU kernels are optional: whatever keeps Numba from working is one warning, and the run goes on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.cpu import launch

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.host
X = np.random.default_rng(0).normal(size=(4096, 16)).astype(np.float32)
Y = np.arange(4096) % 16


def step():
    """Loss and weights after an update, with every kernel of a perceptron."""
    xpnet.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16)
    )
    optimizer = optim.Adam(model, lr=0.1)
    loss = F.cross_entropy(model(xpnet.tensor(X)), Y)
    loss.backward()
    optimizer.step()
    return np.append(np.asarray(model.theta), loss.item())


@pytest.fixture
def fresh(monkeypatch):
    """No kernel loaded yet."""
    monkeypatch.setattr(launch, "_kernels", {})
    monkeypatch.setattr(launch, "_broken", False)
    monkeypatch.setattr(launch, "PARALLEL", 0)


def broken_import(monkeypatch):
    def refuse(name):
        raise SystemError("half installed")

    monkeypatch.setattr(launch.importlib, "import_module", refuse)


def broken(error, times):
    """A kernel whose first calls raise."""

    def make(monkeypatch):
        real, seen = launch._locked, set()

        def locked(function):
            if function.name in seen:
                return real(function)
            seen.add(function.name)
            left = [times]

            def failing(form):
                class Form:
                    _cache = None

                    def __call__(self, *args):
                        if left[0]:
                            left[0] -= 1
                            raise error
                        return form(*args)

                return Form()

            forms = {form: failing(getattr(function, form)) for form in ("parallel", "serial")}
            return real(function._replace(**forms))

        monkeypatch.setattr(launch, "_locked", locked)

    return make


FAULTS = {
    "Numba does not load": broken_import,
    "a full disk": broken(OSError(28, "No space left on device"), 1),
    "threads cannot start": broken(RuntimeError("workqueue"), 1),
    "a kernel does not compile": broken(numba.core.errors.TypingError("no"), 99),
}


@pytest.mark.parametrize("fault", ["Numba does not load", "a full disk", "threads cannot start"])
def test_a_step_goes_on_with_a_warning(fault, fresh, monkeypatch, caplog):
    with xpnet.fused(False):
        expected = step()
    FAULTS[fault](monkeypatch)
    found = step()
    said = [record.message for record in caplog.records]
    step()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert said
    assert len(caplog.records) == len(said)  # each once
    assert all("CPU kernel" in line for line in said)


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.batch_norm(X, training=True),
        lambda: F.cross_entropy(X, Y),
        lambda: F.dropout(X, 0.5),
        lambda: F.conv2d(X.reshape(-1, 1, 32, 32), np.ones((1, 1, 3, 3), np.float32)),
        lambda: F.max_pool2d(X.reshape(-1, 1, 32, 32), 2),
    ],
)
def test_what_does_not_compile_is_left_to_numpy(call, fresh, monkeypatch, caplog):
    with xpnet.fused(False):
        xpnet.manual_seed(0)
        expected = call()
    FAULTS["a kernel does not compile"](monkeypatch)
    xpnet.manual_seed(0)
    found = call()
    assert "is off, NumPy takes its place: TypingError: no" in caplog.text
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("where", ["nowhere", "NUMBA_CACHE_DIR"])
def test_a_package_that_cannot_be_written_to(where, tmp_path):
    package = Path(xpnet.__file__).parent
    shutil.copytree(package, tmp_path / "xpnet", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "xpnet/cpu/jit/__pycache__").write_text("")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
    env.pop("NUMBA_CACHE_DIR", None)
    if where != "nowhere":
        env[where] = "/proc/none"
    code = (
        "import numpy as np, xpnet; from xpnet import functional as F\n"
        "x = xpnet.tensor(np.ones((300, 300), np.float32), requires_grad=True)\n"
        "F.relu(x).sum().backward(); print(int(x.grad.sum()))"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", code], env=env, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.stdout == "90000\n", run.stderr
    assert run.stderr.count("CPU kernels are compiled anew in every process") == 1


WITHOUT = {
    "no stderr": "sys.stderr = None",
    "a closed stderr": "sys.stderr.close()",
    "a stderr that can only write": "sys.stderr = types.SimpleNamespace(write=len, flush=lambda: None)",
    "another numba": "sys.modules['numba'] = types.ModuleType('numba')",
    "an import hook that fails": "sys.meta_path.insert(0, types.SimpleNamespace(find_spec=refuse))",
}
RUN = """
import sys, types, numpy as np
def refuse(name, *_): 1 / (name != "numba")
{}
from xpnet import functional as F, nn, optim
from xpnet.train import Progress, Trainer
model = nn.Linear(2, 2)
data = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
Trainer(model, F.cross_entropy, optim.SGD(model), [Progress()]).fit(data, epochs=1)
print("trained")
"""


@pytest.mark.parametrize("what", WITHOUT)
def test_a_run_without_what_is_optional(what):
    code = RUN.format(WITHOUT[what])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "trained" in run.stdout, run.stderr
