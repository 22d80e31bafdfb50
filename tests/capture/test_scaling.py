"""A loss scale in captured steps: the bits of eager ones, with updates that overflow; and what it costs."""

import warnings

import numpy as np
import pytest

import xpnet
from tests.capture.test_capture import asked, assert_same, batches
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.core.convert import to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.optim.scaled import DeviceScale
from xpnet.train import GradientClipping, LossScaler, Trainer

CLASSES = 5
BAD = (0, 7, 8, 9, 60, 61, 150)  # of 200 steps


@pytest.fixture(autouse=True)
def captured_here(backend):
    if backend.name not in ("numpy", "cupy"):
        pytest.skip("nothing is captured there")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "(invalid value|overflow) encountered")
        yield


def half():
    return nn.mlp(20, [16], CLASSES, dtype="float16")


def wide():
    return nn.mlp(20, [16], CLASSES)


RULES = {
    "adam": (wide, lambda m: optim.Adam(m, lr=0.01)),
    "sgd": (wide, lambda m: optim.SGD(m, lr=0.05, momentum=0.9, dampening=0.1)),
    "adagrad": (wide, lambda m: optim.Adagrad(m, lr=0.05, lr_decay=0.1)),
    "chain": (wide, lambda m: optim.chain(optim.ClipNorm(0.5), optim.AdamW(m, lr=0.01))),
    "half": (half, lambda m: optim.Adam(m, lr=0.01)),
}


def trained(name, captured, steps=200):
    make, rule = RULES[name]
    xpnet.manual_seed(1)
    model = make()
    optimizer, scaler = rule(model), LossScaler(2.0**10, growth_interval=20)

    def step(x, y):
        optimizer.zero_grad()
        with scaler.expected(model):
            loss = F.cross_entropy(model(x), y)
        scaler.backward(loss)
        scaler.step(optimizer)
        return loss

    step, losses = xpnet.capture(step) if captured else step, []
    for i, (x, y) in enumerate(batches(steps)):
        x = np.where(i in BAD and np.arange(20) == 3, np.float32(np.inf), x)
        losses.append(step(xpnet.asarray(x, str(model[0].weight.dtype)), xpnet.asarray(y)).item())
    data = [xpnet.asarray(a) for a in batches(1)[0]]
    if captured and name != "half":
        assert step.graphs == 1
        asked(lambda: step(*data))
    elif name != "half":
        step(*data)
    state = optimizer.state_dict()["state"]
    moments = [to_numpy(v) for values in state.values() for v in values.values()]
    weights = [to_numpy(p.data) for p in model.parameters()]
    return losses, [*moments, *weights], scaler.state_dict()


def same(found, want):
    np.testing.assert_array_equal(found[0], want[0])  # NaN where it overflowed
    assert_same(([], found[1], found[2]), ([], want[1], want[2]))


@pytest.mark.parametrize("name", list(RULES))
def test_200_steps_some_of_which_overflow(name):
    found, want = trained(name, True), trained(name, False)
    same(found, want)
    assert want[2]["skipped"] == len(BAD)
    assert all(np.isfinite(a).all() for a in want[1])


