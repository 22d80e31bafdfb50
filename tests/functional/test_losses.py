"""Losses at the edges: extreme logits, invariances, labels that are wrong or ignored, half precision."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import xpnet
from tests.cases import cross_entropy_oracle
from xpnet import functional as F
from xpnet import to_numpy
from xpnet.functional.weighing import weighed


def tensor(data, dtype="float64"):
    return xpnet.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


# ---- cross-entropy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_initial_loss_is_ln_k(classes, smoothing):
    z = tensor(np.zeros((4, classes)), "float32")
    loss = F.cross_entropy(z, np.arange(4) % classes, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(math.log(classes), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_are_finite_and_exact(dtype):
    z = tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype)
    losses = F.cross_entropy(z, np.array([0, 1, 2]), reduction="none")
    np.testing.assert_allclose(losses.numpy(), [0.0, 2e4, math.log(3)], rtol=1e-6)
    losses.sum().backward()
    expected = [[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [1 / 3, 1 / 3, -2 / 3]]
    np.testing.assert_allclose(to_numpy(z.grad), expected, rtol=1e-6)


@pytest.mark.parametrize("shift", [100.0, -1e4, 1e4])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}])
def test_cross_entropy_is_invariant_to_a_shift_of_the_logits(shift, options):
    z = np.random.default_rng(0).normal(size=(5, 4))
    y = np.array([0, 1, 2, 3, 0])
    a, b = tensor(z), tensor(z + shift)
    one, two = F.cross_entropy(a, y, **options), F.cross_entropy(b, y, **options)
    one.backward()
    two.backward()
    assert one.item() == pytest.approx(two.item(), rel=1e-10)
    np.testing.assert_allclose(to_numpy(a.grad), to_numpy(b.grad), atol=1e-10)
    np.testing.assert_allclose(to_numpy(a.grad).sum(axis=1), 0, atol=1e-15)


def test_a_class_that_cannot_be():
    """A logit of -inf is a probability of 0: no loss unless it is the label."""
    z = tensor([[-np.inf, 0.0, 0.0]])
    with np.errstate(invalid="ignore"):
        assert F.cross_entropy(z, np.array([1])).item() == pytest.approx(math.log(2))
        assert F.cross_entropy(z, np.array([0])).item() == math.inf
        soft = xpnet.asarray(np.array([[0.0, 0.5, 0.5]]))
        assert F.cross_entropy(z, soft).item() == pytest.approx(math.log(2))


def test_a_certain_soft_target_is_a_label():
    z = np.random.default_rng(0).normal(size=(3, 4))
    y = np.array([2, 0, 3])
    a, b = tensor(z), tensor(z)
    hard, soft = F.cross_entropy(a, y), F.cross_entropy(b, xpnet.asarray(np.eye(4)[y]))
    hard.backward()
    soft.backward()
    assert hard.item() == pytest.approx(soft.item(), rel=1e-12)
    np.testing.assert_allclose(to_numpy(a.grad), to_numpy(b.grad), atol=1e-15)


def test_ignored_rows_count_for_nothing():
    z = np.random.default_rng(0).normal(size=(4, 3))
    z[1] = np.nan  # not even a NaN gets out
    a, b = tensor(z), tensor(z[[0, 2, 3]])
    all_rows, kept = F.cross_entropy(a, np.array([0, -100, 2, 1])), F.cross_entropy(b, np.array([0, 2, 1]))
    all_rows.backward()
    kept.backward()
    assert all_rows.item() == pytest.approx(kept.item(), rel=1e-12)
    np.testing.assert_allclose(to_numpy(a.grad)[[0, 2, 3]], to_numpy(b.grad), rtol=1e-12)
    np.testing.assert_array_equal(to_numpy(a.grad)[1], 0)


def test_the_mean_of_nothing_is_nan():
    with np.errstate(invalid="ignore"):
        z = tensor(np.zeros((2, 3)))
        assert math.isnan(F.cross_entropy(z, np.array([-100, -100])).item())
        empty = tensor(np.zeros((0, 3)))
        assert math.isnan(F.cross_entropy(empty, np.array([], np.int64)).item())
        assert math.isnan(F.mse_loss(empty, np.zeros((0, 3))).item())
    assert F.cross_entropy(empty, np.array([], np.int64), reduction="sum").item() == 0


def test_cross_entropy_is_log_softmax_and_nll():
    z = tensor(np.random.default_rng(0).normal(size=(5, 4)))
    y = np.array([0, 1, 2, 3, 0])
    assert F.cross_entropy(z, y).item() == pytest.approx(F.nll_loss(F.log_softmax(z), y).item(), rel=1e-14)


@given(
    n=st.integers(1, 4),
    classes=st.integers(1, 5),
    positions=st.lists(st.integers(1, 3), max_size=2),
    smoothing=st.sampled_from([0.0, 0.3]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    ignore=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_cross_entropy_of_any_shape_and_options(
    n, classes, positions, smoothing, reduction, ignore, weighted, seed
):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes, *positions)) * 5
    y = rng.integers(0, classes, size=(n, *positions))
    options = {"label_smoothing": smoothing, "reduction": reduction}
    if ignore and classes > 1:
        options["ignore_index"] = int(y.flat[0])
        y.flat[0] = (y.flat[0] + 1) % classes  # at least one row is kept
    weight = rng.uniform(0.5, 2, size=classes) if weighted else None
    ours = weight if weight is None else xpnet.asarray(weight)
    logits = tensor(z)
    found = F.cross_entropy(logits, y, ours, **options)
    np.testing.assert_allclose(
        found.numpy(), cross_entropy_oracle(z, y, weight, **options), rtol=1e-10, atol=1e-12
    )
    assert xpnet.gradcheck(lambda z: F.cross_entropy(z, y, ours, **options), logits)


# ---- wrong input ------------------------------------------------------------------------------------------


LABEL_LOSSES = [F.cross_entropy, F.nll_loss, F.multi_margin_loss]
label_losses = pytest.mark.parametrize("loss", LABEL_LOSSES, ids=lambda f: f.__name__)


@label_losses
@pytest.mark.parametrize("label", [3, -1, 10**12])
def test_a_label_out_of_range_is_named(loss, label):
    with pytest.raises(ValueError, match=rf"{loss.__name__}: label {label} .*3 classes.*0 to 2"):
        loss(tensor(np.zeros((2, 3))), np.array([0, label]))


@label_losses
def test_labels_on_the_device_are_checked_too(loss):
    # on CUDA the label is found when the value is read
    for labels, dtype in (([0, 7], "int64"), ([2, -1], "int32")):
        with pytest.raises(ValueError, match=rf"{loss.__name__}: label {labels[1]} .*0 to 2"):
            loss(tensor(np.zeros((2, 3))), xpnet.asarray(np.array(labels), dtype)).item()


@label_losses
@pytest.mark.parametrize("fused", [True, False])
def test_a_wrong_label_on_a_gpu_is_named_with_its_row_and_forgotten(loss, fused, backend):
    if backend != "cupy":
        pytest.skip("elsewhere the call itself raises")
    x, good = tensor(np.zeros((300, 3), np.float32)), xpnet.asarray(np.zeros(300, np.int64))
    labels = np.zeros(300, np.int64)
    labels[[17, 256]] = 3, -5
    with xpnet.fused(fused):
        value = loss(x, xpnet.asarray(labels))
        value.backward()
        with pytest.raises(ValueError, match=r"label (3 of row 17|-5 of row 256) is out of range") as error:
            value.item()
        assert loss.__name__ in str(error.value)
        assert math.isnan(float(value.data))  # it was never a number
        later = loss(x, good)
        assert math.isfinite(later.item())  # nothing is left over
        loss(x, xpnet.asarray(labels))
        xpnet.notes.discard_errors()
        assert math.isfinite(loss(x, good).item())


@label_losses
@pytest.mark.parametrize("target", [np.array([0]), np.array([0, 1, 2]), np.array([[0], [1]])])
def test_targets_of_the_wrong_shape(loss, target):
    with pytest.raises(ValueError, match=loss.__name__) as error:
        loss(tensor(np.zeros((2, 3))), target)
    assert str(target.shape) in str(error.value)


@label_losses
def test_float_labels(loss):
    with pytest.raises(TypeError, match=r"integers, got .*float64"):
        loss(tensor(np.zeros((2, 3))), np.array([0.0, 1.0]))


def test_targets_of_the_wrong_shape_for_every_position():
    z = tensor(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"\(2, 4\).*got \(4, 2\)"):
        F.cross_entropy(z, np.zeros((4, 2), np.int64))


@pytest.mark.parametrize("f", [F.cross_entropy, F.nll_loss, F.multi_margin_loss])
def test_logits_without_a_class_axis(f):
    with pytest.raises(ValueError, match=r"shape \(N, C\), got \(3,\)"):
        f(tensor(np.zeros(3)), np.array([0, 1, 2]))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_label_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match=f"label_smoothing .* got {smoothing}"):
        F.cross_entropy(tensor(np.zeros((1, 2))), np.array([0]), label_smoothing=smoothing)


def test_a_class_weight_of_the_wrong_length():
    with pytest.raises(ValueError, match=r"weight .*\(2,\).*\(3,\)"):
        F.cross_entropy(tensor(np.zeros((1, 3))), np.array([0]), xpnet.asarray(np.ones(2)))
    with pytest.raises(ValueError, match=r"weight .*\(4,\).*\(3,\)"):
        F.nll_loss(tensor(np.zeros((1, 3))), np.array([0]), xpnet.asarray(np.ones(4)))


@label_losses
def test_unknown_reduction(loss):
    with pytest.raises(ValueError, match='"mean", "sum" or "none", got \'average\''):
        loss(tensor(np.zeros((1, 2))), np.array([0]), reduction="average")


@pytest.mark.parametrize("loss", [F.mse_loss, F.binary_cross_entropy_with_logits, F.perceptron_loss])
def test_targets_do_not_broadcast(loss):
    """(N,) against (N, 1) would silently make an (N, N) loss."""
    with pytest.raises(ValueError, match=rf"{loss.__name__}: input \(4,\) and target \(4, 1\)"):
        loss(tensor(np.zeros(4)), np.zeros((4, 1)))


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss])
def test_a_weight_of_each_element_has_the_shape_of_the_input(loss):
    x = tensor(np.zeros((4, 2)))
    with pytest.raises(ValueError, match=rf"{loss.__name__}: input \(4, 2\) and weight \(2,\) must have the"):
        loss(x, np.zeros((4, 2)), weight=[1.0, 2.0])


def test_a_mean_by_weights_of_elements_counts_in_an_epoch_by_their_sum():
    """The mean over two batches is that over both at once."""
    rng = np.random.default_rng(0)
    x, y, w = (rng.random((6, 2)) for _ in range(3))
    parts = [
        weighed(lambda a, b, s=s: F.mse_loss(a, b, weight=w[s]), tensor(x[s]), y[s], 3)
        for s in (slice(2), slice(2, 6))
    ]
    means, totals = [v.item() for v, _ in parts], [float(weight.total) for _, weight in parts]
    assert np.average(means, weights=totals) == pytest.approx(F.mse_loss(tensor(x), y, weight=w).item())


# ---- the other losses -------------------------------------------------------------------------------------


def test_binary_cross_entropy_of_extreme_logits():
    z = tensor([1e4, -1e4, 1e4, -1e4], "float32")
    losses = F.binary_cross_entropy_with_logits(z, np.array([1.0, 0.0, 0.0, 1.0]), reduction="none")
    np.testing.assert_array_equal(losses.numpy(), [0.0, 0.0, 1e4, 1e4])
    losses.sum().backward()
    np.testing.assert_array_equal(to_numpy(z.grad), [0.0, 0.0, 1.0, -1.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_the_focal_loss_of_saturated_scores(gamma, dtype):
    """Closed forms of y = (2 t - 1) x; (1 - p)^(gamma - 1) is infinite at p = 1, where the limits are 0."""
    x = np.array([40.0, -40, 20, -20, 1000, -1000, 40, -40, 0.5])
    t = np.array([1.0, 0, 1, 0, 1, 0, 0, 1, 1])
    z, goal = tensor(x, dtype), tensor(t, dtype)
    loss = F.sigmoid_focal_loss(z, goal, gamma=gamma)
    loss.sum().backward()
    y, alpha = (2 * t - 1) * x, np.where(t == 1, 0.25, 0.75)
    p, miss, log_p = special.expit(y), special.expit(-y), special.log_expit(y)
    slope = (2 * t - 1) * alpha * (gamma * miss**gamma * p * log_p - miss ** (gamma + 1))
    close = {"rtol": 1e-4 if dtype == "float32" else 1e-12, "atol": 1e-37}
    np.testing.assert_allclose(loss.numpy(), -alpha * miss**gamma * log_p, **close)
    np.testing.assert_allclose(to_numpy(z.grad), slope, **close)
    assert np.isfinite(to_numpy(goal.grad)).all()
    np.testing.assert_array_equal(loss.numpy()[4:6], 0)  # exact, where exp underflows
    np.testing.assert_array_equal(to_numpy(z.grad)[4:6], 0)


def test_mse_passes_a_gradient_to_both_sides():
    a, b = tensor([1.0, 2.0]), tensor([3.0, 5.0])
    F.mse_loss(a, b).backward()
    np.testing.assert_allclose(to_numpy(a.grad), [-2.0, -3.0])
    np.testing.assert_allclose(to_numpy(b.grad), [2.0, 3.0])


def test_the_perceptron_learns_from_mistakes_only():
    scores = tensor([2.0, -3.0, -1.0, 4.0])
    F.perceptron_loss(scores, np.array([1, 1, -1, -1]), reduction="sum").backward()
    np.testing.assert_array_equal(to_numpy(scores.grad), [0.0, -1.0, 0.0, 1.0])


def test_the_right_score_by_a_margin_costs_nothing():
    scores = tensor([[3.0, 1.0, 1.9]])
    loss = F.multi_margin_loss(scores, np.array([0]))
    loss.backward()
    assert loss.item() == 0
    np.testing.assert_array_equal(to_numpy(scores.grad), 0)


@pytest.mark.parametrize("regularizer", [F.l1, F.l2], ids=lambda f: f.__name__)
def test_regularizers_leave_out_biases_and_norms(regularizer):
    model = xpnet.nn.Sequential(xpnet.nn.Linear(3, 2), xpnet.nn.BatchNorm1d(2))
    regularizer(model, 0.5).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    given_one = [name for name, g in gradients.items() if g is not None and np.any(to_numpy(g))]
    assert given_one == ["0.weight"]


@pytest.mark.parametrize("regularizer", [F.l1, F.l2], ids=lambda f: f.__name__)
def test_a_regularizer_of_nothing(regularizer):
    with pytest.raises(ValueError, match="no weights to regularise"):
        regularizer([tensor([1.0])], 0.1)


# ---- half precision ---------------------------------------------------------------------------------------


@pytest.fixture
def half(backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    return lambda data: xpnet.tensor(np.asarray(data, dtype=np.float16), requires_grad=True)


def test_half_means_do_not_overflow(half):
    x = half(np.full(70_000, 2.0))  # the sum, 140 000, is above 65 504
    target = np.zeros(70_000)
    for f, expected in (
        (lambda: F.mse_loss(x, target), 4.0),
        (lambda: F.binary_cross_entropy_with_logits(x, target), math.log1p(math.exp(2))),
        (lambda: x.mean(), 2.0),
    ):
        x.grad = None
        y = f()
        assert "float16" in str(y.dtype)
        assert y.item() == pytest.approx(expected, rel=1e-3)
        y.backward()
        assert np.all(np.isfinite(to_numpy(x.grad)))
        assert np.any(to_numpy(x.grad) != 0)


def test_half_cross_entropy_over_many_classes_and_rows(half):
    wide = half(np.zeros((2, 100_000)))  # sum of exp is 100 000
    loss = F.cross_entropy(wide, np.array([0, 5]))
    assert loss.item() == pytest.approx(math.log(100_000), rel=1e-3)
    np.testing.assert_allclose(F.log_softmax(wide).numpy(), -math.log(100_000), rtol=1e-3)
    np.testing.assert_allclose(F.softmax(wide).numpy(), 1e-5, rtol=3e-3)
    tall = half(np.zeros((70_000, 2)))
    loss = F.cross_entropy(tall, np.zeros(70_000, np.int64))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-3)
    loss.backward()
    np.testing.assert_allclose(to_numpy(tall.grad)[:, 1], 0.5 / 70_000, rtol=0.01)


def test_half_sums_accumulate_in_float32(half):
    x = half(np.full(4096, 1.0))
    x.data[0] = 2048.0  # above 2048, float16 cannot count by ones
    assert x.sum().item() == 2048 + 4096  # 6143 rounds to 6144
    np.testing.assert_allclose(special.logsumexp(np.zeros(4096)), math.log(4096))


def test_l1_has_slope_0_at_0():
    """Of all subgradients in [-1, 1] the one that leaves a zero where it is, as torch's sign does."""
    w = xpnet.tensor(np.array([[-2.0, 0.0, -0.0, 3.0]]), requires_grad=True)
    F.l1([w], 0.5).backward()
    assert xpnet.to_numpy(w.grad).tolist() == [[-0.5, 0.0, 0.0, 0.5]]


