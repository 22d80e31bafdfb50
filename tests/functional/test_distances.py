"""Distances and angles: of every norm as PyTorch's, and in 16 bits, whose squares overflow."""

import math

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 3, 5))
LINES = {
    "apart": (A, B),
    "equal": (A, A),
    "equal in part": (np.zeros((2, 3)), np.array([[0, 1, 1], [0, 0, 0.0]])),
}


@pytest.mark.parametrize("pair", LINES.values(), ids=LINES)
@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize("p", [math.inf, 3, 2, 1.5, 1, 0.5])
def test_every_norm_and_its_gradients(p, eps, pair):
    ours = [xpnet.tensor(x, requires_grad=True) for x in pair]
    theirs = [torch.tensor(x, requires_grad=True) for x in pair]
    y = F.pairwise_distance(*ours, p, eps)
    expected = torch.nn.functional.pairwise_distance(*theirs, p, eps)
    np.testing.assert_allclose(xpnet.to_numpy(y), expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    y.sum().backward()
    expected.sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(xpnet.to_numpy(a.grad), b.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_triplets_of_the_largest_difference():
    anchor, positive, negative = (xpnet.asarray(x) for x in (A, B, A + 0.1))
    expected = torch.nn.functional.triplet_margin_loss(*map(torch.tensor, (A, B, A + 0.1)), p=math.inf)
    loss = F.triplet_margin_loss(anchor, positive, negative, p=math.inf)
    np.testing.assert_allclose(float(loss), float(expected), rtol=1e-12)


@pytest.mark.host
@pytest.mark.parametrize("p", [0, -1, math.nan])
def test_other_norms_are_refused(p):
    for name, call in {
        "pairwise_distance": lambda: F.pairwise_distance(A, B, p),
        "triplet_margin_loss": lambda: F.triplet_margin_loss(A, B, A, p=p),
        "TripletMarginLoss": lambda: nn.TripletMarginLoss(p=p),
    }.items():
        with pytest.raises(ValueError, match=f"^{name}: p must be above 0, got"):
            call()


WIDE = {
    "30": RNG.normal(size=(2, 3, 64)) * 30,
    "100": np.full((2, 3, 64), 100.0),
    "1e-4": np.full((2, 3, 64), 1e-4),
}
OF_PAIRS = {
    "cosine_similarity": lambda f, a, b: f.cosine_similarity(a, b),
    "pairwise_distance": lambda f, a, b: f.pairwise_distance(a, b),
    "triplet_margin_loss": lambda f, a, b: f.triplet_margin_loss(a, b, 2 * a),
    "swapped": lambda f, a, b: f.triplet_margin_loss(a, b, 2 * a, swap=True),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("values", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize("call", OF_PAIRS.values(), ids=OF_PAIRS)
def test_in_16_bits(call, values, dtype, backend):
    if backend.name == "array_api_strict":
        pytest.skip("it has no such types")
    a, b = (xpnet.tensor(x, dtype=dtype, requires_grad=True) for x in values)
    y = call(F, a, b)
    rounded = [torch.tensor(xpnet.to_numpy(x.detach()).astype(float), requires_grad=True) for x in (a, b)]
    expected = call(torch.nn.functional, *rounded)
    assert y.dtype == a.dtype
    got = lambda x: xpnet.to_numpy(x).astype(float)
    np.testing.assert_allclose(got(y), expected.detach().numpy(), rtol=0.01, atol=1e-3)
    y.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(got(b.grad), rounded[1].grad.numpy(), rtol=0.05, atol=2e-2)
    assert np.isfinite(got(a.grad)).all()


def test_angles_of_pairs_in_16_bits(backend):
    if backend.name == "array_api_strict":
        pytest.skip("it has no such types")
    a, b = (xpnet.asarray(x, "float16") for x in WIDE["30"])
    target = np.array([1, -1, 1])
    wide = [torch.tensor(xpnet.to_numpy(x).astype(float)) for x in (a, b)]
    expected = float(torch.nn.functional.cosine_embedding_loss(*wide, torch.tensor(target)))
    np.testing.assert_allclose(float(F.cosine_embedding_loss(a, b, target)), expected, rtol=0.01)
