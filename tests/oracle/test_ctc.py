"""CTC equals PyTorch's behind log_softmax, and the sum over all ways to spell a target."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402

RNG = np.random.default_rng(0)
T, N, C = 9, 4, 5
X = RNG.normal(size=(T, N, C))
TARGETS = RNG.integers(1, C, (N, 4))
TARGETS[1, :3] = 2  # equal neighbours need a blank between them
LENGTHS, SIZES = np.array([9, 7, 5, 8]), np.array([4, 3, 1, 0])
EACH = {
    "padded": (TARGETS, LENGTHS, SIZES, 0),
    "in one row": (np.concatenate([t[:n] for t, n in zip(TARGETS, SIZES, strict=True)]), LENGTHS, SIZES, 0),
    "another blank": (TARGETS - 1, LENGTHS, SIZES, 4),
    "lists": (TARGETS.tolist(), LENGTHS.tolist(), SIZES.tolist(), 0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("targets", "lengths", "sizes", "blank"), EACH.values(), ids=EACH)
def test_values_and_gradients(targets, lengths, sizes, blank, reduction, dtype):
    x = xpnet.tensor(X, requires_grad=True, dtype=dtype)
    z = torch.tensor(X, requires_grad=True, dtype=getattr(torch, dtype))
    y = F.ctc_loss(F.log_softmax(x), targets, lengths, sizes, blank, reduction)
    rows = torch.tensor(np.asarray(targets))
    expected = torch.nn.functional.ctc_loss(
        z.log_softmax(-1), rows, torch.tensor(lengths), torch.tensor(sizes), blank, reduction
    )
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(xpnet.to_numpy(y), expected.detach().numpy(), **tolerance)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(xpnet.to_numpy(x.grad), z.grad.numpy(), **tolerance)


def test_its_gradient_is_its_derivative():
    function = lambda x: F.ctc_loss(x, TARGETS, LENGTHS, SIZES, reduction="none")
    assert xpnet.gradcheck(function, xpnet.tensor(X, requires_grad=True))


def test_it_is_the_sum_over_all_paths():
    p = np.exp(X[:4, 0, :3]) / np.exp(X[:4, 0, :3]).sum(-1, keepdims=True)

    def spells(path):
        kept = [k for k, _ in itertools.groupby(path)]
        return [k for k in kept if k] == [1, 2]

    paths = [path for path in itertools.product(range(3), repeat=4) if spells(path)]
    total = sum(np.prod([p[t, k] for t, k in enumerate(path)]) for path in paths)
    found = F.ctc_loss(xpnet.asarray(np.log(p)), [1, 2], [4], [2], reduction="none")
    assert float(xpnet.to_numpy(found)) == pytest.approx(-np.log(total), rel=1e-12)


@pytest.mark.parametrize("zero", [False, True])
def test_a_target_that_is_too_long(zero):
    x = xpnet.tensor(X[:3], requires_grad=True)
    y = F.ctc_loss(F.log_softmax(x), TARGETS, [3] * N, [4, 2, 2, 2], reduction="none", zero_infinity=zero)
    z = torch.nn.functional.ctc_loss(
        torch.tensor(X[:3]).log_softmax(-1), torch.tensor(TARGETS), torch.tensor([3] * N),
        torch.tensor([4, 2, 2, 2]), reduction="none", zero_infinity=zero,
    )  # fmt: skip
    np.testing.assert_allclose(xpnet.to_numpy(y), z.numpy(), rtol=1e-10)
    F.ctc_loss(F.log_softmax(x), TARGETS, [3] * N, [4, 2, 2, 2], zero_infinity=True).backward()
    assert np.isfinite(xpnet.to_numpy(x.grad)).all()


@pytest.mark.parametrize("zero", [False, True])
def test_sequences_without_steps(zero):
    """They spell the empty target, with probability 1, and no other, whatever the scores are."""
    targets, lengths, sizes = [[1, 2], [1, 2], [2, 0], [1, 1]], [0, 0, 0, 5], [0, 2, 1, 2]
    x, z = xpnet.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    y = F.ctc_loss(F.log_softmax(x), targets, lengths, sizes, reduction="none", zero_infinity=zero)
    expected = torch.nn.functional.ctc_loss(
        z.log_softmax(-1), torch.tensor(targets), torch.tensor(lengths), torch.tensor(sizes),
        reduction="none", zero_infinity=zero,
    )  # fmt: skip
    np.testing.assert_allclose(xpnet.to_numpy(y), expected.detach().numpy(), rtol=1e-10)
    (y[0] + y[3]).backward()
    expected[[0, 3]].sum().backward()
    np.testing.assert_array_equal(xpnet.to_numpy(x.grad)[:, :3], 0)
    np.testing.assert_allclose(xpnet.to_numpy(x.grad), z.grad.numpy(), rtol=1e-10, atol=1e-12)


WRONG = {
    "a blank label": ([[0, 1]], [2], [2], "not the blank 0"),
    "a label": ([[9]], [2], [1], "labels must be 0 to 4"),
    "steps": ([[1]], [99], [1], "input_lengths must be 0 to 9, got 99"),
    "lengths": ([[1]], [2, 3], [1], "input_lengths must be 1 integers"),
    "sizes": ([[1, 2]], [2], [-2], "target_lengths must not be negative, got -2"),
    "targets": ([1, 2, 3], [2], [1], r"targets must be \(1, 1 or more\), or 1 in one row"),
}


@pytest.mark.host
@pytest.mark.parametrize(("targets", "lengths", "sizes", "message"), WRONG.values(), ids=WRONG)
def test_refusals(targets, lengths, sizes, message):
    with pytest.raises(ValueError, match=message) as caught:
        F.ctc_loss(X[:, :1], targets, lengths, sizes)
    assert "\n" not in str(caught.value)