@pytest.mark.host
@pytest.mark.parametrize("worst", [1.2, -0.1])
def test_a_probability_is_in_0_to_1(worst):
    with pytest.raises(ValueError, match=rf"binary_cross_entropy: x must be prob.*got {worst}; for scores"):
        F.binary_cross_entropy(np.array([0.5, worst]), np.array([1.0, 0.0]))
    assert np.isnan(float(F.binary_cross_entropy(np.array([0.5, np.nan]), np.array([1.0, 0.0]))))
    with pytest.raises(ValueError, match=rf"binary_cross_entropy: the target must be in .* got {worst}"):
        F.binary_cross_entropy(np.array([0.5, 0.5]), np.array([1.0, worst]))
    zeros = np.zeros((1, 2))
    with pytest.raises(ValueError, match=rf"elbo_loss: samples must be in .* got {worst}"):
        F.elbo_loss((zeros, zeros, zeros), np.array([[1.0, worst]]), "bernoulli")


@pytest.mark.host
@pytest.mark.parametrize("variance", [-2, np.array([1.0, -2.0])])
def test_a_variance_is_not_negative(variance):
    with pytest.raises(ValueError, match=r"gaussian_nll_loss: the variance must not be negative, got -2"):
        F.gaussian_nll_loss(np.zeros(2), np.zeros(2), variance)