@pytest.mark.parametrize("name", ["adam", "sgd", "adagrad"])
def test_a_device_that_is_behind_the_host(name, monkeypatch, backend):
    """A GPU is asked for more steps before it says that one overflowed; here it says so at once."""
    if backend.name != "cupy":
        pytest.skip("the host knows")
    poll, late = DeviceScale._poll, []

    def deaf(self):
        if self._sent % 4 == 3:
            return poll(self)
        late.append((int(self._host[0]) & 0xFFFFFFFF) - self.skipped)
        return (float(self.skipped),)

    want = trained(name, False)
    monkeypatch.setattr(DeviceScale, "_poll", deaf)
    same(trained(name, True), want)
    assert max(late) >= 2


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"l2": 1e-3}, {"clip": 0.5}], ids=str)
def test_trainer(options, backend):
    """The scale grows until the gradient of the loss is infinite in float16, and again."""
    if backend.name == "numpy" and ("l2" in options or "clip" in options):
        pytest.skip("there the host decides")
    rest = {k: v for k, v in options.items() if k != "clip"}
    callbacks = [GradientClipping(options["clip"])] if "clip" in options else []
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((100, 20)).astype(np.float16), rng.integers(0, CLASSES, 100))

    def run(captured):
        xpnet.manual_seed(1)
        model = half()
        scaler = LossScaler(2.0**14, growth_interval=3, largest=2.0**20)
        optimizer = optim.Adam(model, lr=0.01)
        trainer = Trainer(
            model, F.cross_entropy, optimizer, callbacks, metrics=[], scaler=scaler, capture=captured, **rest
        )
        history = trainer.fit(DataLoader(data, 10, seed=1), epochs=6)
        return history["train_loss"], [to_numpy(model.theta)], scaler.state_dict()

    found, want = run(True), run(False)
    assert_same(found, want)
    assert want[2]["skipped"] > 1


REFUSED = {
    "reads the scale": (
        lambda m: optim.SGD(m, lr=0.1),
        lambda scaler, loss, optimizer: (
            loss.backward(xpnet.asarray(np.float32(scaler.scale))), scaler.step(optimizer)
        ),
        "it reads a LossScaler; use its backward",
    ),
    "no optimizer": (
        lambda m: optim.SGD(m, lr=0.1),
        lambda scaler, loss, optimizer: (
            scaler.backward(loss), scaler.unscale(optim.gradients.gradients_of(optimizer.model)),
        ),
        "a LossScaler without the optimizer of the step waits",
    ),
    "a rate of the steps": (
        lambda m: optim.SGD(m, lr=lambda t: 0.1),
        lambda scaler, loss, optimizer: (scaler.backward(loss), scaler.step(optimizer)),
        "a rate that is a function of the steps waits",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", list(REFUSED))
def test_what_waits_for_the_host_is_refused_by_name(what, backend):
    if backend.name != "cupy":
        pytest.skip("the host does not wait for itself")
    rule, end, reason = REFUSED[what]
    model = wide()
    optimizer, scaler = rule(model), LossScaler(2.0**4)
    optimizer.model = model

    @xpnet.capture
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        end(scaler, loss, optimizer)
        return loss

    data = [(xpnet.asarray(x), xpnet.asarray(y)) for x, y in batches(4)]
    step(*data[0])
    step(*data[1])
    with pytest.warns(RuntimeWarning, match=f"capture: step runs as it is: {reason}"):
        step(*data[2])
    step(*data[3])


def test_what_an_update_costs(backend):
    """Two launches more than without a scale, and one pass over the gradients, which reads them."""
    if backend.name != "cupy":
        pytest.skip("counted on the emulated device")
    cpucuda = pytest.importorskip("cpucuda")

    def counted(scaler):
        xpnet.manual_seed(0)
        model = nn.mlp(20, [16], CLASSES)
        optimizer = optim.Adam(model)
        x, y = map(xpnet.asarray, batches(1)[0])

        def step():
            optimizer.zero_grad()
            if scaler is None:
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                return
            with scaler.expected(model):
                loss = F.cross_entropy(model(x), y)
            scaler.backward(loss)
            scaler.step(optimizer)

        for _ in range(3):
            step()
        with cpucuda.count(places=True) as n:
            step()
        assert n.synchronisations == n.device_to_host == n.device_to_device == n.memsets == 0, n
        return n

    plain, scaled = counted(None), counted(LossScaler(2.0**10))
    more = scaled.kernels - plain.kernels
    assert sum(more.values()) == scaled.launches - plain.launches == 2, scaled
    assert sorted(name.partition("<")[0] for name in more) == ["adapt", "look"]
    assert scaled.allocation_bytes == plain.allocation_bytes == 0
    assert scaled.host_to_device == plain.host_to_device <= 1
