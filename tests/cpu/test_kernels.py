"""The CPU kernels (extra `cpu`) against the Array API bodies in float64, at every size."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from xpnet import functional as F
from xpnet import random

pytest.importorskip("numba", reason='the CPU kernels need pip install "xpnet[cpu]"')
from xpnet.cpu import launch

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("every_size")]


def gradients(f, *arrays, dtype, dy=None):
    """Values of f and the gradient of each array, in `dtype`; float64 runs the body."""
    tensors = [xpnet.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    with xpnet.fused(dtype == "float32"):
        y = f(*tensors)
        y.backward(None if dy is None else dy.astype(dtype))
    return [y.numpy(), *(t.grad for t in tensors)]


def assert_close(found, expected, rtol=2e-5, atol=2e-6):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * max(1, np.abs(b).max(initial=0)))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 70), c=st.integers(2, 300), seed=st.integers(0, 99))
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(n, c, seed, reduction, every_size):
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(n, c)) * 10, rng.integers(0, c, n)
    dy = rng.normal(size=n) if reduction == "none" else None
    f = lambda t: F.cross_entropy(t, y, reduction=reduction)
    before = len(every_size)
    found = gradients(f, z, dtype="float32", dy=dy)
    assert len(every_size) > before
    assert_close(found, gradients(f, z.astype("float32"), dtype="float64", dy=dy))


def test_cross_entropy_extremes():
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [np.nan, 0, 1], [0, 0, -np.inf]], "float32")
    t = xpnet.tensor(z, requires_grad=True)
    loss = F.cross_entropy(t, [1, 0, 0, 0], reduction="none")
    loss.backward(np.ones(4, "float32"))
    np.testing.assert_allclose(loss.numpy()[[0, 1, 3]], [2e4, np.log(3), np.log(2)], rtol=1e-6)
    assert np.isnan(loss.numpy()[2])
    assert np.isnan(t.grad[2]).all()
    np.testing.assert_allclose(t.grad[[0, 3]], [[1, -1, 0], [-0.5, 0.5, 0]], atol=1e-7)


def test_cross_entropy_without_gradient_and_bad_labels(every_size):
    z = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    value = F.cross_entropy(z, np.arange(5))
    assert every_size == ["cross_entropy"]
    with xpnet.fused(False):
        np.testing.assert_allclose(value, F.cross_entropy(z, np.arange(5)), rtol=1e-6)
    with pytest.raises(ValueError, match="label 7 is out of range"):
        F.cross_entropy(z, np.array([0, 1, 7, 2, 3]))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 150), st.integers(1, 40)) | st.tuples(*[st.integers(1, 9)] * 4),
    seed=st.integers(0, 99),
)
def test_batch_norm(shape, seed, every_size):
    if shape[0] * np.prod(shape[2:]) < 2:
        return
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(3, 2, size=shape).astype("float32"), rng.normal(size=shape)
    w, b = rng.uniform(0.5, 2, shape[1]), rng.normal(size=shape[1])
    running = {d: (np.zeros(shape[1], d), np.ones(shape[1], d)) for d in ("float32", "float64")}
    f = lambda t, w, b: F.batch_norm(t, *running[str(t.dtype)], w, b, training=True, eps=1e-2)
    before = len(every_size)
    found = gradients(f, x, w, b, dtype="float32", dy=dy)
    assert len(every_size) == before + (4 if len(shape) == 2 else 2)
    assert_close(found, gradients(f, x, w, b, dtype="float64", dy=dy), rtol=1e-4, atol=1e-5)
    assert_close(running["float32"], running["float64"])


@pytest.mark.parametrize("shape", [(5000, 3), (40, 3, 11, 11)])
def test_batch_norm_keeps_accuracy_far_from_zero(shape):
    x = np.random.default_rng(0).normal(1e4, 1, size=shape).astype("float32")
    y = F.batch_norm(x, training=True)
    axes = tuple(i for i in range(x.ndim) if i != 1)
    wide = x.astype("float64")
    exact = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-6)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_is_the_same_bits(n, dtype, p, every_size):
    x = np.random.default_rng(n).normal(size=n).astype(dtype)
    key = random.Key(2**40 + 17, 3, 5)
    t = xpnet.tensor(x, requires_grad=True)
    y = F.dropout.__globals__["philox_dropout"](t, p, key)
    y.backward(x)
    assert every_size == ["dropout", "dropout"]
    mask = random.keep_mask((n,), p, key, random.HOST)
    expected = np.where(mask, x * x.dtype.type(1 / (1 - p)), 0).astype(dtype)
    np.testing.assert_array_equal(y.data, expected)
    np.testing.assert_array_equal(t.grad, expected)


RULES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adagrad", {"eps_inside": True, "eps": 1e-3}),
    ("Adadelta", {"rho": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("RMSprop", {"eps_inside": True, "eps": 1e-3}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "betas": (0.8, 0.95)}),
    ("AdamW", {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), RULES)
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-12)])
def test_optimizer_steps(name, options, dtype, rtol, every_size):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=1003).astype(dtype), rng.normal(size=(5, 1003)).astype(dtype)

    def path(fused):
        x = xpnet.tensor(start.copy(), requires_grad=True)
        optimizer = getattr(xpnet.optim, name)([x], lr=0.01, **options)
        with xpnet.fused(fused):
            for g in grads:
                x.grad = g
                optimizer.step()
        return x.data, optimizer.state_dict()["state"][0]

    found, state = path(True)
    assert len(every_size) == 5
    expected, reference = path(False)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
    for key in reference:
        np.testing.assert_allclose(state[key], reference[key], rtol=10 * rtol, atol=rtol)


def test_first_use_is_logged_and_a_broken_numba_only_warns(monkeypatch, caplog):
    with caplog.at_level(logging.DEBUG, "xpnet.cpu"):
        F.dropout(np.ones(8, "float32"), 0.5)
    assert "compiling CPU kernel dropout" in caplog.text
    monkeypatch.setattr(launch, "_kernels", {})
    monkeypatch.setattr(launch, "_broken", False)
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    assert F.dropout(np.ones(8, "float32"), 0.5).shape == (8,)
    assert "CPU kernels are off" in caplog.text
