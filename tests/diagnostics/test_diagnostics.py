"""Diagnostics: each on something that has the fault, and on something that has not."""

import copy
import math
import sys

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import init, nn, optim, random
from xpnet.core.convert import to_numpy
from xpnet.core.op import differentiable
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy, mse_loss
from xpnet.train import (
    Callback,
    Checkup,
    CheckupError,
    Diagnostics,
    Finding,
    LocateNonFinite,
    Observation,
    Trainer,
    TrainingDivergedError,
    activation_scale,
    class_balance,
    class_order,
    constant_features,
    dead_units,
    doctor,
    first_non_finite,
    generalization_gap,
    gradient_check,
    gradient_scale,
    initial_loss,
    input_scale,
    leakage,
    learning_rate_check,
    observe,
    overfit,
    same_sign_gradients,
    saturation,
    update_ratio,
    worst,
)


def blobs(n=200, seed=0, centres=3.0):
    """Three Gaussian clouds in eight dimensions, standardised."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = np.eye(8)[y] * centres + rng.normal(size=(n, 8))
    return Dataset(((x - x.mean()) / x.std()).astype(np.float32), y)


def batch(n=200, **options):
    data = blobs(n, **options)
    return xpnet.asarray(data.x), xpnet.asarray(data.y)


def network(**options):
    return nn.Sequential(
        nn.Linear(8, 16, weight_init=init.he_normal),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 3, weight_init=init.lecun_normal, bias_init=init.zeros, **options),
    )


def host(model):
    return {name: xpnet.to_numpy(a) for name, a in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


@differentiable
def wrong_square(x):
    """Its pullback forgets the factor 2."""
    return x * x, lambda dy: dy * x


class Squares(nn.Module):
    def __init__(self, op):
        self.inner, self.out, self.op = nn.Linear(8, 6), nn.Linear(6, 3), op

    def forward(self, x):
        return self.out(self.op(self.inner(x)))


# ---- findings, hooks ----


@pytest.mark.host
def test_a_finding_prints_its_advice_and_fits_json():
    bad = Finding("x", "FAIL", math.nan, "1", "Mend it.", "layer 2")
    assert str(bad).splitlines() == [
        "FAIL  x                     nan        expected 1; layer 2",
        "      Mend it.",
    ]
    assert bad.as_dict()["value"] is None
    assert worst([]) == "PASS"
    assert worst([bad, Finding("y", "WARN", 0.0, "")]) == "FAIL"


def test_forward_hooks_see_and_go():
    model, seen = network(), []
    before = copy.deepcopy(model)
    hook = lambda module, inputs, output: seen.append((type(module).__name__, inputs[0].shape, output.shape))
    removers = [m.add_forward_hook(hook) for m in model.layers[:1]] + [model.add_forward_hook(hook)]
    x, _ = batch(4)
    model(x)
    assert seen == [("Linear", (4, 8), (4, 16)), ("Sequential", (4, 8), (4, 3))]
    copy.deepcopy(model)(x)
    assert len(seen) == 2  # a copy has no hooks
    for remove in removers:
        remove()
    model(x)
    assert len(seen) == 2
    assert same(host(model.eval()), {**host(model)})
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in before.named_parameters()]


# ---- data ----


def test_input_scale():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6)).astype(np.float32)
    assert input_scale(xpnet.asarray(x)).status == "PASS"
    assert input_scale(xpnet.asarray(x * 5)).status == "WARN"
    assert input_scale(xpnet.asarray(x + 20)).status == "FAIL"
    bytes_ = input_scale(rng.integers(0, 256, (500, 6)))
    assert bytes_.status == "FAIL"
    assert "Standardize" in bytes_.advice
    one_wild = x.copy()
    one_wild[:, 2] *= 1000
    one_wild /= one_wild.std()
    found = input_scale(one_wild)
    assert found.status == "WARN"
    assert "each feature" in found.advice


def test_constant_features():
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    assert constant_features(xpnet.asarray(x)).value == 0
    x[:, :3] = 0.5
    found = constant_features(xpnet.asarray(x))
    assert (found.status, found.value, found.detail) == ("WARN", 3 / 8, "3 of 8")
    assert constant_features(np.ones((5, 4, 2))).status == "FAIL"
    x[:, :3] = np.random.default_rng(1).normal(size=(50, 3))
    x[:, 0] = 100
    assert constant_features(x).status == "WARN"  # one column, but a large value


def test_class_balance():
    assert class_balance(xpnet.asarray([0, 1, 2, 2, 1, 0])).status == "PASS"
    found = class_balance(xpnet.asarray([0] * 8 + [1] * 2))
    assert (found.status, found.value) == ("WARN", 4.0)
    missing = class_balance(np.array([0, 2, 0, 2]), classes=4)
    assert missing.status == "FAIL"
    assert "class 1, 3" in missing.advice


def test_class_order():
    y = np.random.default_rng(0).integers(0, 4, 400)
    assert class_order(xpnet.asarray(y)).status == "PASS"
    assert class_order(np.arange(400) % 4).status == "PASS"  # classes in turn, as they should be
    assert class_order(xpnet.asarray(np.sort(y))).status == "FAIL"
    assert class_order(np.concatenate([np.repeat(y[:100], 2), y[:200]])).status == "WARN"  # pairs
    ordered = Dataset(np.zeros((400, 2), dtype=np.float32), np.sort(y))
    assert class_order(DataLoader(ordered, shuffle=False)).status == "FAIL"
    assert class_order(DataLoader(ordered)).status == "PASS"


def test_leakage_exact():
    train, test = blobs(300), blobs(100, seed=1)
    assert leakage(train, test).status == "PASS"
    x = test.x.copy()
    x[[3, 70]] = train.x[[200, 10]]
    found = leakage(xpnet.asarray(train.x), xpnet.asarray(x))
    assert (found.status, found.value, found.detail) == ("FAIL", 0.02, "2 of 100: samples 3, 70")
    assert leakage(train.x, np.concatenate([x[3:4], np.tile(test.x, (3, 1))])).status == "WARN"
    assert leakage(-0.0 * np.ones((3, 2)), 0.0 * np.ones((1, 2))).value == 1  # equal numbers, other bits
    assert leakage(np.ones((3, 2)), np.ones((3, 5))).value == 0


@pytest.mark.host
def test_leakage_after_each_split_was_scaled_by_itself():
    rng = np.random.default_rng(0)
    train, test = rng.uniform(0, 255, (500, 4, 8)), rng.uniform(0, 255, (100, 4, 8))
    test[7] = train[123]

    def standardised(x):
        return ((x - x.mean()) / x.std()).astype(np.float32)

    found = leakage(standardised(train), standardised(test))
    assert found.detail == "1 of 100: samples 7"
    noise = 0.01 * rng.normal(size=(2000, 4, 8))  # alike is not the same
    assert leakage(standardised(train), standardised(train)[123] + noise.astype(np.float32)).value == 0
    blank = np.ones((3, 32), dtype=np.float32)
    assert leakage(blank, 2 * blank).value == 0  # constant rows have no scale of their own


# ---- first loss, gradients ----


def test_initial_loss():
    x, y = batch()
    zero = network()
    zero.layers[-1].weight.data = zero.layers[-1].weight.data * 0
    exact = initial_loss(zero, cross_entropy, x, y)
    assert exact.value == pytest.approx(math.log(3), rel=1e-6)
    assert exact.status == initial_loss(network(), cross_entropy, x, y).status == "PASS"
    loud = network()
    loud.layers[-1].weight.data = loud.layers[-1].weight.data * 30
    found = initial_loss(loud, cross_entropy, x, y)
    assert found.status == "FAIL"
    assert "smaller" in found.advice
    trained = network()
    Trainer(trained, cross_entropy, optim.Adam(trained, lr=0.01)).fit(blobs(), epochs=5)
    found = initial_loss(trained, cross_entropy, x, y)
    assert found.status == "WARN"
    assert "trained already" in found.advice


def test_gradient_check_of_a_sound_model():
    x, y = batch(20)
    assert gradient_check(network(), cross_entropy, x, y).status == "PASS"
    pictures = xpnet.asarray(np.random.default_rng(0).normal(size=(6, 2, 6, 6)).astype(np.float32))
    cnn = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)
    )
    found = gradient_check(cnn, cross_entropy, pictures, y[:6], samples=20)
    assert found.status == "PASS"
    assert found.value < 1e-5


@pytest.mark.parametrize("half_done", [False, True])  # whether the gradients of the last step are still there
def test_diagnostics_of_a_model_that_was_trained(half_done):
    x, y = batch(20)
    model = network()
    optimizer = optim.SGD(model, lr=0.01)
    Trainer(model, cross_entropy, optimizer).fit(Dataset(x, y), epochs=1)
    if not half_done:
        model.zero_grad()
    kept = [None if p.grad is None else to_numpy(p.grad).copy() for p in model.parameters()]
    assert gradient_check(model, cross_entropy, x, y).status == "PASS"
    assert all(finding.name for finding in doctor(model, cross_entropy, Dataset(x, y), steps=20))
    for p, gradient in zip(model.parameters(), kept, strict=True):
        assert (p.grad is None) == (gradient is None)
        if gradient is not None:
            np.testing.assert_array_equal(to_numpy(p.grad), gradient)


def test_gradient_check_finds_a_wrong_pullback():
    x, y = batch(20)
    right = gradient_check(Squares(lambda z: z * z), cross_entropy, x, y)
    wrong = gradient_check(Squares(wrong_square), cross_entropy, x, y)
    assert right.status == "PASS"
    assert wrong.status == "FAIL"
    assert wrong.detail.startswith("inner.")
    assert wrong.value == pytest.approx(0.5, rel=1e-3)  # a factor 2 is missing


def test_gradient_check_names_parameters_without_gradient():
    x, y = batch(20)
    model = Squares(lambda z: z.detach() if hasattr(z, "detach") else z)
    found = gradient_check(model, cross_entropy, x, y)
    assert found.status == "FAIL"  # the loss does depend on them
    assert found.detail.startswith("inner.")
    spare = network()
    spare.spare = nn.Linear(2, 2)
    found = gradient_check(spare, cross_entropy, x, y)
    assert found.status == "WARN"
    assert found.detail == "no gradient reaches spare.weight, spare.bias"


def test_same_sign_gradients():
    x, y = batch(20)
    assert same_sign_gradients(network(), cross_entropy, x, y).status == "PASS"
    for positive in (abs(x), F.relu(x)):  # also with zeros among them
        found = same_sign_gradients(network(), cross_entropy, positive, y)
        assert (found.status, found.value, found.detail) == ("WARN", 1.0, "layer 0")

    def hidden(activation):
        model = nn.Sequential(nn.Linear(8, 16), activation, nn.Linear(16, 3))
        return same_sign_gradients(model, cross_entropy, x, y)

    assert hidden(nn.Sigmoid()).detail == "layer 2"  # all positive between the layers
    assert hidden(nn.Tanh()).status == hidden(nn.ReLU()).status == "PASS"
    pictures = xpnet.asarray(np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32))
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.GlobalAvgPool2d())
    cnn = nn.Sequential(body, nn.Dropout(0.1), nn.Linear(4, 3))
    assert same_sign_gradients(cnn, cross_entropy, pictures, y[:4]).status == "PASS"


# ---- short experiments ----


def test_overfit():
    x, y = batch()
    found = overfit(network(), cross_entropy, x, y)
    assert found.status == "PASS"
    assert found.value < 0.01
    linear = nn.Sequential(nn.Linear(8, 3))
    mixed = xpnet.asarray(np.random.default_rng(0).integers(0, 3, 200))
    found = overfit(linear, cross_entropy, x, mixed, steps=100)  # too small for labels at random
    assert found.status == "FAIL"
    assert overfit(network(), cross_entropy, x, mixed).status == "PASS"  # a larger one learns them by heart


def test_overfit_without_labels():
    x, _ = batch(40)
    y = xpnet.asarray(np.sin(xpnet.to_numpy(x)[:, :1] * 3))
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    assert overfit(model, mse_loss, x, y).status == "PASS"
    assert overfit(nn.Sequential(nn.Linear(1, 1)), mse_loss, x[:, 7:], y, steps=50).status == "FAIL"


@pytest.mark.parametrize(
    ("rate", "status", "word"),
    [(0.1, "PASS", ""), (1e-5, "FAIL", "Too low"), (1e30, "FAIL", "explodes"), (0.0, "FAIL", "at 10000")],
)
def test_learning_rate(rate, status, word):
    model = network()
    found = learning_rate_check(model, cross_entropy, blobs(), optim.SGD(model, lr=rate), steps=40)
    assert found.status == status
    assert word in found.advice
    if word == "Too low":
        assert "100 times the learning rate makes it fall" in found.advice


def test_a_rate_that_makes_the_loss_rise():
    model = nn.Sequential(nn.Linear(8, 3))
    found = learning_rate_check(model, cross_entropy, blobs(), optim.SGD(model, lr=100.0), steps=40)
    assert found.status in ("WARN", "FAIL")
    assert "Too high" in found.advice


@pytest.mark.host
def test_generalization_gap():
    good, bad = {"loss": 0.10, "accuracy": 0.97}, {"loss": 0.9, "accuracy": 0.80}
    assert generalization_gap(good, {"loss": 0.2, "accuracy": 0.95}).status == "PASS"
    assert generalization_gap(good, bad).value == pytest.approx(0.17)
    assert generalization_gap(good, bad).status == "WARN"
    assert generalization_gap({"loss": 0.1}, {"loss": 0.9}).status == "WARN"
    assert generalization_gap({"loss": 0.5}, {"loss": 0.9}).status == "PASS"
    assert generalization_gap({"loss": 0.01}, {"loss": 0.1}).status == "PASS"
    assert generalization_gap({"loss": 0.1}, {"loss": math.nan}).status == "FAIL"


# ---- inside a step ----


def test_observe_measures_what_happens_in_a_step():
    x, y = batch(30)
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))
    seen = observe(model, cross_entropy, optim.SGD(model, lr=0.5), x, y)
    hidden = xpnet.to_numpy(model[0](x).data)
    tanh = np.tanh(hidden)
    assert [layer.kind for layer in seen.layers] == ["Linear", "Tanh", "Linear"]
    # 120 outputs: all of them
    np.testing.assert_allclose(np.sort(seen.layers[0].sample), np.sort(hidden.ravel()), rtol=1e-5, atol=1e-6)
    assert seen.layers[1].std == pytest.approx(tanh.std(), rel=1e-5)
    assert seen.layers[1].saturated == pytest.approx((np.abs(tanh) >= 0.98).mean())
    cross_entropy(model(x), y).backward()
    for weight, (name, p) in zip(seen.weights, model.named_parameters(), strict=True):
        gradient, value = xpnet.to_numpy(p.grad), p.numpy()
        assert weight.name == name
        np.testing.assert_allclose(weight.gradient, gradient.ravel(), rtol=1e-4, atol=1e-7)
        expected = 0.5 * np.linalg.norm(gradient) / np.linalg.norm(value)
        assert weight.ratio == pytest.approx(expected, rel=1e-3)


def test_samples_of_large_arrays_meet_every_unit():
    x = xpnet.asarray(np.random.default_rng(0).normal(size=(512, 64)).astype(np.float32))
    model = nn.Sequential(nn.Linear(64, 64))
    model[0].bias.data = xpnet.asarray(100 * np.arange(64, dtype=np.float32))  # tells the units apart
    seen = observe(model, lambda z, y: z.sum(), optim.SGD(model, lr=0.1), x, x).layers[0]
    assert 200 <= len(seen.sample) <= 256
    assert set(np.round(seen.sample / 100)) == set(range(64))


class Functional(nn.Module):
    """A ReLU that no hook sees."""

    def __init__(self):
        self.hidden, self.out = nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x):
        return self.out(F.relu(self.hidden(x)))


def silence(layer, units):
    """Push some units below 0 for every sample."""
    bias = layer.bias.numpy().copy()
    bias[:units] = -100
    layer.bias.data = xpnet.asarray(bias)


@pytest.mark.parametrize("functional", [False, True])
def test_dead_units(functional):
    x, y = batch()
    model = Functional() if functional else nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 3))
    layer = model.hidden if functional else model[0]
    look = lambda: dead_units(observe(model, cross_entropy, optim.SGD(model, lr=0.1), x, y))
    assert (look().status, look().value) == ("PASS", 0)
    silence(layer, 3)
    assert (look().status, look().value) == ("WARN", pytest.approx(0.3))
    silence(layer, 8)
    assert look().status == "FAIL"
    assert look().detail == ("layer hidden.weight" if functional else "layer 1")


def test_a_unit_that_wakes_up_is_not_dead():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    model[0].weight.data = xpnet.asarray([[1.0], [-1.0]])
    model[0].bias.data = xpnet.asarray([0.0, 0.0])
    y = xpnet.asarray([0, 1])
    optimizer = optim.SGD(model, lr=0.1)
    right, left = (
        observe(model, cross_entropy, optimizer, xpnet.asarray([[s], [2 * s]]), y) for s in (1.0, -1.0)
    )
    assert dead_units(right).value == dead_units(left).value == 0.5
    assert dead_units([right, left]).value == 0


@pytest.mark.parametrize(("activation", "wide"), [(nn.Tanh, 1.0), (nn.Sigmoid, 2.0), (nn.LeCunTanh, 1.5)])
def test_saturation(activation, wide):
    x, y = batch()

    def look(std):
        weights = lambda shape, dtype: init.normal(shape, std=std, dtype=dtype)
        model = nn.Sequential(nn.Linear(8, 64, weight_init=weights), activation(), nn.Linear(64, 3))
        return saturation(observe(model, cross_entropy, optim.SGD(model, lr=0.1), x, y))

    assert look(0.2 * wide).status == "PASS"
    assert look(wide).status == "WARN"
    assert look(20 * wide).status == "FAIL"
    assert look(20 * wide).detail == "layer 1"


def deep(weight_init, activation):
    layers = []
    for _ in range(8):
        layers += [nn.Linear(32, 32, weight_init=weight_init), activation()]
    return nn.Sequential(*layers, nn.Linear(32, 3))


def small(shape, dtype):
    return init.normal(shape, std=0.01, dtype=dtype)


@pytest.mark.parametrize(
    ("weight_init", "activation", "activations", "gradients"),
    [
        (init.he_normal, nn.ReLU, "PASS", "PASS"),
        (init.xavier_fan_in, nn.Tanh, "PASS", "PASS"),
        (small, nn.Tanh, "FAIL", "PASS"),  # small factors everywhere: every weight's gradient has all of them
        (init.xavier_fan_in, nn.Sigmoid, "PASS", "FAIL"),  # a factor below 1/4 a layer, on the way back
    ],
)
def test_scales_from_layer_to_layer(weight_init, activation, activations, gradients):
    """Deck S1: with N(0, 0.01) activations vanish; deck S2: with sigmoids gradients do."""
    x = xpnet.asarray(np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32))
    y = xpnet.asarray(np.arange(64) % 3)
    model = deep(weight_init, activation)
    for layer in model.layers:
        if isinstance(layer, nn.Linear):
            layer.bias.data = layer.bias.data * 0
    seen = observe(model, cross_entropy, optim.SGD(model, lr=0.1), x, y)
    assert activation_scale(seen).status == activations
    assert gradient_scale(seen).status == gradients


def test_update_ratio():
    x, y = batch()

    def look(rate):
        model = network()
        return update_ratio(observe(model, cross_entropy, optim.SGD(model, lr=rate), x, y))

    assert look(0.05).status == "PASS"
    low, high = look(1e-5), look(20.0)
    assert (low.status, "Raise" in low.advice) == ("WARN", True)
    assert high.status in ("WARN", "FAIL")
    assert "Lower" in high.advice
    assert look(1e4).status == "FAIL"


# ---- callbacks ----


def fit(callbacks=(), epochs=3, lr=0.1, model=None, data=None):
    xpnet.manual_seed(1)
    model = model or network()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=lr, momentum=0.9), callbacks)
    trainer.fit(DataLoader(blobs(), 20, seed=0) if data is None else data, blobs(60, seed=1), epochs)
    return trainer


def test_diagnostics_watch_and_change_nothing():
    watch = Diagnostics(every=7)
    trainer = fit([watch])
    assert [seen.step for seen in watch.observations] == [1, 8, 15, 22, 29]
    assert same(host(trainer.model), host(fit().model))
    assert all("_forward_hooks" not in vars(m) for m in trainer.model.modules())
    found = {f.name: f for f in watch.findings()}
    assert list(found) == [
        "dead units",
        "saturation",
        "activation scale",
        "gradient scale",
        "update ratio",
        "train/validation gap",
    ]
    assert worst(found.values()) != "FAIL"
    losses = trainer.history
    gap = generalization_gap({"loss": losses["train_loss"][-1]}, {"loss": losses["val_loss"][-1]})
    assert found["train/validation gap"] == gap


@pytest.mark.host
def test_a_look_fetches_once_and_nothing_is_fetched_between(monkeypatch):
    fetched, module = [], sys.modules[Observation.__module__]
    monkeypatch.setattr(module, "to_numpy", lambda a: fetched.append(a) or xpnet.to_numpy(a))
    watch = Diagnostics(every=7)
    fit([watch])
    assert len(fetched) == len(watch.observations) == 5


def test_diagnostics_of_a_run_with_a_fault():
    model = network()
    watch = Diagnostics(every=10)
    silence_norm = model.layers[1]
    silence_norm.bias.data = silence_norm.bias.data - 100
    fit([watch], model=model, epochs=1)
    found = {f.name: f.status for f in watch.findings()}
    assert found["dead units"] == "FAIL"
    with pytest.raises(ValueError, match="at least 1"):
        Diagnostics(every=0)


def test_diagnostics_forget_every_second_look_when_there_are_many():
    watch = Diagnostics(every=1, keep=8)
    fit([watch], epochs=4)  # 40 updates
    steps = [seen.step for seen in watch.observations]
    assert len(steps) <= 8
    assert steps[0] == 1
    assert len(set(np.diff(steps))) == 1  # evenly spaced
    assert steps[-1] > 30


class Stop(Callback):
    """Save in the middle of an epoch, then break off."""

    last = True

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_batch_end(self, trainer):
        if trainer.step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [7, 12])  # 7: the next update is one that is looked at
def test_diagnostics_resume(tmp_path, step):
    pytest.importorskip("safetensors")
    whole = Diagnostics(every=7)
    fit([whole])
    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit([Diagnostics(every=7), Stop(path, step)])
    watch, model = Diagnostics(every=7), network()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1, momentum=0.9), [watch, Stop(path, -1)])
    trainer.fit(DataLoader(blobs(), 20, seed=0), blobs(60, seed=1), 3, resume=path)
    assert [seen.step for seen in watch.observations] == [1, 8, 15, 22, 29]
    for a, b in zip(whole.observations, watch.observations, strict=True):
        assert [vars(x).keys() for x in a.layers] == [vars(x).keys() for x in b.layers]
        for x, y in zip(a.layers, b.layers, strict=True):
            np.testing.assert_array_equal(x.sample, y.sample)
        for x, y in zip(a.weights, b.weights, strict=True):
            assert (x.name, x.ratio) == (y.name, y.ratio)
    assert watch.findings() == whole.findings()


# ---- where a NaN arises ----


class Log(nn.Module):
    def forward(self, x):
        return xpnet.tensor(xpnet.to_numpy(x.data) - np.inf) if self.broken else x

    broken = False


def test_first_non_finite():
    x, y = batch(10)
    place = lambda model, x=x: first_non_finite(model, cross_entropy, x, y)
    assert place(network()) is None
    bad_input = xpnet.to_numpy(x).copy()
    bad_input[3, 3] = np.nan
    assert place(network(), xpnet.asarray(bad_input)) == "the input"
    model = network()
    silence_with = xpnet.to_numpy(model[4].bias.data).copy()
    silence_with[0] = np.inf
    model[4].bias.data = xpnet.asarray(silence_with)
    assert place(model) == "parameter 4.bias"
    log = Log()
    model = nn.Sequential(nn.Linear(8, 4), log, nn.Linear(4, 3))
    assert place(model) is None
    log.broken = True
    assert place(model) == "the output of layer 1 (Log)"
    model = network()
    before, state = host(model), random.generator_state()
    assert place(model) is None
    assert same(before, host(model))  # the statistics of batch norm, too
    assert all("_forward_hooks" not in vars(m) for m in model.modules())
    assert random.generator_state() == state
    assert first_non_finite(network(), lambda z, t: cross_entropy(z, t) * math.inf, x, y) == "the loss"


def test_first_non_finite_gradient():
    @differentiable
    def steep(x):
        return x * 1, lambda dy: dy * math.inf

    x, y = batch(10)
    found = first_non_finite(Squares(steep), cross_entropy, x, y)
    assert found in ("the gradient of inner.bias", "the gradient of inner.weight")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_nan_is_located_in_training(backend):
    class Poison(Callback):
        def on_batch_end(self, trainer):
            if trainer.step == 13:
                bias = trainer.model[4].bias
                bias.data = bias.data * math.nan

    with pytest.raises(
        TrainingDivergedError, match=r"nan in update 14, not finite: parameter 4\.bias; lower"
    ):
        fit([Poison(), LocateNonFinite(every=1 if backend == "cupy" else None)])
    # looking rarely, the update is still exact
    with pytest.raises(TrainingDivergedError, match=r"nan in update 14; 4 updates later, not finite: param"):
        fit([Poison(), LocateNonFinite(every=8)])
    with pytest.raises(TrainingDivergedError, match="nan in update 14"):  # at the end of the epoch
        fit([Poison(), LocateNonFinite(every=100)])
    healthy = fit([LocateNonFinite()])
    assert same(host(healthy.model), host(fit().model))
    with pytest.raises(ValueError, match="at least 1"):
        LocateNonFinite(every=0)


# ---- all together ----


def test_doctor_passes_a_sound_model_and_leaves_it_alone():
    model = network()
    optimizer, loader = optim.Adam(model, lr=0.01), DataLoader(blobs(300), 20)
    before, state, place = host(model), random.generator_state(), loader.state_dict()
    findings = doctor(
        model, cross_entropy, loader, blobs(100, seed=1), blobs(100, seed=2), optimizer, steps=60
    )
    assert {f.status for f in findings} == {"PASS"}, "\n".join(map(str, findings))
    assert [f.name for f in findings] == [
        "input scale",
        "constant features",
        "class balance",
        "class order",
        "leakage: validation",
        "leakage: test",
        "initial loss",
        "gradient check",
        "same-sign gradients",
        "overfit 20 samples",
        "learning rate",
        "finite numbers",
        "dead units",
        "saturation",
        "activation scale",
        "gradient scale",
        "update ratio",
        "train/validation gap",
    ]
    assert same(before, host(model))
    assert all(p.grad is None for p in model.parameters())
    assert random.generator_state() == state
    assert loader.state_dict() == place
    assert optimizer.state_dict()["state"] == {}


def test_doctor_of_a_regression():
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    y = x @ np.ones((4, 1), dtype=np.float32)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    findings = doctor(
        model, mse_loss, (x[:150], y[:150]), (x[150:], y[150:]), optimizer=optim.Adam(model, lr=0.01)
    )
    assert worst(findings) != "FAIL", "\n".join(map(str, findings))
    assert not {"initial loss", "class balance"} & {f.name for f in findings}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_doctor_finds_several_faults():
    train = blobs(300)
    order = np.argsort(train.y, kind="stable")
    loader = DataLoader(Dataset(train.x[order] * 100, train.y[order]), 20, shuffle=False)
    model = Squares(wrong_square)
    optimizer = optim.SGD(model, lr=1e6)
    findings = doctor(
        model, cross_entropy, loader, test=(train.x[:50] * 100, train.y[:50]), optimizer=optimizer, steps=20
    )
    failed = {f.name for f in findings if f.status == "FAIL"}
    expected = {
        "input scale",
        "class order",
        "leakage: test",
        "initial loss",
        "gradient check",
        "learning rate",
        "finite numbers",
    }
    assert expected <= failed


def test_checkup_trains_what_is_sound_and_refuses_what_is_not(capsys):
    sound = Checkup(steps=40)
    assert same(host(fit([sound]).model), host(fit().model))
    assert worst(sound.findings) == "PASS"
    assert capsys.readouterr().out == ""
    with pytest.raises(CheckupError, match="not trained: learning rate failed; Too low"):
        fit([Checkup(steps=40)], lr=1e-6)
    assert "FAIL  learning rate" in capsys.readouterr().out
    assert fit([Checkup(strict=False, steps=40)], lr=1e-6).history.epochs == 3
