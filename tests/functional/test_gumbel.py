"""Samples of classes through Gumbel's noise: how often each comes, and what gradient passes."""

import numpy as np
import pytest
from scipy import special, stats

import xpnet
from xpnet import functional as F
from xpnet import to_numpy
from xpnet.core import random

Z = np.array([[0.5, -1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0]])


def test_the_noise_is_gumbels(backend):
    drawn = to_numpy(random.gumbel((20_000,), random.Key(1, random.NOISE, 0), backend))
    assert drawn.dtype == np.float32
    assert np.isfinite(drawn).all()
    assert stats.kstest(drawn, "gumbel_r").pvalue > 0.01


@pytest.mark.parametrize("dim", [-1, 0])
def test_hard_samples_come_as_often_as_softmax_says(dim):
    n, z = 4000, Z if dim == -1 else Z.T
    many, axis = np.broadcast_to(z, (n, *z.shape)), -1 if dim == -1 else 1
    y = to_numpy(F.gumbel_softmax(xpnet.asarray(many), 0.7, hard=True, dim=axis))
    assert set(np.unique(y)) == {0.0, 1.0}
    np.testing.assert_array_equal(y.sum(axis=axis), 1)
    p = special.softmax(z, axis=dim)
    deviation = np.sqrt(p * (1 - p) / n)
    assert (np.abs(y.mean(axis=0) - p) < 4 * deviation).all()


@pytest.mark.parametrize("tau", [0.5, 2.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_soft_sample_is_the_softmax_of_the_noisy_logits(tau, dtype, backend):
    xpnet.manual_seed(3)
    z = xpnet.tensor(Z, requires_grad=True, dtype=dtype)
    y = F.gumbel_softmax(z, tau)
    noise = to_numpy(random.gumbel(Z.shape, random.Key(3, random.NOISE, 0), backend)).astype(np.float64)
    p = special.softmax((Z + noise) / tau, axis=-1)
    close = {"rtol": 1e-5 if dtype == "float32" else 1e-12}
    np.testing.assert_allclose(to_numpy(y), p, **close)
    w = np.cos(np.arange(8.0)).reshape(2, 4)
    (y * xpnet.asarray(w.astype(dtype))).sum().backward()
    slope = p * (w - (p * w).sum(axis=-1, keepdims=True)) / tau
    np.testing.assert_allclose(to_numpy(z.grad), slope, atol=1e-6 if dtype == "float32" else 1e-14)
    soft = to_numpy(z.grad)
    z.grad = None
    xpnet.manual_seed(3)  # the same draw, hard: its gradient is that of the soft one
    hard = F.gumbel_softmax(z, tau, hard=True)
    np.testing.assert_array_equal(to_numpy(hard), p == p.max(axis=-1, keepdims=True))
    (hard * xpnet.asarray(w.astype(dtype))).sum().backward()
    np.testing.assert_array_equal(to_numpy(z.grad), soft)


def test_each_draw_is_another_and_nan_is_not_hidden():
    z = xpnet.asarray(np.zeros((3, 50)))
    assert not np.array_equal(to_numpy(F.gumbel_softmax(z)), to_numpy(F.gumbel_softmax(z)))
    spoilt = np.array([[0.0, np.nan], [0.0, 1.0]])
    found = to_numpy(F.gumbel_softmax(xpnet.asarray(spoilt), hard=True))
    assert np.isnan(found[0]).all()
    assert found[1].sum() == 1
    for tau in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="gumbel_softmax: tau must be above 0, got"):
            F.gumbel_softmax(z, tau)
    with pytest.raises(TypeError, match="gumbel_softmax: the logits"):
        F.gumbel_softmax(np.arange(3))


@pytest.mark.parametrize("hard", [False, True])
def test_its_derivatives(hard):
    """By differences, and forward, of the draw that a seed gives; a hard sample passes on the soft slopes."""

    def function(z, hard=False):
        xpnet.manual_seed(1)
        return F.gumbel_softmax(z, 0.7, hard)

    assert xpnet.gradcheck(function, xpnet.tensor(Z, requires_grad=True))
    v = np.cos(np.arange(8.0)).reshape(2, 4)
    _, slope = xpnet.jvp(lambda z: function(z, hard), (xpnet.asarray(Z),), (xpnet.asarray(v),))
    h = 1e-6
    rise = to_numpy(function(xpnet.asarray(Z + h * v))) - to_numpy(function(xpnet.asarray(Z - h * v)))
    np.testing.assert_allclose(to_numpy(slope), rise / (2 * h), atol=1e-8)


@pytest.mark.host
def test_a_captured_step_draws_anew():
    def run(captured):
        xpnet.manual_seed(0)
        step = lambda z: F.gumbel_softmax(z, hard=True)
        step = xpnet.capture(step) if captured else step
        return [to_numpy(step(xpnet.asarray(np.zeros((4, 9), np.float32)))).copy() for _ in range(6)]

    plain, captured = run(False), run(True)
    np.testing.assert_array_equal(plain, captured)
    assert not np.array_equal(captured[-1], captured[-2])
