"""Metrics of the whole set, not means of batches."""

import numpy as np
import pytest

import xpnet
from xpnet import nn
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy
from xpnet.train import (
    Confusion,
    accuracy,
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
    for k, share in ((1, 0.6), (2, 1.0), (3, 1.0), (9, 1.0)):
        metric = top_k_accuracy(k)
        assert metric.__name__ == f"top_{k}"
        assert float(metric(scores(), LABELS)) == pytest.approx(share)
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
