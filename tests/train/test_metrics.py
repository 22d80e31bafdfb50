"""Metrics of the whole set, not means of batches."""

from functools import partial

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy
from xpnet.train import (
    Confusion,
    Trainer,
    accuracy,
    confusion_matrix,
    evaluate,
    f1,
    precision,
    precision_recall_f1,
    recall,
    top_k_accuracy,
)

SCORES = np.array([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])
LABELS = np.array([0, 1, 0, 1, 2])


def scores():
    return xpnet.asarray(SCORES.astype(np.float32))


def test_top_k_ranks_the_target():
    # ranks of the targets, the first of equals ahead: 0, 0, 1, 1, 0
    for k, fraction in ((1, 0.6), (2, 1.0), (3, 1.0), (9, 1.0)):
        metric = top_k_accuracy(k)
        assert metric.__name__ == f"top_{k}"
        assert float(metric(scores(), LABELS)) == pytest.approx(fraction)
    assert float(top_k_accuracy(1)(scores(), LABELS)) == float(accuracy(scores(), LABELS))
    spoilt = SCORES.astype(np.float32)
    spoilt[0] = np.nan
    assert float(top_k_accuracy(3)(xpnet.asarray(spoilt), LABELS)) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="k must be at least 1"):
        top_k_accuracy(0)
    with pytest.raises(ValueError, match=r"top_2: expected scores \(N, C\) and labels \(N,\)"):
        top_k_accuracy(2)(scores(), LABELS[:2])


def test_confusion_adds_up_over_batches():
    confusion = Confusion()
    for part in (slice(0, 2), slice(2, 5)):
        confusion.add(scores()[part, ...], LABELS[part])
    assert confusion.matrix().tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 1]]
    assert confusion.matrix().dtype == np.int64
    with pytest.raises(ValueError, match="no batches"):
        Confusion().matrix()


@pytest.mark.host
def test_scores_by_hand():
    matrix = [[1, 0, 1], [1, 1, 0], [0, 0, 1]]
    each = precision_recall_f1(matrix, None)
    np.testing.assert_allclose(each, [[1 / 2, 1, 1 / 2], [1 / 2, 1 / 2, 1], [1 / 2, 2 / 3, 2 / 3]])
    assert precision_recall_f1(matrix, "micro") == pytest.approx((0.6, 0.6, 0.6))
    assert precision_recall_f1(matrix, "macro") == pytest.approx([np.mean(s) for s in each])
    assert precision_recall_f1(matrix, "weighted") == pytest.approx([s @ [0.4, 0.4, 0.2] for s in each])
    # a class that is nowhere counts for nothing, one that is only predicted counts 0
    assert precision_recall_f1([[1, 0], [0, 0]])[2] == 1.0
    assert precision_recall_f1([[1, 1], [0, 0]])[2] == pytest.approx((2 / 3 + 0) / 2)
    assert precision_recall_f1(np.zeros((2, 2))) == (0.0, 0.0, 0.0)
    for call in (precision, recall, f1, lambda a: precision_recall_f1(matrix, a)):
        with pytest.raises(ValueError, match='average is "macro", "micro", "weighted" or None'):
            call("mean")
    with pytest.raises(ValueError, match=r"expected a square matrix, got \(2, 3\)"):
        precision_recall_f1(np.zeros((2, 3)))


def test_evaluation_in_small_batches_gives_the_scores_of_the_set():
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(200, 4)).astype(np.float32), rng.integers(0, 3, 200))
    model = nn.Linear(4, 3)
    metrics = [accuracy, f1(), f1("weighted"), precision(None), recall("micro"), top_k_accuracy(2)]
    whole = evaluate(model, data, cross_entropy, metrics)
    parts = evaluate(model, DataLoader(data, 7), cross_entropy, metrics)
    assert list(parts) == [
        "loss",
        "accuracy",
        "top_2",
        "f1",
        "f1_weighted",
        "precision_0",
        "precision_1",
        "precision_2",
        "recall_micro",
    ]
    assert parts == pytest.approx(whole, rel=1e-5)
    assert parts["recall_micro"] == pytest.approx(parts["accuracy"])
    batch_means = [float(f1()(model(x), y)) for x, y in DataLoader(data, 7)]
    assert abs(np.mean(batch_means) - parts["f1"]) > 0.01  # what a mean over batches would say


# ---- labels are judged as by the losses -------------------------------------------------------------------

METRICS = {
    "accuracy": accuracy,
    "top_1": top_k_accuracy(1),
    "f1": f1("micro"),  # micro: the fraction of right ones, as accuracy is
    "recall": recall("micro"),
}


def measured(metric, z, y):
    return float(metric(z if isinstance(z, xpnet.Tensor) else xpnet.asarray(np.asarray(z, np.float32)), y))


