"""Samples that weigh differently: PyTorch's loss of rows that are there as often as they weigh."""

from functools import partial

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import Arrays, DataLoader
from xpnet.train import Trainer, accuracy, evaluate, roc_auc, sample_weighted


def sample(n):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 4)).astype(np.float32), {"kind": rng.integers(0, 3, n)}


RNG = np.random.default_rng(4)
CLASS = np.float32([1, 2, 5])
ROWS, LABELS = RNG.normal(size=(4, 3)).astype(np.float32), np.array([0, 1, 2, 1])
PLACES, PADDED = RNG.normal(size=(4, 3, 5)).astype(np.float32), RNG.integers(0, 3, (4, 5))
PADDED[0, 2:] = PADDED[1, 1:] = PADDED[3] = -100
AMOUNTS, ELEMENTS = RNG.normal(size=(4, 3)).astype(np.float32), RNG.uniform(0, 3, (4, 3)).astype(np.float32)
COPIES = np.array([3, 1, 2, 1])
SHARES = np.exp(ROWS) / np.exp(ROWS).sum(axis=1, keepdims=True)


def logs(z):
    return F.log_softmax(z, dim=1)


CASES = {  # our loss, PyTorch's of the same, outputs, targets
    "class weights": (
        lambda w: partial(F.cross_entropy, weight=xpnet.asarray(w)),
        lambda f, w: partial(f.cross_entropy, weight=w),
        (ROWS, LABELS),
    ),
    "class weights, ignored, smoothed": (
        lambda w: partial(F.cross_entropy, weight=w, ignore_index=1, label_smoothing=0.1),
        lambda f, w: partial(f.cross_entropy, weight=w, ignore_index=1, label_smoothing=0.1),
        (ROWS, LABELS),
    ),
    "padded": (lambda w: F.cross_entropy, lambda f, w: f.cross_entropy, (PLACES, PADDED)),
    "padded, class weights": (
        lambda w: partial(F.cross_entropy, weight=w),
        lambda f, w: partial(f.cross_entropy, weight=w),
        (PLACES, PADDED),
    ),
    "nll, padded, class weights": (
        lambda w: lambda z, y, reduction: F.nll_loss(logs(z), y, weight=w, reduction=reduction),
        lambda f, w: lambda z, y: f.nll_loss(f.log_softmax(z, 1), y, weight=w),
        (PLACES, PADDED),
    ),
    "a module of all losses": (
        lambda w: nn.CrossEntropyLoss(w, reduction="none"),
        lambda f, w: partial(f.cross_entropy, weight=w),
        (PLACES, PADDED),
    ),
    "a module of their mean": (
        lambda w: nn.CrossEntropyLoss(w),
        lambda f, w: partial(f.cross_entropy, weight=w),
        (PLACES, PADDED),
    ),
    "an nll module": (
        lambda w: nn.NLLLoss(w, ignore_index=2),
        lambda f, w: partial(f.nll_loss, weight=w, ignore_index=2),
        (ROWS, LABELS),
    ),
    "a function of them": (
        lambda w: lambda z, y: F.cross_entropy(z, y, weight=w, reduction="none"),
        lambda f, w: partial(f.cross_entropy, weight=w),
        (PLACES, PADDED),
    ),
    "hinge, whose mean is by their number": (
        lambda w: partial(F.multi_margin_loss, weight=w),
        lambda f, w: partial(f.multi_margin_loss, weight=w),
        (ROWS, LABELS),
    ),
    "amounts": (lambda w: nn.MSELoss(), lambda f, w: f.mse_loss, (ROWS, AMOUNTS)),
    "a sum": (
        lambda w: nn.L1Loss(reduction="sum"),
        lambda f, w: partial(f.l1_loss, reduction="sum"),
        (ROWS, AMOUNTS),
    ),
    "a mean of samples": (
        lambda w: partial(F.kl_div, reduction="batchmean"),
        lambda f, w: partial(f.kl_div, reduction="batchmean"),
        (ROWS, SHARES),
    ),
}


