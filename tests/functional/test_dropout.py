"""Dropout: expectation, determinism, the ends of p."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import to_numpy

N = 100_000


def dropped(p, seed=0, dtype=np.float32):
    xpnet.manual_seed(seed)
    return to_numpy(F.dropout(xpnet.asarray(np.ones(N, dtype)), p))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_p_is_the_share_dropped_and_the_mean_is_kept(p):
    y = dropped(p)
    deviation = np.sqrt(p * (1 - p) / N)
    assert abs((y == 0).mean() - p) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / (1 - p)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_the_same_seed_gives_the_same_mask_and_each_call_another(p):
    a, b = dropped(p), dropped(p)
    np.testing.assert_array_equal(a, b)
    following = to_numpy(F.dropout(xpnet.asarray(np.ones(N, np.float32)), p))
    both = ((a == 0) & (following == 0)).mean()
    assert abs(both - p * p) < 0.01  # independent
    assert abs(((a == 0) & (dropped(p, seed=1) == 0)).mean() - p * p) < 0.01


def test_the_mask_does_not_depend_on_dtype_or_backend():
    mask = dropped(0.4) == 0
    np.testing.assert_array_equal(dropped(0.4, dtype=np.float64) == 0, mask)
    with xpnet.use_backend("numpy"):
        np.testing.assert_array_equal(dropped(0.4) == 0, mask)


def test_the_gradient_has_the_same_mask():
    x = xpnet.tensor(np.full(1000, 3.0), requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    np.testing.assert_allclose(to_numpy(x.grad), y.numpy() / 3, rtol=1e-15)


def test_p_0_and_evaluation_are_the_identity():
    x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    state = dict(xpnet.random.generator_state())
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.7, training=False) is x
    assert xpnet.random.generator_state() == state  # and draw nothing


def test_p_1_drops_everything():
    x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    y = F.dropout(x, 1.0)
    np.testing.assert_array_equal(y.numpy(), 0)
    y.sum().backward()
    np.testing.assert_array_equal(to_numpy(x.grad), 0)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_out_of_range(p):
    with pytest.raises(ValueError, match=rf"probability of dropping, in \[0, 1\], got {p}"):
        F.dropout(xpnet.tensor([1.0]), p)


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 5, 7)])
def test_any_shape(shape):
    y = F.dropout(xpnet.asarray(np.ones(shape, np.float32)), 0.5)
    assert tuple(y.shape) == shape
