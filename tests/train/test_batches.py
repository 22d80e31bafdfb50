"""Batches of any structure: what the model is called with, what the target is, outputs in several parts."""

from typing import NamedTuple

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.data import Arrays, DataLoader, Dataset
from xpnet.data.batch import parts_of, size_of
from xpnet.functional import cross_entropy, mse_loss
from xpnet.train import (
    LocateNonFinite,
    Trainer,
    TrainingDivergedError,
    evaluate,
    predict,
    recompute_batch_norm,
)


class Named(NamedTuple):
    left: object
    right: object
    target: object


FORMS = {
    "tuple": lambda a, b, y: (a, b, y),
    "list": lambda a, b, y: [a, b, y],
    "named tuple": Named,
    "pair in a tuple": lambda a, b, y: ((a, b), y),
    "dict in a tuple": lambda a, b, y: ({"right": b, "left": a}, y),
    "dict": lambda a, b, y: {"left": a, "label": y, "right": b},
    "dict in a dict": lambda a, b, y: {"x": {"left": a, "right": b}, "y": y},
    "pair in a dict": lambda a, b, y: {"x": (a, b), "target": y},
}


@pytest.mark.host
@pytest.mark.parametrize("form", FORMS)
def test_two_inputs_and_a_target(form):
    inputs, named, target = parts_of(FORMS[form]("a", "b", "y"))
    assert target == "y"
    assert (inputs, dict(named)) in ((("a", "b"), {}), ((), {"left": "a", "right": "b"}))


@pytest.mark.host
@pytest.mark.parametrize(
    ("batch", "inputs", "target"),
    [
        (("x", "y"), ("x",), "y"),
        (["x", "y"], ("x",), "y"),
        ({"x": "x", "y": "y"}, ("x",), "y"),
        ({"image": "x", "labels": "y"}, ("x",), "y"),
        ({"image": "x", "targets": {"a": 1}}, ("x",), {"a": 1}),
        ("x", ("x",), None),
        (("x",), ("x",), None),
        ({"x": "x"}, ("x",), None),
        (("x", ("y", "z")), ("x",), ("y", "z")),
    ],
)
def test_one_input(batch, inputs, target):
    assert parts_of(batch) == (inputs, {}, target)


@pytest.mark.host
def test_what_is_no_batch():
    with pytest.raises(ValueError, match=r"an empty tuple, expected \(x, y\)"):
        parts_of(())
    with pytest.raises(ValueError, match="a dict with 'x', 'y', 'label': expected inputs and one target"):
        parts_of({"x": 1, "y": 2, "label": 3})
    with pytest.raises(ValueError, match="a dict with 'y': expected inputs"):
        parts_of({"y": 2})
    with pytest.raises(ValueError, match="a dict with nothing"):
        parts_of({})
    with pytest.raises(TypeError, match="begins with 'x', expected arrays with one row a sample"):
        size_of(("x", np.zeros(3)))
    with pytest.raises(TypeError, match="begins with a single number"):
        size_of((np.float32(1), np.zeros(3)))
    assert size_of({"a": (np.zeros((5, 2)), 0)}) == 5


# ---- in training ----


class Pair(nn.Module):
    def __init__(self):
        self.one, self.other, self.norm = nn.Linear(3, 4), nn.Linear(2, 4), nn.BatchNorm1d(4)

    def forward(self, left, right):
        return self.norm(self.one(left) + self.other(right))


class Joined(Pair):
    """The same on one array."""

    def forward(self, x):
        return super().forward(x[:, :3], x[:, 3:])