def test_the_mean_over_no_samples_is_nan():
    nothing = xpnet.asarray(np.zeros((0, 3)))
    for reduction in ("batchmean", "mean"):
        assert np.isnan(float(F.kl_div(nothing, nothing, reduction=reduction)))


@pytest.mark.parametrize(("zero_infinity", "value"), [(False, np.inf), (True, 0.0)])
def test_a_target_too_long_for_its_input_has_no_gradient(zero_infinity, value):
    x = xpnet.tensor(np.full((2, 1, 3), -np.log(3)), requires_grad=True)
    loss = F.ctc_loss(x, [[1, 1]], [2], [2], zero_infinity=zero_infinity)
    loss.backward()
    assert float(loss) == value
    assert not xpnet.to_numpy(x.grad).any()


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss])
def test_a_weight_of_each_element_may_be_a_tensor(loss):
    """By name alone, as PyTorch's; one that wants a gradient is refused, as it has none."""
    x, t, w = tensor([0.0, 1.0, 4.0]), np.ones(3), np.array([1.0, 2.0, 3.0])
    expected = float(loss(x, t, weight=w))
    found = loss(x, t, weight=xpnet.tensor(w), reduction="mean")
    assert float(found) == expected
    found.backward()
    given, x.grad = to_numpy(x.grad), None
    loss(x, t, weight=w).backward()
    np.testing.assert_array_equal(given, to_numpy(x.grad))
    with pytest.raises(RuntimeError, match=f"weight of {loss.__name__} has no gradient"):
        loss(x, t, weight=tensor(w)).backward()
