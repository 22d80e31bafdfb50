"""Activations far out, at their kinks, and their identities."""

import numpy as np
import pytest
from scipy import special

import xpnet
from xpnet import functional as F
from xpnet import to_numpy

FAR = np.array([-np.inf, -1e4, -100.0, -1.0, -0.0, 0.0, 1.0, 100.0, 1e4, np.inf])

ORACLES = {
    F.relu: lambda x: np.maximum(x, 0),
    F.leaky_relu: lambda x: np.where(x > 0, x, 0.01 * x),
    F.elu: lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    F.sigmoid: special.expit,
    F.tanh: np.tanh,
    F.lecun_tanh: lambda x: 1.7159 * np.tanh(2 / 3 * x),
    F.hardtanh: lambda x: np.clip(x, -1, 1),
    F.softplus: lambda x: np.logaddexp(x, 0),
}

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("f", ORACLES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out_values_are_right_without_overflow(f, dtype):
    x = FAR.astype(dtype)
    y = to_numpy(f(xpnet.asarray(x)))
    tolerance = {"rtol": 1e-5, "atol": 1e-42} if dtype == "float32" else {"rtol": 1e-13}
    np.testing.assert_allclose(y, ORACLES[f](x.astype(np.float64)), **tolerance)


@pytest.mark.parametrize("f", [*ORACLES, F.gelu, F.softmax, F.log_softmax], ids=lambda f: f.__name__)
def test_gradients_far_out_are_finite(f):
    x = xpnet.tensor(FAR[1:-1], requires_grad=True)
    f(x).sum().backward()
    assert np.all(np.isfinite(to_numpy(x.grad)))


def derivative(f, at):
    x = xpnet.tensor(np.array([at]), requires_grad=True)
    f(x).sum().backward()
    return to_numpy(x.grad)[0]


def test_derivatives_at_the_kinks():
    assert derivative(F.relu, 0.0) == 0
    assert derivative(F.leaky_relu, 0.0) == pytest.approx(0.01)
    assert derivative(F.elu, 0.0) == 1
    assert derivative(lambda x: F.elu(x, 0.5), 0.0) == 0.5
    assert derivative(F.hardtanh, 1.0) == 0
    assert derivative(F.hardtanh, -1.0) == 0


@pytest.mark.parametrize("negative_slope", [0.01, 0.1, 0.3, 0.7])
def test_leaky_relu_leaves_positive_values_exactly_alone(negative_slope):
    x = np.random.default_rng(0).uniform(0.1, 9, size=1000).astype(np.float32)
    np.testing.assert_array_equal(to_numpy(F.leaky_relu(xpnet.asarray(x), negative_slope)), x)


def test_lecun_tanh_maps_one_to_one():
    y = to_numpy(F.lecun_tanh(xpnet.asarray(np.array([-1.0, 1.0]))))
    np.testing.assert_allclose(y, [-1.0, 1.0], atol=1e-4)


def test_tanh_is_a_scaled_sigmoid():
    x = xpnet.asarray(np.linspace(-5, 5, 101))
    np.testing.assert_allclose(to_numpy(F.tanh(x)), to_numpy(2 * F.sigmoid(2 * x) - 1), atol=1e-15)


def test_the_first_of_equal_maxima_wins_a_maxout():
    x = xpnet.tensor(np.array([[1.0, 1.0, 2.0, 3.0]]), requires_grad=True)
    F.maxout(x).sum().backward()
    np.testing.assert_array_equal(to_numpy(x.grad), [[1.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_softmax_sums_to_one_and_ignores_a_shift(shift):
    x = np.random.default_rng(0).normal(size=(4, 5))
    y = to_numpy(F.softmax(xpnet.asarray(x + shift)))
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(y, special.softmax(x, axis=-1), rtol=1e-10)
    np.testing.assert_allclose(np.log(y), to_numpy(F.log_softmax(xpnet.asarray(x + shift))), rtol=1e-12)


def test_log_softmax_of_unlikely_classes_is_exact():
    y = to_numpy(F.log_softmax(xpnet.asarray(np.array([1e4, 0.0, -1e4], np.float32))))
    np.testing.assert_array_equal(y, [0.0, -1e4, -2e4])


def test_hardswish_is_flat_at_minus_infinity():
    x = xpnet.tensor([-np.inf, -3.0, 3.0, np.inf], requires_grad=True)
    with np.errstate(invalid="ignore"):  # its value is -inf times 0
        F.hardswish(x).sum().backward()
    assert xpnet.to_numpy(x.grad).tolist() == [0, 0, 1, 1]
