"""Clipping and noise: what happens to gradients between backward and step."""

import math

import numpy as np
import pytest
from scipy import stats

import xpnet
from xpnet import nn, optim


def leaves(*gradients):
    """Parameters with these gradients; None for none."""
    found = []
    for gradient in gradients:
        p = xpnet.tensor(np.zeros(3 if gradient is None else len(gradient), np.float32), requires_grad=True)
        p.grad = None if gradient is None else xpnet.asarray(np.array(gradient, np.float32))
        found.append(p)
    return found


def gradients(parameters):
    return [None if p.grad is None else xpnet.to_numpy(p.grad).tolist() for p in parameters]


# ---- clipping ----


def test_the_joint_norm_is_clipped_and_returned():
    parameters = leaves([3.0, 0.0], None, [0.0, 4.0, 12.0])
    norm = optim.clip_grad_norm(parameters, 6.5)
    assert norm.shape == ()
    assert xpnet.core.places.backend_name(norm) == xpnet.get_backend()
    assert float(norm) == 13.0
    assert gradients(parameters) == [
        pytest.approx([1.5, 0.0], rel=1e-6),
        None,
        pytest.approx([0.0, 2.0, 6.0], rel=1e-6),
    ]


def test_a_small_gradient_is_left_as_it_is():
    parameters = leaves([0.3], [0.4])
    assert float(optim.clip_grad_norm(parameters, 1.0)) == pytest.approx(0.5)
    assert gradients(parameters) == [[np.float32(0.3)], [np.float32(0.4)]]


def test_a_model_is_clipped_through_its_vector():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for p in model.parameters():
        p.grad = xpnet.asarray(np.ones(p.shape, np.float32))
    n = model.theta.shape[0]
    assert float(optim.clip_grad_norm(model, 1.0)) == pytest.approx(math.sqrt(n))
    np.testing.assert_allclose(xpnet.to_numpy(model.grad), np.full(n, n**-0.5), rtol=1e-5)


def test_clipping_before_backward_is_refused():
    with pytest.raises(ValueError, match=r"no parameter has a gradient; call it after backward\(\)"):
        optim.clip_grad_norm(nn.Linear(2, 2), 1.0)


# ---- noise ----


def test_the_noise_has_the_variance_of_the_step():
    n = 40_000
    (p,) = leaves(np.ones(n))
    noise = optim.GradientNoise([p], eta=0.5, gamma=0.7)
    draws = []
    for t in range(3):
        p.grad = xpnet.asarray(np.ones(n, np.float32))
        noise()
        draws.append(xpnet.to_numpy(p.grad) - 1)
        assert stats.kstest(draws[-1], stats.norm(0, math.sqrt(0.5 / (1 + t) ** 0.7)).cdf).pvalue > 1e-3
    correlation = np.corrcoef(draws) - np.eye(3)
    assert np.abs(correlation).max() < 5 / math.sqrt(n)


def test_the_noise_is_seeded_and_spares_parameters_without_a_gradient():
    runs = []
    for _ in range(2):
        xpnet.manual_seed(4)
        parameters = leaves([0.0, 0.0], None, [0.0])
        optim.GradientNoise(parameters)()
        runs.append(gradients(parameters))
    assert runs[0] == runs[1]
    assert runs[0][1] is None
    assert all(v != 0 for v in runs[0][0] + runs[0][2])


def test_no_noise_if_eta_is_zero():
    parameters = leaves([1.0, 2.0])
    optim.GradientNoise(parameters, eta=0.0)()
    assert gradients(parameters) == [[1.0, 2.0]]
    with pytest.raises(ValueError, match="eta must be at least 0, got -1"):
        optim.GradientNoise(parameters, eta=-1)
