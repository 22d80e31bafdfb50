"""Convolution, pooling, norms: forward mode and second order, against central differences in float64."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet.core.convert import to_numpy

H = 1e-6
RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((2, 4, 6, 6)), RNG.standard_normal((2, 4, 6, 6))
W, GROUPED, B = RNG.standard_normal((4, 4, 3, 3)), RNG.standard_normal((4, 2, 3, 3)), RNG.standard_normal(4)

FUNCTIONS = {
    "conv2d": lambda x, w: F.conv2d(x, w, xpnet.asarray(B), stride=2, padding=1),
    "conv2d of groups": lambda x, w: F.conv2d(x, xpnet.asarray(GROUPED), padding=1, groups=2),
    "max_pool2d": lambda x, w: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x, w: F.avg_pool2d(x, 3, stride=1, padding=1),
    "global_avg_pool2d": lambda x, w: F.global_avg_pool2d(x),
    "batch_norm": lambda x, w: F.batch_norm(x, training=True),
    "layer_norm": lambda x, w: F.layer_norm(x, (4, 6, 6)),
    "group_norm": lambda x, w: F.group_norm(x, 2),
}


def along(f, x, t):
    """df(x + h t) / dh."""
    ahead, behind = (to_numpy(f(xpnet.asarray(x + s * H * t))) for s in (1, -1))
    return (ahead - behind) / (2 * H)


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_forward_mode(name):
    f = lambda x: FUNCTIONS[name](x, xpnet.asarray(W))
    _, tangent = xpnet.jvp(f, (xpnet.asarray(X),), (xpnet.asarray(T),))
    np.testing.assert_allclose(to_numpy(tangent), along(f, X, T), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_second_order(name):
    """Forward over reverse, and reverse over reverse."""
    energy = lambda x: (FUNCTIONS[name](x, xpnet.asarray(W)) ** 3).sum()
    want = along(xpnet.grad(energy), X, T)
    close = lambda found: np.testing.assert_allclose(to_numpy(found), want, rtol=1e-5, atol=1e-5)
    close(xpnet.hvp(energy, xpnet.asarray(X), xpnet.asarray(T)))
    x = xpnet.tensor(X, requires_grad=True)
    energy(x).backward(create_graph=True)
    first, x.grad = x.grad, None
    (first * xpnet.asarray(T)).sum().backward()
    close(x.grad)


def test_the_weight_of_a_convolution():
    f = lambda w: F.conv2d(xpnet.asarray(X), w, padding=1)
    t = RNG.standard_normal(W.shape)
    _, tangent = xpnet.jvp(f, (xpnet.asarray(W),), (xpnet.asarray(t),))
    np.testing.assert_allclose(to_numpy(tangent), along(f, W, t), rtol=1e-6, atol=1e-7)
