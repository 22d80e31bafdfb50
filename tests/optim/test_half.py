"""Steps of 16-bit parameters are float32's, rounded: nothing overflows, vanishes or is lost in the sum."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.train import LossScaler, Trainer

RULES = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "SGD momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01),
    "Adadelta": lambda p: optim.Adadelta(p),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "RMSprop centered": lambda p: optim.RMSprop(p, lr=0.01, centered=True, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adam amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "RAdam up": lambda p: optim.RAdam(p, lr=0.01, maximize=True),
    "SGD up": lambda p: optim.SGD(p, lr=0.01, maximize=True),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01),
    "Lion": lambda p: optim.Lion(p, lr=0.01),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
    "ASGD": lambda p: optim.ASGD(p, lr=0.01, t0=2),
    "LAMB": lambda p: optim.LAMB(p, lr=0.01),
}
GRADIENTS = [0.0, 6e-8, 1e-4, 1.0, 300.0, -6e4]


@pytest.fixture(params=["float16", "bfloat16"])
def half(request, backend):
    if backend == "array_api_strict":
        pytest.skip("this backend has no such type")
    if backend == "numpy" and request.param == "bfloat16":
        return pytest.importorskip("ml_dtypes").bfloat16
    return request.param


def parameter(values, dtype):
    return xpnet.tensor(xpnet.asarray(np.float32(values), dtype), requires_grad=True)


def host(x):
    return to_numpy(x).astype(np.float32)


def paths(make, dtype, steps, start=1.0):
    """Parameters of a half type, and of float32 with the same gradients, after some steps."""
    low, high = (parameter(np.full(len(GRADIENTS), start), d) for d in (dtype, "float32"))
    rules = make([low]), make([high])
    for _ in range(steps):
        low.grad = xpnet.asarray(np.float32(GRADIENTS), dtype)
        high.grad = xpnet.asarray(host(low.grad))
        for rule in rules:
            rule.step()
    return low, high, rules


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("steps", [1, 30])
def test_steps_are_those_of_float32_rounded(name, steps, half):
    low, high, _ = paths(RULES[name], half, steps)
    expected = xpnet.asarray(high.data, half) if isinstance(half, str) else high.data.astype(half)
    np.testing.assert_array_equal(host(low.data), host(expected))


def test_updates_below_the_last_bit_add_up(half):
    theta = parameter([1.0], half)
    rule = optim.SGD([theta], lr=1e-4)
    for _ in range(1000):
        theta.grad = xpnet.asarray(np.float32([1.0]), half)
        rule.step()
    assert host(theta.data)[0] == pytest.approx(0.9, abs=2e-3)


@pytest.mark.parametrize("name", RULES)
def test_a_state_is_kept_and_restored(name, half):
    low, _, (rule, _) = paths(RULES[name], half, 3)
    other = parameter(host(low.data), half)
    resumed = RULES[name]([other])
    resumed.load_state_dict(rule.state_dict())
    for _ in range(20):
        for p in (low, other):
            p.grad = xpnet.asarray(np.float32(GRADIENTS), half)
        rule.step()
        resumed.step()
    np.testing.assert_array_equal(host(low.data), host(other.data))


def test_parameters_that_somebody_else_writes_are_taken(half):
    theta = parameter([1.0, 1.0], half)
    rule = optim.SGD([theta], lr=0.5)
    for expected in (0.5, 4.5):
        theta.grad = xpnet.asarray(np.float32([1.0, 1.0]), half)
        rule.step()
        assert host(theta.data).tolist() == [expected, expected]
        theta.data[...] = xpnet.asarray(np.float32([5.0, 5.0]), half)


def as_half(model, dtype):
    for p in model.parameters():
        p.data = xpnet.asarray(host(p.data), dtype)
    return model


@pytest.mark.parametrize("scaled", [True, False])
def test_a_half_model_trains_as_well_as_a_float32_one(scaled, half, backend):
    if not isinstance(half, str) and scaled:
        pytest.skip("bfloat16 needs no scaler")
    train, validation, _ = split(load_digits(), seed=0)
    accuracies = []
    for kind in ("float32", half):
        xpnet.manual_seed(0)
        model = as_half(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), kind)
        data = [
            Dataset(xpnet.asarray(to_numpy(part.x) / np.float32(16), kind), part.y)
            for part in (train, validation)
        ]
        scaler = LossScaler() if scaled and kind != "float32" else None
        trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.003), scaler=scaler)
        history = trainer.fit(DataLoader(data[0], 32), data[1], epochs=5)
        accuracies.append(history["val_accuracy"][-1])
    assert accuracies[0] > 0.9
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.02)


@pytest.mark.parametrize("name", RULES)
def test_an_update_with_infinite_gradients_is_left_out_on_a_device_as_on_the_host(name, backend):
    """Also the count of steps, on which Adam's correction depends; a device is asked one update later."""
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    found = []
    for where in ("numpy", backend):
        with xpnet.use_backend(where):
            theta = parameter([1.0, -2.0, 3.0], "float16")
            rule, scaler = RULES[name]([theta]), LossScaler(scale=16.0)
            for i in range(7):
                theta.grad = None
                gradient = [0.5, -1.0, np.inf if i in (0, 3) else 2.0]
                theta.grad = xpnet.asarray(np.float32(gradient) * scaler.scale, "float16")
                if scaler.unscale([theta.grad], optimizer=rule):
                    rule.step()
            state = rule.state_dict()["state"][0]
            found.append((scaler.state_dict(), state["step"], host(theta.data), host(state["master"])))
    (scale, steps, low, master), (our_scale, our_steps, our_low, our_master) = found
    assert our_scale == scale == {"scale": 4.0, "good": 3, "skipped": 2}
    assert our_steps == steps == 5
    np.testing.assert_allclose(our_master, master, rtol=2e-6)
    np.testing.assert_array_equal(our_low, low)
    assert np.isfinite(master).all()