def data(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return x, (x[:, 0] + x[:, 3] > 0).astype(np.int64) + 2 * (x[:, 1] > 0)


def batches(form, size=16, **options):
    x, y = data(**options)
    x, y = xpnet.asarray(x), xpnet.asarray(y)
    slices = [slice(i, min(i + size, x.shape[0])) for i in range(0, x.shape[0], size)]
    return [FORMS[form](x[s, :3], x[s, 3:], y[s]) for s in slices]


def fitted(kind, train, validation, **options):
    xpnet.manual_seed(0)
    model = kind()
    trainer = Trainer(model, cross_entropy, optim.Adam(model, lr=0.05), **options)
    trainer.fit(train, validation, epochs=6)
    return trainer


@pytest.mark.parametrize("form", FORMS)
def test_training_on_two_inputs_is_training_on_one(form):
    one = Dataset(*data())
    plain = fitted(Joined, DataLoader(one, 16, shuffle=False), DataLoader(one, 16, shuffle=False))
    several = fitted(Pair, batches(form), batches(form))
    for name, value in plain.model.state_dict().items():
        assert np.array_equal(xpnet.to_numpy(several.model.state_dict()[name]), xpnet.to_numpy(value)), name
    for key in ("train_loss", "val_loss", "val_accuracy"):
        assert several.history[key] == plain.history[key]
    assert several.history["train_loss"][-1] < 0.8 * several.history["train_loss"][0]


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_prediction_and_exact_batch_norm(form):
    x, y = data()
    items = [FORMS[form](x[i, :3], x[i, 3:], y[i]) for i in range(len(y))]
    loader = DataLoader(items, 16, shuffle=False)
    model = Pair()
    recompute_batch_norm(model, loader)
    joined = Joined()
    joined.load_state_dict(model.state_dict())
    recompute_batch_norm(joined, DataLoader(Dataset(x, y), 16, shuffle=False))
    assert xpnet.to_numpy(model.norm.running_mean.data) == pytest.approx(
        xpnet.to_numpy(joined.norm.running_mean.data), abs=1e-6
    )
    found = evaluate(model, loader, cross_entropy)
    assert found == pytest.approx(evaluate(joined, (x, y), cross_entropy), rel=1e-5)
    np.testing.assert_allclose(
        xpnet.to_numpy(predict(model, loader)), xpnet.to_numpy(predict(joined, x)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["dict", "Arrays of a tuple", "tuple", "data set"])
def test_data_sets_in_parts_go_straight_into_fit(kind):
    x, y = data()
    train = {"left": x[:, :3], "right": x[:, 3:], "label": y}
    if kind == "Arrays of a tuple":
        train = Arrays(((x[:, :3], x[:, 3:]), y))
    if kind == "tuple":
        train = (x[:, :3], x[:, 3:], y)
    if kind == "data set":
        train = Rows([{"left": x[i, :3], "right": x[i, 3:], "label": y[i]} for i in range(50)])
    several, one = fitted(Pair, train, train), fitted(Joined, Dataset(x, y), Dataset(x, y))
    for name, value in one.model.state_dict().items():
        np.testing.assert_allclose(
            xpnet.to_numpy(several.model.state_dict()[name]), xpnet.to_numpy(value), rtol=1e-4, atol=1e-5
        )
    assert several.history["val_accuracy"] == one.history["val_accuracy"]
    inputs = {"left": x[:, :3], "right": x[:, 3:]}
    for given in (inputs,) if kind == "tuple" else (train, inputs):
        np.testing.assert_allclose(
            xpnet.to_numpy(several.predict(given)), xpnet.to_numpy(one.predict(x)), rtol=1e-3, atol=1e-4
        )


class Rows:
    """A map-style data set, without an order of its own."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Heads(nn.Module):
    """Several outputs."""

    def __init__(self, kind):
        self.kind, self.body, self.a, self.b = kind, nn.Linear(5, 8), nn.Linear(8, 4), nn.Linear(8, 1)

    def forward(self, x):
        h = xpnet.functional.relu(self.body(x))
        parts = self.a(h), self.b(h)
        return parts if self.kind == "tuple" else dict(zip(("a", "b"), parts, strict=True))


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_several_outputs_and_targets(kind):
    x, y = data(200)
    sums = x.sum(axis=1, keepdims=True)
    items = [(x[i], {"a": y[i], "b": sums[i]} if kind == "dict" else (y[i], sums[i])) for i in range(200)]

    def both(output, target):
        a, b = ("a", "b") if kind == "dict" else (0, 1)
        return cross_entropy(output[a], target[a]) + mse_loss(output[b], target[b])

    def error_of_sums(output, target):
        b = "b" if kind == "dict" else 1
        return abs(output[b] - target[b]).mean()

    model = Heads(kind)
    trainer = Trainer(model, both, optim.Adam(model, lr=0.02), metrics=[error_of_sums])
    history = trainer.fit(DataLoader(items, 20), DataLoader(items, 64), epochs=10)
    assert history["val_loss"][-1] < 0.5 * history["val_loss"][0]
    assert history["val_error_of_sums"][-1] < history["val_error_of_sums"][0]
    found = trainer.predict(DataLoader(items, 64, shuffle=False))
    direct = model(xpnet.asarray(x))
    assert type(found) is (tuple if kind == "tuple" else dict)
    for key in ("a", "b") if kind == "dict" else (0, 1):
        np.testing.assert_allclose(
            xpnet.to_numpy(found[key]), xpnet.to_numpy(direct[key]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.host
def test_several_outputs_have_no_accuracy_of_their_own():
    x, y = data(20)
    model = Heads("tuple")
    assert evaluate(model, (x, y), lambda out, y: cross_entropy(out[0], y)).keys() == {"loss"}


@pytest.mark.host
def test_a_batch_without_a_target_says_what_to_do():
    model = nn.Linear(5, 4)
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.1))
    with pytest.raises(
        ValueError, match=r"the batch has no target: give \(x, y\), or a dict with y, or pass step="
    ):
        trainer.fit(DataLoader(data()[0], 10), epochs=1)


@pytest.mark.host
def test_a_fault_is_found_in_models_of_two_inputs():
    train = batches("dict")
    train[1]["left"][0, 0] = np.nan
    with pytest.raises(TrainingDivergedError, match="not finite: the input"):
        fitted(Pair, train, None, callbacks=[LocateNonFinite(every=1)])


@pytest.mark.host
def test_a_lonely_last_item_is_noticed_in_any_data_set():
    x, y = data(33)
    items = [(x[i, :3], x[i, 3:], y[i]) for i in range(33)]
    with pytest.raises(ValueError, match="33 samples in batches of 16 leave one for the last batch"):
        fitted(Pair, DataLoader(items, 16), None)
