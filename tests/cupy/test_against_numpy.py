"""The same computation on CuPy and on NumPy: every op, whole runs, a command, a checkpoint handed over."""

import json

import numpy as np
import pytest

import xpnet
from tests.cases import CASES
from tests.functional.test_ops import gradients, tensors
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.cli import main
from xpnet.data import DataLoader, Dataset
from xpnet.diagnostics.parity import difference
from xpnet.train import Checkpoint, Trainer

TOLERANCE = {"float32": 3e-6, "float64": 1e-12}
each_path = pytest.mark.parametrize("fused", [True, False], ids=["fused", "bodies"])


pytestmark = pytest.mark.usefixtures("cupy")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", TOLERANCE)
@each_path
def test_every_op(case, dtype, fused):
    results = []
    for name in ("numpy", "cupy"):
        with xpnet.use_backend(name), xpnet.fused(fused):
            xpnet.manual_seed(0)
            y, found = gradients(case, tensors(case.inputs(), dtype))
            results.append([y.numpy(), *found])
    for ours, expected in zip(*results[::-1], strict=True):
        assert ours.dtype == expected.dtype
        assert difference(ours, expected).relative <= TOLERANCE[dtype]


# no bias before batch norm: its gradient is all rounding, which Adam would blow up
def mlp():
    return nn.Sequential(
        nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.25), nn.Linear(32, 10)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def digits(pictures):
    data = xpnet.data.load_digits()
    x = data.x.astype(np.float32) / 16
    return Dataset(x.reshape(-1, 1, 8, 8) if pictures else x, data.y)


def run(model, data, steps):
    """Initial weights, the first batch, the first dropout mask, and the losses of so many steps."""
    xpnet.manual_seed(3)
    model = model()
    start = [to_numpy(p.data).copy() for p in model.parameters()]
    optimizer, losses, first = optim.Adam(model, lr=1e-3), [], None
    loader = DataLoader(data, 16, shuffle=True)
    while len(losses) < steps:
        for x, y in loader:
            if first is None:
                first = [to_numpy(x), to_numpy(y)]
                state = xpnet.random.generator_state()
                mask = F.dropout(xpnet.asarray(np.ones((16, 32), np.float32)), 0.25, True)
                first.append(to_numpy(mask))
                xpnet.random.set_generator_state(state)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xpnet.tensor(x)), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.data)
    return start, first, np.array([float(v) for v in losses[:steps]])


@pytest.mark.parametrize(("model", "steps"), [(mlp, 200), (cnn, 60)])
@each_path
def test_many_steps(model, steps, fused):
    found = []
    for name in ("numpy", "cupy"):
        with xpnet.use_backend(name), xpnet.fused(fused):
            found.append(run(model, digits(model is cnn), steps))
    (weights, first, losses), (ours, our_first, our_losses) = found
    for a, b in zip([*weights, *first], [*ours, *our_first], strict=True):
        np.testing.assert_array_equal(a, b)  # weights, order and masks: the same bits
    assert losses[-20:].mean() < losses[:20].mean() - 0.0005 * steps
    np.testing.assert_allclose(our_losses, losses, rtol=1e-5)


@each_path
def test_the_command_gives_the_same_confusion_matrix(fused, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # not Adam: its steps are as long where a gradient is a rounding error, which then is seen in the loss
    options = ["--epochs", "3", "--optimizer", "nesterov"]
    found = []
    with xpnet.fused(fused):
        for name in ("numpy", "cupy"):
            path = tmp_path / f"{name}.json"
            assert main(["train", "digits", *options, "--backend", name, "--json", str(path)]) == 0
            found.append(json.loads(path.read_text()))
    ours, theirs = found
    np.testing.assert_allclose(ours["history"]["val_loss"], theirs["history"]["val_loss"], rtol=1e-5)
    assert ours["test"]["confusion"] == theirs["test"]["confusion"]
    assert np.trace(ours["test"]["confusion"]) > 300


@pytest.mark.parametrize(("first", "second"), [("numpy", "cupy"), ("cupy", "numpy")])
def test_a_checkpoint_resumes_on_the_other_backend(first, second, tmp_path):
    path = tmp_path / "run.safetensors"

    def fit(name, epochs, resume=None):
        with xpnet.use_backend(name):
            xpnet.manual_seed(5)
            model = mlp()
            trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=1e-3), [Checkpoint(path)])
            history = trainer.fit(DataLoader(digits(False), 32), epochs=epochs, resume=resume)
            return history["train_loss"], [to_numpy(p.data).copy() for p in model.parameters()]

    whole, weights = fit(first, 4)
    fit(first, 2)
    losses, ours = fit(second, 4, resume=path)
    np.testing.assert_allclose(losses, whole, rtol=1e-5)
    for a, b in zip(weights, ours, strict=True):
        assert difference(b, a).relative < 1e-3
