"""Weights made of others: what is refused, taken back, saved; and that a bound holds while one trains."""

import copy

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim


def test_a_critic_stays_as_steep_as_it_may(backend):
    xpnet.manual_seed(0)
    layers = [nn.spectral_norm(nn.Linear(6, 8)), nn.ReLU(), nn.spectral_norm(nn.Linear(8, 1))]
    model, rng = nn.Sequential(*layers), np.random.default_rng(0)
    rule = optim.Adam(model, lr=0.05)
    x = xpnet.asarray(rng.normal(size=(32, 6)).astype(np.float32))
    y = xpnet.asarray(100 * rng.normal(size=(32, 1)).astype(np.float32))
    for _ in range(40):
        rule.zero_grad()
        F.mse_loss(model(x), y).backward()
        rule.step()
    model.eval()
    original = xpnet.to_numpy(layers[0].parametrizations["weight"].original.data)
    assert np.linalg.norm(original, 2) > 1.2
    for layer in (layers[0], layers[2]):
        assert np.linalg.norm(xpnet.to_numpy(layer.weight), 2) == pytest.approx(1, abs=0.02)


def test_values_are_those_of_before_and_of_after(backend):
    for norm in (nn.weight_norm, nn.spectral_norm):
        layer = nn.Linear(4, 3)
        before = xpnet.to_numpy(layer.weight.data).copy()
        x = xpnet.asarray(np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))
        assert norm(layer) is layer
        if norm is nn.weight_norm:
            np.testing.assert_allclose(xpnet.to_numpy(layer.weight), before, rtol=1e-6)
        layer.eval()
        y = xpnet.to_numpy(layer(x))
        other = copy.deepcopy(layer)
        np.testing.assert_array_equal(xpnet.to_numpy(other(x)), y)
        nn.remove_parametrizations(layer)
        assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
        np.testing.assert_allclose(xpnet.to_numpy(layer(x)), y, rtol=1e-6)
        nn.remove_parametrizations(other, leave_parametrized=False)
        if norm is nn.spectral_norm:
            np.testing.assert_array_equal(xpnet.to_numpy(other.weight.data), before)


@pytest.mark.host
def test_what_is_refused():
    layer = nn.weight_norm(nn.Linear(4, 3))
    with pytest.raises(TypeError, match=r"Linear.weight is made of others"):
        layer.weight = nn.Parameter(np.zeros((3, 4), np.float32))
    with pytest.raises(AttributeError, match="no attribute 'wieght'"):
        layer.wieght  # noqa: B018
    with pytest.raises(AttributeError, match="has no parameter 'weight'"):
        nn.weight_norm(layer)
    with pytest.raises(AttributeError, match="weight of ReLU is not made of others"):
        nn.remove_parametrizations(nn.ReLU())
    with pytest.raises(ValueError, match="expected two axes or more"):
        nn.spectral_norm(nn.Linear(2, 2), "bias")
    for norm in (nn.weight_norm, nn.spectral_norm):
        for dim in (-3, 2, 5):
            layer = nn.Linear(4, 3)
            with pytest.raises(IndexError, match=rf"dim={dim} is no axis of weight, whose shape is \(3, 4\)"):
                norm(layer, dim=dim)
            assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    both = nn.weight_norm(nn.weight_norm(nn.Linear(4, 3)), "bias")
    assert len(both.parameters()) == 4
    assert both(np.zeros((2, 4), np.float32)).shape == (2, 3)
