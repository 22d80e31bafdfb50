"""Layers that are made of one function each."""

import json

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn
from xpnet.nn.description import describe, from_description

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)


FAR_OUT = ["SELU", "CELU", "ReLU6", "Softsign", "Hardshrink", "Softshrink", "Tanhshrink", "Threshold"]


@pytest.mark.parametrize("name", FAR_OUT)
def test_activations_far_out(name):
    """No exponential overflows, forward or backward, and zeros are of the right sign of slope."""
    x = np.array([-1e4, -800.0, -1.0, -0.5, 0.0, 0.5, 1.0, 6.0, 800.0, 1e4])
    ours, theirs = xpnet.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    options = (0.5, -3.0) if name == "Threshold" else ()
    y, z = getattr(nn, name)(*options)(ours), getattr(torch.nn, name)(*options)(theirs)
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(y), z.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(xpnet.to_numpy(ours.grad), theirs.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("layer", ["CosineSimilarity", "PairwiseDistance"])
@pytest.mark.parametrize("arguments", [(), (1, 0.5)])
def test_pairs_of_vectors(layer, arguments):
    a, b = RNG.normal(size=(2, 3, 4))
    y = getattr(nn, layer)(*arguments)(xpnet.asarray(a), xpnet.asarray(b))
    expected = getattr(torch.nn, layer)(*arguments)(torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(xpnet.to_numpy(y), expected.numpy(), rtol=1e-12)


@pytest.mark.host
def test_infinity_is_in_a_description():
    layer = nn.PairwiseDistance(float("inf"), keepdim=True)
    made = from_description(json.loads(json.dumps(describe(layer))))
    assert (made.p, made.keepdim) == (float("inf"), True)


@pytest.mark.parametrize(("dim", "sizes"), [(1, (2, 3)), (-1, (-1, 2)), (0, (1, 4)), (1, (6,))])
def test_axes_apart(dim, sizes):
    x = RNG.normal(size=(4, 6))
    y = nn.Unflatten(dim, sizes)(xpnet.asarray(x))
    np.testing.assert_array_equal(xpnet.to_numpy(y), torch.nn.Unflatten(dim, sizes)(torch.tensor(x)).numpy())


REFUSED = {
    "sizes": (lambda: F.unflatten(np.ones((2, 6)), 1, (2, 2)), ValueError, r"\(2, 2\) do not make up axis 1"),
    "two": (lambda: F.unflatten(np.ones((2, 6)), 1, (-1, -1)), ValueError, "do not make up axis 1"),
    "rest": (lambda: F.unflatten(np.ones((2, 6)), 1, (4, -1)), ValueError, "do not make up axis 1"),
    "none": (lambda: F.unflatten(np.ones((2, 6)), 1, ()), ValueError, "do not make up axis 1"),
    "axis": (lambda: F.unflatten(np.ones((2, 6)), 2, (6,)), ValueError, "dim=2 is not an axis of"),
    "alpha": (lambda: nn.CELU(0), ValueError, "CELU: alpha must not be 0"),
    "celu": (lambda: F.celu(np.ones(2), 0.0), ValueError, "celu: alpha must not be 0"),
    "integers": (lambda: F.selu(np.ones(2, int)), TypeError, "selu: x is int64"),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_rotary_places_go_on_from_an_offset():
    """The second half of a sequence alone, as with a cache of keys."""
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    layer = nn.RotaryEmbedding(100.0)
    whole = xpnet.to_numpy(layer(xpnet.asarray(x)))
    np.testing.assert_array_equal(xpnet.to_numpy(layer(xpnet.asarray(x[:, 3:]), offset=3)), whole[:, 3:])
