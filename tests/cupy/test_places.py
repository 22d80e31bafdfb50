"""CuPy: single lines about devices and notes that no other test would miss."""

import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.train import Callback, Trainer

pytestmark = pytest.mark.usefixtures("cupy")


def data():
    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    return x, np.arange(8) % 3


def test_a_fit_that_failed_leaves_no_note():
    class Broken(Callback):
        def on_batch_end(self, trainer):
            raise KeyError("broken")

    x, y = data()
    y[2] = 9
    model = nn.Linear(6, 3)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), [Broken()])
    with pytest.raises(KeyError, match="broken"):
        trainer.fit([(xpnet.asarray(x), xpnet.asarray(y))], epochs=1)
    assert np.isfinite(to_numpy(xpnet.asarray(x) + 1)).all()


def test_notes_are_discarded_when_the_device_has_done_its_work():
    cpucuda = pytest.importorskip("cpucuda")
    x, y = data()
    F.nll_loss(xpnet.asarray(x), xpnet.asarray(y % 3))
    with cpucuda.count() as n:
        xpnet.notes.discard_errors()
    assert n.synchronisations >= 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_and_noise_follow_their_arrays(dtype, fused, second):
    found = []
    for device in (0, second):
        xpnet.manual_seed(0)
        with xpnet.use_backend("cupy", device), xpnet.fused(fused):
            p = xpnet.tensor(xpnet.asarray(np.ones(8, np.float32), dtype), requires_grad=True)
            optimizer = optim.Adam([p], lr=0.1)
            noise = optim.GradientNoise([p], eta=0.1)
            gradient = xpnet.asarray(np.arange(8, dtype=np.float32), dtype)
            p.grad = gradient
            noise()  # the vector is made here
            optimizer.step()
        with xpnet.use_backend("numpy"), xpnet.fused(fused):
            for _ in range(2):
                noise()
                optimizer.step()
        assert p.data.device.id == device
        found.append(to_numpy(p.data).astype(np.float32))
    np.testing.assert_array_equal(*found)


def test_set_backend_makes_its_device_current(second, cupy):
    found = []

    def work():  # in a thread: its current device is its own
        with xpnet.use_backend("cupy", 0):
            xpnet.set_backend("cupy", second)
            found.append(cupy.zeros(1).device.id)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [second]


def test_batches_made_ahead_are_on_the_device_in_use(second):
    with xpnet.use_backend("cupy", second):
        batches = list(DataLoader(Dataset(*data()), 4, prefetch=2))
    assert {a.device.id for pair in batches for a in pair} == {second}


def test_the_extras_bring_what_cupy_needs():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for cuda in ("12", "13"):
        assert f"cupy-cuda{cuda}x[ctk]>=14.2" in project["optional-dependencies"][f"cuda{cuda}"]