@pytest.mark.parametrize("name", METRICS)
def test_ignored_rows_count_for_nothing(name):
    eye = np.eye(3)
    assert measured(METRICS[name], eye, np.array([0, -100, 2])) == 1
    assert measured(METRICS[name], eye, np.array([0, -100, 1])) == 0.5


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, -1, 2]), ValueError, "label -1 is out of range: with 3 classes"),
        (np.array([0, 3, 2]), ValueError, "label 3 is out of range"),
        (np.array([0.0, 1.0, 2.0]), TypeError, "must be integers, got float64"),
        (np.array([0, 1]), ValueError, r"expected scores \(N, C\) and labels \(N,\)"),
    ],
)
def test_wrong_labels_are_refused(name, labels, error, message):
    with pytest.raises(error, match=message):
        measured(METRICS[name], np.eye(3), labels)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("places", [[0], [1], [2], [0, 1], [0, 1, 2]])
def test_not_a_number_is_never_right(name, label, places):
    scores = np.eye(3)[[label]]
    scores[0, places] = np.nan
    assert measured(METRICS[name], scores, np.array([label])) == 0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("targets", [(4,), (4, 1)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32])
def test_one_logit_says_which_of_two_classes(name, shape, targets, dtype):
    if targets != (4,) and shape == (4,):
        pytest.skip("targets that the losses refuse as well")
    z = np.array([3.0, -2.0, 0.0, 0.5]).reshape(shape)
    assert measured(METRICS[name], z, np.array([1, 0, 1, 1]).astype(dtype).reshape(targets)) == 0.75
    with pytest.raises(ValueError, match="label 2 is out of range"):
        measured(METRICS[name], z, np.array([1, 0, 2, 1]).astype(dtype).reshape(targets))
    with pytest.raises(TypeError, match="must be 0 or 1"):
        measured(METRICS[name], z, np.full(targets, 0.5, np.float32))


def test_a_confusion_matrix_of_one_logit():
    confusion = Confusion()
    confusion.add(xpnet.asarray([[3.0], [-2.0], [1.0]]), np.array([1, 0, 0]))
    assert confusion.matrix().tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("ignored", [0, 7, 60])
def test_the_accuracy_of_a_set_does_not_depend_on_its_batches(ignored):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 100)
    y[:ignored] = -100
    data = Dataset(rng.normal(size=(100, 4)).astype(np.float32), y)
    model = nn.Linear(4, 3)
    z = xpnet.to_numpy(model(xpnet.tensor(data.x)))
    expected = np.mean(z.argmax(axis=1)[ignored:] == y[ignored:])
    for size in (7, 50, 100):
        for metrics in (None, [accuracy], [top_k_accuracy(1)], [f1("micro")]):
            result = evaluate(model, DataLoader(data, size, shuffle=False), cross_entropy, metrics)
            assert list(result.values())[1] == pytest.approx(expected, rel=1e-6)


def test_default_accuracy_only_of_classes():
    """Counts and signs are whole numbers, too; one output that fits them is a regression."""
    x = np.ones((6, 2), np.float32)
    model = nn.Linear(2, 1)
    loss = lambda z, y: (z * z).mean()
    for y, judged in (([0, 1, 1, 0, 1, 0], True), ([5, 1, 0, 7, 1, 2], False), ([1, -1, 1, 1, -1, 1], False)):
        for size in (2, 6):
            result = evaluate(model, DataLoader(Dataset(x, np.array(y)), size, shuffle=False), loss)
            assert ("accuracy" in result) == judged


@pytest.mark.host
@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ([accuracy, accuracy], ValueError, "two are called 'accuracy'"),
        ([f1(), f1("macro")], ValueError, "two are called 'f1'"),
        (["accuracy"], TypeError, r"got 'accuracy'; pass xpnet\.train\.accuracy"),
        ("accuracy", TypeError, "expected a list of functions"),
        (accuracy, TypeError, "expected a list of functions"),
        ([np.linalg], TypeError, r"functions of \(output, target\) with a __name__, got <module"),
        ([partial(accuracy)], TypeError, r"functions of .* with a __name__, got functools\.partial"),
    ],
)
def test_metrics_that_cannot_be_recorded_are_refused_at_once(metrics, error, message):
    model = nn.Linear(4, 3)
    with pytest.raises(error, match=message):
        Trainer(model, cross_entropy, optim.SGD(model), metrics=metrics)
    with pytest.raises(error, match=message):
        evaluate(model, Dataset(np.ones((2, 4), np.float32), np.array([0, 1])), cross_entropy, metrics)


@pytest.mark.host
def test_a_metric_called_loss_is_refused():
    def loss(z, y):
        return z.mean()

    with pytest.raises(ValueError, match="one is called 'loss'; give it another __name__"):
        Trainer(nn.Linear(1, 1), cross_entropy, optim.SGD(nn.Linear(1, 1)), metrics=[loss])


@pytest.mark.host
def test_a_confusion_matrix_on_the_host_judges_likewise():
    assert confusion_matrix([0, -100, 1], [0, 1, 0], 2).tolist() == [[1, 0], [1, 0]]
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        confusion_matrix([0.5, 1.0], [0, 1], 2)


@pytest.mark.host
def test_a_confusion_matrix_has_no_row_for_a_label_that_is_no_class():
    for labels in ([0, -1, 2], [0, 3, 2], [0, -100, 2]):
        confusion = Confusion()
        if -100 in labels:
            confusion.add(np.eye(3), np.array(labels))
        else:
            with pytest.warns(UserWarning, match="Confusion: 1 labels are left out, the first of them"):
                confusion.add(np.eye(3), np.array(labels))
        assert confusion.matrix().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
