"""Normalisation: accuracy, running statistics, small batches, wrong shapes."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import to_numpy


def tensor(data, dtype="float64"):
    return xpnet.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


def sample(*shape, mean=0.0, dtype=np.float64):
    return (np.random.default_rng(0).normal(size=shape) + mean).astype(dtype)


NORMS = {
    "batch_norm": lambda x: F.batch_norm(x, training=True),
    "layer_norm": lambda x: F.layer_norm(x, tuple(x.shape[1:])),
    "group_norm": lambda x: F.group_norm(x, 2),
    "instance_norm": F.instance_norm,
}


@pytest.mark.parametrize("name", NORMS)
def test_a_large_mean_costs_no_accuracy(name):
    """Mean 1e4 and deviation 1: E[x^2] - E[x]^2 would lose every digit in float32."""
    x = sample(64, 4, 32, mean=1e4, dtype=np.float32)
    y = NORMS[name](xpnet.asarray(x))
    expected = NORMS[name](xpnet.asarray(x.astype(np.float64)))
    np.testing.assert_allclose(to_numpy(y), to_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_output_has_mean_0_and_variance_1(name):
    axes = {"batch_norm": (0, 2), "layer_norm": (1, 2), "instance_norm": (2,)}
    y = to_numpy(NORMS[name](tensor(sample(8, 4, 16) * 3 + 5)))
    if name == "group_norm":
        y, axis = y.reshape(8, 2, -1), (2,)
    else:
        axis = axes[name]
    np.testing.assert_allclose(y.mean(axis=axis), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=axis), 1, atol=1e-4)


@pytest.mark.parametrize("name", NORMS)
def test_a_constant_input_gives_zeros_and_a_finite_gradient(name):
    x = tensor(np.full((3, 4, 5), 7.0), "float32")
    y = NORMS[name](x)
    np.testing.assert_array_equal(y.numpy(), 0)
    y.sum().backward()
    assert np.all(np.isfinite(to_numpy(x.grad)))


@pytest.mark.parametrize("name", NORMS)
def test_scale_and_shift_of_the_input_do_not_matter(name):
    x = sample(6, 4, 3)
    a, b = NORMS[name](tensor(x * 100)), NORMS[name](tensor(x * 300 + 50))
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


# ---- running statistics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0])
def test_running_statistics_move_in_place(momentum):
    x = sample(10, 3, 2)
    mean, var = xpnet.asarray(np.full(3, 2.0)), xpnet.asarray(np.full(3, 5.0))
    F.batch_norm(xpnet.asarray(x), mean, var, training=True, momentum=momentum)
    np.testing.assert_allclose(
        to_numpy(mean), (1 - momentum) * 2 + momentum * x.mean(axis=(0, 2)), rtol=1e-12
    )
    unbiased = x.var(axis=(0, 2), ddof=1)
    np.testing.assert_allclose(to_numpy(var), (1 - momentum) * 5 + momentum * unbiased, rtol=1e-12)


def test_evaluation_uses_and_keeps_the_running_statistics():
    mean, var = np.array([1.0, 2.0]), np.array([4.0, 9.0])
    ours = xpnet.asarray(mean.copy()), xpnet.asarray(var.copy())
    x = sample(1, 2)  # one row is enough here
    y = F.batch_norm(xpnet.asarray(x), *ours)
    np.testing.assert_allclose(to_numpy(y), (x - mean) / np.sqrt(var + 1e-5), rtol=1e-12)
    np.testing.assert_array_equal(to_numpy(ours[0]), mean)
    np.testing.assert_array_equal(to_numpy(ours[1]), var)


def test_running_statistics_of_a_layer_converge_to_those_of_the_data():
    layer = xpnet.nn.BatchNorm1d(2)
    x = sample(200, 2, dtype=np.float32) * 3 + 1
    for _ in range(100):
        layer(xpnet.tensor(x))
    layer.eval()
    y = layer(xpnet.tensor(x)).numpy()
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-2)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_an_empty_batch_leaves_the_running_statistics_alone():
    mean, var = xpnet.asarray(np.full(3, 2.0)), xpnet.asarray(np.full(3, 5.0))
    x = tensor(np.zeros((0, 3)))
    y = F.batch_norm(x, mean, var, training=True)
    assert y.shape == (0, 3)
    y.backward(xpnet.asarray(np.zeros((0, 3))))
    assert x.grad.shape == (0, 3)
    np.testing.assert_array_equal(to_numpy(mean), 2)
    np.testing.assert_array_equal(to_numpy(var), 5)


def test_one_row_cannot_be_trained_on():
    with pytest.raises(ValueError, match=r"more than one value a channel.*\(1, 3\).*model\.eval\(\)"):
        F.batch_norm(tensor(np.zeros((1, 3))), training=True)
    F.batch_norm(tensor(np.zeros((1, 3, 2))), training=True)  # two positions are two values


# ---- mixed precision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "group_norm"])
def test_half_input_with_float32_parameters(name, backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    x = tensor(sample(32, 4, mean=3.0), "float16")
    w, b = tensor(np.full(4, 2.0), "float32"), tensor(np.zeros(4), "float32")
    y = {
        "batch_norm": lambda: F.batch_norm(x, weight=w, bias=b, training=True),
        "layer_norm": lambda: F.layer_norm(x, 4, w, b),
        "group_norm": lambda: F.group_norm(x, 2, w, b),
    }[name]()
    y.sum().backward()
    assert "float16" in str(y.dtype)
    assert [str(t.grad.dtype).split(".")[-1] for t in (x, w, b)] == ["float16", "float32", "float32"]
    np.testing.assert_allclose(to_numpy(b.grad), 32, rtol=1e-6)


def test_half_statistics_do_not_overflow(backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    x = tensor(sample(1000, 2) * 100 + 1000, "float16")  # squares of a million
    y = F.batch_norm(x, training=True).numpy().astype(np.float64)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-2)


# ---- wrong input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            lambda x: F.batch_norm(x[0]),
            r"batch_norm: expected an input of shape \(N, C, \.\.\.\), got \(4,\)",
        ),
        (lambda x: F.batch_norm(x, weight=x[0, :3]), r"batch_norm: weight has shape \(3,\), expected \(4,\)"),
        (lambda x: F.batch_norm(x, x[0, :3], x[0]), r"batch_norm: running_mean has shape \(3,\)"),
        (lambda x: F.layer_norm(x, 5), r"layer_norm: expected an input ending in \(5,\), got \(2, 4\)"),
        (lambda x: F.layer_norm(x, (3, 2, 4)), r"ending in \(3, 2, 4\), got \(2, 4\)"),
        (lambda x: F.layer_norm(x, 4, x[0, :3]), r"layer_norm: weight has shape \(3,\), expected \(4,\)"),
        (lambda x: F.group_norm(x, 3), r"group_norm: 4 channels do not split into 3 groups"),
        (lambda x: F.group_norm(x, 0), r"group_norm: 4 channels do not split into 0 groups"),
        (lambda x: F.group_norm(x, 2, bias=x[0, :2]), r"group_norm: bias has shape \(2,\), expected \(4,\)"),
        (lambda x: F.instance_norm(x), r"instance_norm: .*more than one position, got \(2, 4\)"),
        (lambda x: F.linear(x, x[:, :3]), r"linear: x of shape \(2, 4\).*\(2, 3\).*must be 3"),
        (lambda x: F.linear(x, xpnet.tensor(np.ones((2, 4), np.float32))), "linear: x is .*float64.*float32"),
        (lambda x: F.linear(xpnet.tensor(np.ones((2, 4), np.int64)), x), "linear: x is .*int64.*asarray"),
        (lambda x: F.maxout(x, 3), "maxout: the last axis has 4 elements, not a multiple of pieces=3"),
    ],
)
def test_wrong_shapes_and_dtypes(f, message):
    with pytest.raises((ValueError, TypeError), match=message):
        f(tensor(np.ones((2, 4))))