@pytest.mark.host
@pytest.mark.parametrize("copies", [np.ones(4, int), COPIES, np.array([0, 2, 1, 0])], ids=str)
@pytest.mark.parametrize(("ours", "theirs", "data"), CASES.values(), ids=CASES)
def test_a_weighted_loss_is_pytorchs_of_copies_of_the_samples(ours, theirs, data, copies):
    torch = pytest.importorskip("torch")
    (z, y), w = data, torch.tensor(CLASS)
    a = xpnet.tensor(z, requires_grad=True)
    found = sample_weighted(ours(CLASS))(a, (y, copies.astype(np.float32)))
    b = torch.tensor(z, requires_grad=True)
    index = np.repeat(np.arange(4), copies)
    expected = theirs(torch.nn.functional, w)(b[index], torch.tensor(y)[index])
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(to_numpy(a.grad), b.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.host
def test_elements_weigh_as_the_loss_says():
    """Ours: PyTorch's mse_loss(weight=) of a batch is that of rows beside each other, too."""
    loss = lambda z, y, reduction="mean": F.mse_loss(z, y, weight=ELEMENTS, reduction=reduction)
    again = lambda a: np.repeat(a, COPIES, axis=0)
    expected = F.mse_loss(xpnet.asarray(again(ROWS)), again(AMOUNTS), weight=again(ELEMENTS))
    found = sample_weighted(loss)(xpnet.asarray(ROWS), (AMOUNTS, COPIES))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    huber = lambda z, y, reduction: F.huber_loss(z, y, weight=ELEMENTS, reduction=reduction)
    expected = F.huber_loss(xpnet.asarray(again(ROWS)), again(AMOUNTS), weight=again(ELEMENTS))
    found = sample_weighted(huber)(xpnet.asarray(ROWS), (AMOUNTS, COPIES))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_padded_targets_and_class_weights_are_evaluated_whatever_the_batches():
    loss = sample_weighted(partial(F.cross_entropy, weight=CLASS))
    z, y, n = np.tile(PLACES, (3, 1, 1)), np.tile(PADDED, (3, 1)), np.arange(12)
    found = [
        evaluate(nn.Identity(), DataLoader(Arrays((z, (y, n))), size, shuffle=False), loss, [])["loss"]
        for size in (1, 5, 12)
    ]
    expected = F.cross_entropy(xpnet.asarray(np.repeat(z, n, 0)), np.repeat(y, n, 0), CLASS)
    assert found == pytest.approx([float(expected)] * 3, rel=1e-5)


def test_what_weighs_nothing_is_not_there_whatever_its_loss():
    z = np.float32([[0.0, -np.inf], [1.0, 2.0]])
    found = sample_weighted(F.cross_entropy)(xpnet.asarray(z), ([1, 0], [0.0, 2.0]))
    assert float(found) == pytest.approx(float(F.cross_entropy(xpnet.asarray(z[1:]), [0])))


@pytest.mark.host
def test_sums_of_half_precision_are_made_in_float32():
    z, y = np.zeros((300, 2), np.float16), np.zeros(300, int)
    found = sample_weighted(F.cross_entropy)(xpnet.asarray(z), (y, np.full(300, 1000.0)))
    assert "float16" in str(found.dtype)
    assert float(found) == pytest.approx(np.log(2), rel=1e-3)


@pytest.mark.host
@pytest.mark.parametrize(
    ("loss", "weights", "message"),
    [
        (
            F.cross_entropy,
            [1, -2, 1, 1],
            "sample 1 of the batch weighs -2; weights are finite and not negative",
        ),
        (F.cross_entropy, [1, 2, 1, np.nan], "sample 3 of the batch weighs nan"),
        (F.cross_entropy, [1, 2, np.inf, 1], "sample 2 of the batch weighs inf"),
        (F.cross_entropy, [[1, 2, 3, 1]], r"expected \(n,\) weights, one a sample, got \(1, 4\)"),
        (
            lambda z, y: F.cross_entropy(z, y),
            [1, 2, 1, 1],
            r'each of 4 samples, got their mean or sum.*"none"',
        ),
        (
            lambda z, y: (
                F.cross_entropy(z, y, weight=CLASS, reduction="none")
                + F.cross_entropy(z, y, reduction="none")
            ),
            [1, 2, 1, 1],
            "made of several, .* weigh each, and add them up",
        ),
    ],
)
def test_what_cannot_be_weighed_is_refused(loss, weights, message):
    with pytest.raises(ValueError, match=message):
        sample_weighted(loss)(xpnet.asarray(ROWS), (LABELS, weights))


def test_a_loss_a_sample_of_ones_own_weighs_a_sample_each():
    """A mean of each row of places, made by hand: every row counts alike, whatever was ignored in it."""
    rows = lambda z, y: xpnet.core.operators.mean(F.cross_entropy(z, y, reduction="none"), axis=1)
    found = sample_weighted(rows)(xpnet.asarray(PLACES), (PADDED, COPIES))
    expected = np.average(to_numpy(rows(xpnet.asarray(PLACES), PADDED)), weights=COPIES)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.host
@pytest.mark.parametrize("accumulate", [1, 3])
def test_captured_steps_weigh_each_batch_anew(accumulate):
    x, y = sample(48)
    weights = np.random.default_rng(3).uniform(0, 2, 48).astype(np.float32)
    labels = np.where(np.arange(48) % 24 == 0, -100, y["kind"])
    found = []
    for capture in (False, True):
        xpnet.manual_seed(0)
        model = nn.Linear(4, 3)
        loss = sample_weighted(nn.CrossEntropyLoss(CLASS))
        trainer = Trainer(
            model, loss, optim.Adam(model, lr=0.1), capture=capture, accumulate=accumulate, verbose=False
        )
        history = trainer.fit(DataLoader(Arrays((x, (labels, weights))), 8, shuffle=False), epochs=3)
        found.append((history["train_loss"], to_numpy(model.weight.data)))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.host
def test_a_captured_step_refuses_a_weight_below_0_that_comes_later():
    x, y = sample(48)
    weights = np.ones(48, np.float32)
    weights[-1] = -1
    model = nn.Linear(4, 3)
    trainer = Trainer(model, sample_weighted(F.cross_entropy), optim.Adam(model), capture=True, verbose=False)
    with pytest.raises(ValueError, match="sample 7 of the batch weighs -1"):
        trainer.fit(DataLoader(Arrays((x, (y["kind"], weights))), 8, shuffle=False), epochs=1)


WEIGHED = {
    "a function": (F.cross_entropy, "labels"),
    "with an option": (partial(F.cross_entropy, label_smoothing=0.1), "labels"),
    "of several numbers": (F.mse_loss, "numbers"),
    "a module": (nn.CrossEntropyLoss(reduction="none"), "labels"),
}


@pytest.mark.parametrize(("loss", "kind"), WEIGHED.values(), ids=WEIGHED)
def test_a_weight_is_so_many_copies_of_the_sample(loss, kind):
    rng = np.random.default_rng(2)
    z, counts = rng.normal(size=(6, 3)).astype(np.float32), np.array([1, 3, 0, 2, 1, 1])
    y = rng.integers(0, 3, 6) if kind == "labels" else rng.normal(size=(6, 3)).astype(np.float32)
    a, b = (xpnet.tensor(v, requires_grad=True) for v in (z, np.repeat(z, counts, axis=0)))
    found = sample_weighted(loss)(a, (y, counts.astype(np.float32)))
    expected = loss(b, np.repeat(y, counts, axis=0))
    expected = expected.mean() if tuple(expected.shape) else expected
    assert float(found.item()) == pytest.approx(float(expected.item()), rel=1e-5)
    found.backward()
    expected.backward()
    ends = np.cumsum(counts)
    of_copies = [xpnet.to_numpy(b.grad)[e - n : e].sum(axis=0) for e, n in zip(ends, counts, strict=True)]
    np.testing.assert_allclose(xpnet.to_numpy(a.grad), of_copies, rtol=1e-4, atol=1e-6)


def test_weights_of_samples_are_trained_with_whatever_the_batches():
    x, y = sample(61)
    weights = np.random.default_rng(3).uniform(0, 2, 61).astype(np.float32)
    loss = sample_weighted(F.cross_entropy)
    data = (x, (y["kind"], weights))
    model = nn.Linear(4, 3)
    whole_, parts = (
        evaluate(model, DataLoader(Arrays(data), n, shuffle=False), loss)["loss"] for n in (61, 8)
    )
    assert whole_ == pytest.approx(parts, rel=1e-5)
    history = Trainer(model, loss, optim.Adam(model, lr=0.1)).fit(data, data, epochs=5)
    assert history["val_loss"][-1] < history["val_loss"][0]
    for target, message in (
        (y["kind"], "the target is a pair"),
        ((y["kind"], weights[:3]), r"expected \(61,\) weights, got \(3,\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            loss(model(xpnet.asarray(x)), target)


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(reduction="none")])
def test_ignored_rows_weigh_nothing_and_nothing_weighs_nothing(loss):
    z, y = np.float32([[2, 0], [0, 1], [3, 3]]), np.array([0, -100, 1])
    found = sample_weighted(loss)(xpnet.asarray(z), (y, np.float32([1, 5, 2])))
    kept = sample_weighted(loss)(xpnet.asarray(z[[0, 2]]), (y[[0, 2]], np.float32([1, 2])))
    assert float(found) == pytest.approx(float(kept), rel=1e-6)
    output = xpnet.tensor(z, requires_grad=True)
    none = sample_weighted(loss)(output, (np.array([0, 1, 1]), np.zeros(3, np.float32)))
    none.backward()
    assert float(none.item()) == 0
    assert not xpnet.to_numpy(output.grad).any()
    # amounts have no ignored value
    found = sample_weighted(F.mse_loss)(xpnet.asarray([0.0, 1.0]), (np.array([-100.0, 1.0]), [1.0, 1.0]))
    assert float(found) == 5000


def test_metrics_judge_the_targets_of_weighted_samples_and_validation_needs_no_weights():
    x, y = sample(40)
    labels, weights = y["kind"], np.linspace(0, 2, 40, dtype=np.float32)
    model = nn.Linear(4, 3)
    trainer = Trainer(
        model,
        sample_weighted(F.cross_entropy),
        optim.Adam(model),
        metrics=[accuracy, roc_auc()],
        verbose=False,
    )
    history = trainer.fit((x, (labels, weights)), (x, (labels, weights)), epochs=1)
    plain = evaluate(model, (x, labels), F.cross_entropy, [accuracy, roc_auc()])
    assert history["val_accuracy"][-1] == pytest.approx(plain["accuracy"])
    assert history["val_roc_auc"][-1] == pytest.approx(plain["roc_auc"])
    assert trainer.evaluate((x, labels)) == pytest.approx(plain)
    assert "accuracy" in evaluate(model, (x, (labels, weights)), trainer.loss)
