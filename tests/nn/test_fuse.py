"""Neighbours in a row that one op computes: the layers' own results, and nobody can tell."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn
from xpnet.nn import fuse


@pytest.fixture(autouse=True)
def on_numpy_too(monkeypatch):
    """Where no pair has a kernel, so that layers run alone: here pairs run, whose bits can be compared."""
    monkeypatch.setattr(fuse, "ndarray", type(None))


def rows():
    """Rows of layers, an input shape, and the op that makes the output."""
    norm, norm2d = nn.BatchNorm1d(6), nn.BatchNorm2d(6)
    block = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    wider = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    return {
        "relu": ([nn.Linear(4, 6), nn.ReLU()], (5, 4), "linear_activation"),
        "leaky": ([nn.Linear(4, 6), nn.LeakyReLU(0.3)], (5, 4), "linear_activation"),
        "elu": ([nn.Linear(4, 6), nn.ELU(0.7)], (5, 4), "linear_activation"),
        "sigmoid": ([nn.Linear(4, 6), nn.Sigmoid()], (5, 4), "linear_activation"),
        "tanh": ([nn.Linear(4, 6), nn.Tanh()], (5, 4), "linear_activation"),
        "gelu": ([nn.Linear(4, 6), nn.GELU()], (5, 4), "linear_activation"),
        "several axes": ([nn.Linear(4, 6), nn.ReLU()], (2, 3, 4), "linear_activation"),
        "norm": ([norm, nn.ReLU()], (5, 6), "batch_norm_relu"),
        "norm 2d": ([norm2d, nn.ReLU()], (3, 6, 4, 5), "batch_norm_relu"),
        "residual": ([nn.Residual(block)], (5, 6), "batch_norm_relu"),
        "residual relu": ([nn.Residual(block), nn.ReLU()], (5, 6), "batch_norm_relu"),
        "shortcut": ([nn.Residual(wider, nn.Linear(4, 6)), nn.ReLU()], (5, 4), "batch_norm_relu"),
        # what has no op
        "no bias": ([nn.Linear(4, 6, bias=False), nn.ReLU()], (5, 4), "relu"),
        "approximate": ([nn.Linear(4, 6), nn.GELU("tanh")], (5, 4), "linear_activation"),
        "apart": ([nn.Linear(4, 6), nn.Identity(), nn.ReLU()], (5, 4), "relu"),
        "other norm": ([nn.LayerNorm(6), nn.ReLU()], (5, 6), "relu"),
        "plain residual": ([nn.Residual(nn.Linear(6, 6)), nn.ReLU()], (5, 6), "relu"),
    }


def made(model, shape, dtype="float32"):
    """The op that made the output, its value, the gradients, and the buffers after a step."""
    rng = np.random.default_rng(3)
    x = xpnet.tensor(rng.standard_normal(shape), requires_grad=True, dtype=dtype)
    model.zero_grad()
    y = model(x)
    y.backward(xpnet.asarray(rng.standard_normal(tuple(y.shape)), dtype))
    arrays = [y.data, x.grad, *(p.grad for p in model.parameters()), *(b.data for b in model.buffers())]
    return y._op.__name__, [xpnet.to_numpy(a).astype(np.float64) for a in arrays]


def watched(model):
    """With a hook on every module, so that each runs on its own."""
    for module in model.modules():
        module.register_forward_hook(lambda module, inputs, output: None)
    return model


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", rows())
def test_the_results_are_those_of_the_layers(name, training, backend):
    layers, shape, op = rows()[name]
    model = nn.Sequential(*layers).train(training)
    apart = watched(copy.deepcopy(model))
    found, values = made(model, shape)
    alone, expected = made(apart, shape)
    assert found == op
    assert alone not in ("linear_activation", "batch_norm_relu")
    for value, want in zip(values, expected, strict=True):
        if backend == "numpy":
            np.testing.assert_array_equal(value, want)
        else:
            np.testing.assert_allclose(value, want, rtol=2e-5, atol=2e-6)


def row():
    return nn.Sequential({"hidden": nn.Linear(4, 6), "act": nn.ReLU(), "out": nn.Linear(6, 2)})


def op_of(model):
    """What made the hidden units: the input of the last layer."""
    return model(xpnet.tensor(np.ones((3, 4), np.float32)))._parents[0][1]._op.__name__


def test_a_hook_sees_what_it_always_saw():
    for name in ("hidden", "act"):
        model, seen = row(), []
        handle = getattr(model, name).register_forward_hook(
            lambda m, i, o, seen=seen: seen.append((m, i[0], o))
        )
        assert op_of(model) == "relu"
        ((module, given, output),) = seen
        assert module is getattr(model, name)
        hidden = F.linear(np.ones((3, 4), np.float32), model.hidden.weight.numpy(), model.hidden.bias.numpy())
        want = (np.ones((3, 4)), hidden) if name == "hidden" else (hidden, np.maximum(hidden, 0))
        for got, expected in zip((given, output), want, strict=True):
            np.testing.assert_allclose(xpnet.to_numpy(got), expected, rtol=1e-5, atol=1e-6)
        handle.remove()
        assert op_of(model) == "linear_activation"
        assert len(seen) == 1


def test_a_subclass_or_another_forward_runs():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Shifted(nn.ReLU):
        def forward(self, x):
            return super().forward(x) + 1

    x = np.ones((3, 4), np.float32)
    for model in (
        nn.Sequential(Doubled(4, 6), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 6), Shifted()),
        nn.Sequential(nn.BatchNorm1d(4), Shifted()),
    ):
        want = model[1](model[0](xpnet.asarray(x))).numpy()
        np.testing.assert_array_equal(model(xpnet.asarray(x)).numpy(), want)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    object.__setattr__(model[1], "forward", lambda x: x * 0 + 7)
    assert (model(xpnet.asarray(x)).numpy() == 7).all()


def test_it_is_switched_off_with_the_kernels():
    model = row()
    with xpnet.fused(False):
        assert op_of(model) == "relu"
    assert op_of(model) == "linear_activation"


def test_on_numpy_layers_run_alone(monkeypatch, backend):
    monkeypatch.setattr(fuse, "ndarray", np.ndarray)
    assert op_of(row()) == ("relu" if backend == "numpy" else "linear_activation")


def test_names_and_state_are_those_of_the_layers():
    model = row()
    names = ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    assert [name for name, _ in model.named_parameters()] == names == list(model.state_dict())
    norm = nn.Sequential(nn.BatchNorm1d(4, momentum=None), nn.ReLU())
    for _ in range(3):
        norm(xpnet.asarray(np.random.default_rng(0).standard_normal((8, 4)), "float32"))
    assert int(norm[0].num_batches_tracked) == 3


def test_mistakes_are_said_as_before():
    x = xpnet.asarray(np.ones((3, 5), np.float32))
    with pytest.raises(ValueError, match=r"linear: x of shape \(3, 5\) does not fit"):
        row()(x)
    with pytest.raises(ValueError, match=r"BatchNorm1d\(4\): expected 4 channels"):
        nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())(x)
    with pytest.raises(ValueError, match="body gives"):
        nn.Sequential(nn.Residual(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))), nn.ReLU())(x)


def test_a_parameter_in_two_places_gets_both_gradients():
    """A joint pullback writes where a leaf's gradient goes; not if it goes there twice."""
    shared = nn.Parameter(xpnet.asarray(np.full(4, 0.5, np.float32)))
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    want = None
    for _ in range(2):
        shared.grad = None
        y = F.batch_norm(xpnet.asarray(x), None, None, shared, shared, True)
        y.backward(xpnet.asarray(x))
        got = xpnet.to_numpy(shared.grad)
        want = got if want is None else want
        np.testing.assert_array_equal(got, want)
    normal = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    np.testing.assert_allclose(want, (x * normal).sum(0) + x.sum(0), rtol=1e-4)


def test_a_nan_is_not_hidden():
    """As relu(NaN) is NaN: a run that diverges must say so."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    x = np.ones((3, 4), np.float32)
    x[1, 2] = np.nan
    y = model(xpnet.asarray(x)).numpy()
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()
