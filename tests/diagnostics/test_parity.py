"""Every backend against NumPy's Array API bodies, op by op and in a run; and that a fault is found."""

import json
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.cases import CASES
from xpnet import functional as F
from xpnet import nn, parity, random
from xpnet.cli import main
from xpnet.core import registry as dispatch
from xpnet.data import load_digits
from xpnet.functional.dropout import philox_dropout

X, Y = (xpnet.to_numpy(a) for a in (load_digits().x, load_digits().y))
X = (X.reshape(len(X), -1) - X.mean()) / X.std()


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 32), nn.ELU(),
        nn.LayerNorm(32), nn.Linear(32, 10),
    )  # fmt: skip


def convolutional() -> nn.Sequential:
    branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.LeakyReLU())
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Residual(branch), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(54, 10),
    )  # fmt: skip


def batches(n: int, size: int = 32) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(X[i], Y[i]) for i in (rng.integers(0, len(X), size) for _ in range(n))]


@pytest.fixture
def other(backend):
    """A backend to compare with NumPy; NumPy itself is where the reference runs."""
    if backend == "numpy":
        pytest.skip("NumPy against itself")
    return str(backend)


def gradients(case):
    inputs = [xpnet.tensor(a, requires_grad=True, dtype="float32") for a in case.inputs()]
    y = case.function(*inputs)
    y.backward(xpnet.asarray(np.cos(1.0 + np.arange(y.size)).reshape(y.shape), "float32"))
    return [y.numpy(), *(xpnet.to_numpy(x.grad) for x in inputs)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_op(case, other):
    found = gradients(case)
    xpnet.manual_seed(0)
    with xpnet.use_backend("numpy"), xpnet.fused(False):
        expected = gradients(case)
    for a, b in zip(found, expected, strict=True):
        assert parity.difference(a, b).relative <= parity.TOLERANCE["float32"]


OPTIMIZERS = {
    "SGD": (xpnet.optim.SGD, {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "Nesterov": (xpnet.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "Adagrad": (xpnet.optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    "Adadelta": (xpnet.optim.Adadelta, {"weight_decay": 0.01}),
    "RMSprop": (xpnet.optim.RMSprop, {"momentum": 0.9, "centered": True, "eps": 1e-3}),
    "Adam": (xpnet.optim.Adam, {"amsgrad": True, "weight_decay": 0.01}),
    "AdamW": (xpnet.optim.AdamW, {}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name, other):
    """Twenty steps with the same grads: no chaos, only the rule."""
    rule, options = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=1003).astype("float32"), rng.normal(size=(20, 1003)).astype("float32")

    def path():
        x = xpnet.tensor(xpnet.asarray(start.copy()), requires_grad=True)
        optimizer = rule([x], lr=0.01, **options)
        for g in grads:
            x.grad = xpnet.asarray(g)
            xpnet.optim.clip_grad_norm([x], 20.0)
            optimizer.step()
        return x.numpy()

    found = path()
    with xpnet.use_backend("numpy"), xpnet.fused(False):
        expected = path()
    assert parity.difference(found, expected).relative <= parity.TOLERANCE["float32"]


@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_every_layer(make, other):
    with xpnet.use_backend("numpy"):
        model = make()
    x = X[:48].reshape(-1, 1, 8, 8) if make is convolutional else X[:48]
    report = parity.compare(model, x, Y[:48], ("numpy", other))
    assert report.ok, report.table()
    kinds = [row.kind for row in report.layers]
    assert kinds[-1] == "loss"
    assert len(kinds) == 1 + sum(len(m.modules()) == 1 for m in model.modules())


def test_two_hundred_steps(other):
    with xpnet.use_backend("numpy"):
        row = parity.compare_run(perceptron(), batches(200), ("numpy", other))
    assert row.ok, row
    assert row.name == "200 steps"


# ---- the comparison itself ----

once = pytest.mark.host


@once
def test_difference_counts_representable_numbers():
    one = np.ones(3, np.float32)
    next_to = np.nextafter(one, np.float32(2))
    assert parity.difference(one, one) == parity.Difference(0, 0)
    assert parity.difference(next_to, one) == parity.Difference(2.0**-23, 1)
    assert parity.difference(one.astype("float64"), np.nextafter(np.ones(3), 0)).ulp == 1
    tiny = np.float32([1.4e-45])
    assert parity.difference(tiny, -tiny).ulp == 2  # zero has one place, whatever its sign
    assert parity.difference(np.float32([0.0]), np.float32([-0.0])) == parity.Difference(0, 0)
    assert parity.difference(np.float16([1.0]), np.float16([1 + 2**-9])).ulp == 2
    # a small element's relative error counts against the largest one, and its ulps not at all
    assert parity.difference(np.float32([1000, 1e-3]), np.float32([1000, 2e-3])).ulp == 0
    assert parity.difference(np.float32([1000, 1e-3]), np.float32([1000, 2e-3])).relative == pytest.approx(
        1e-6
    )


@once
def test_difference_of_nan_infinity_and_shapes():
    nan, inf = np.float32("nan"), np.float32("inf")
    same = np.array([nan, inf, -inf, 1], np.float32)
    assert parity.difference(same, same.copy()) == parity.Difference(0, 0)
    for value in (nan, inf):
        assert parity.difference(np.array([1, value]), np.array([1, np.float32(1)])).relative == np.inf
    assert parity.difference(np.float32([1]), np.float32([0])).relative == np.inf
    with pytest.raises(ValueError, match="cannot compare float32 of shape"):
        parity.difference(np.zeros(3, np.float32), np.zeros(4, np.float32))


@pytest.fixture
def faulty(monkeypatch):
    """A kernel for array_api_strict that is wrong in its last digits."""

    def plant(op, launcher):
        monkeypatch.setitem(op.kernels, "array_api_strict", dispatch.Kernel(launcher, 0))

    return plant


STRICT = ("numpy", "array_api_strict")


@once
def test_the_first_layer_that_diverges_is_named(faulty):
    def wrong(x, alpha=1.0):
        y, pullback = F.elu.body(x, alpha)
        return y, lambda dy: pullback(dy) * (1 + 1e-5)

    model = perceptron()
    assert parity.compare(model, X[:16], Y[:16], STRICT).ok
    faulty(F.elu, wrong)
    report = parity.compare(model, X[:16], Y[:16], STRICT)
    assert not report.ok
    assert (report.first.name, report.first.kind) == ("5", "ELU")
    assert report.first.output.relative == 0
    assert report.first.gradient.relative == pytest.approx(1e-5, rel=0.1)
    assert [row.kind for row in report.layers if not row.ok] == [
        "ELU"
    ]  # layers after it are judged on their own
    assert "first to diverge: 5 (ELU)" in report.table()


@once
def test_a_wrong_running_statistic_shows(faulty):
    def wrong(x, mean=None, var=None, *args, **kwargs):
        result = F.batch_norm.body(x, mean, var, *args, **kwargs)
        var *= 1.001
        return result

    faulty(F.batch_norm, wrong)
    assert parity.compare(perceptron(), X[:16], Y[:16], STRICT).first.kind == "BatchNorm1d"


@once
def test_other_draws_show(faulty):
    def wrong(x, p, key):
        return philox_dropout.body(x, p, random.Key(key.seed, 9, key.step))

    assert all(parity.compare_draws(STRICT).values())
    faulty(philox_dropout, wrong)
    draws = parity.compare_draws(STRICT)
    assert [name for name, same in draws.items() if not same] == ["dropout masks"]


@once
def test_a_wrong_step_shows_in_the_run(faulty):
    def wrong(theta, grad, velocity, h, step):
        xpnet.optim.rules.sgd_step.body(theta, grad, velocity, h._replace(lr=h.lr * 1.2), step)

    model = perceptron()
    assert parity.compare_run(model, batches(20), STRICT).ok
    faulty(xpnet.optim.rules.sgd_step, wrong)
    assert not parity.compare_run(model, batches(20), STRICT).ok


@once
def test_nothing_is_left_changed():
    model = perceptron()
    before = {k: v.copy() for k, v in model.state_dict().items()}
    random.generators[random.DROPOUT].next_key()
    state = random.generator_state()
    parity.compare(model, X[:16], Y[:16], STRICT, batches=batches(2))
    assert random.generator_state() == state
    assert xpnet.get_backend() == "numpy"
    assert all((before[k] == v).all() for k, v in model.state_dict().items())
    assert all("forward" not in vars(m) for m in model.modules())


@once
def test_a_layer_used_twice_and_a_model_that_is_one_layer():
    twice = nn.Linear(64, 64)
    report = parity.compare(nn.Sequential(twice, nn.Tanh(), twice), X[:8], Y[:8], STRICT)
    assert [row.kind for row in report.layers] == ["Linear", "Tanh", "Linear", "loss"]
    assert report.ok, report.table()
    assert [row.name for row in parity.compare(twice, X[:8], Y[:8], STRICT).layers] == [
        "model",
        "whole model",
    ]


@once
@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_command(tmp_path, monkeypatch, capsys, faulty):
    monkeypatch.chdir(tmp_path)
    command = ["parity", "--backends", "numpy,array_api_strict", "--steps", "3", "--json", "parity.json"]
    assert main(command) == 0
    assert "dropout masks: bit for bit" in capsys.readouterr().out
    report = json.loads(Path("parity.json").read_text())
    assert report["ok"]
    assert [row["kind"] for row in report["layers"]][:3] == ["Linear", "BatchNorm1d", "ReLU"]
    assert report["run"]["name"] == "3 steps"

    cnn = [*command, "--steps", "0", "--model", "cnn", "--batch-size", "4"]
    assert main(cnn) == 0
    assert "Conv2d" in capsys.readouterr().out

    faulty(F.relu, lambda x: (x + float("inf"), lambda dy: dy))
    assert main([*command, "--steps", "0"]) == 1
    assert "first to diverge: 2 (ReLU)" in capsys.readouterr().out
    report = json.loads(Path("parity.json").read_text())
    assert report["layers"][2]["output"]["relative"] is None
    assert report["run"] is None


@once
def test_the_command_refuses_bad_input(capsys):
    for options, message in [
        (["--backends", "numpy"], "expected two of numpy, cupy"),
        (["--backends", "numpy,jax"], "expected two of"),
        (["--steps", "-1"], "whole number of at least 0"),
        (["--json", "nowhere/parity.json"], "nowhere"),
    ]:
        assert main(["parity", *options]) == 2
        assert message in capsys.readouterr().err
