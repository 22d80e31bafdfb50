"""Precision, recall and F1: ratios of counts, so they are made from the counts of the whole set.

The mean of a ratio over batches is not the ratio over the set. The confusion matrix is added up on the
device, batch by batch, and every score is a function of the sum.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from xpnet.core.arrays import scatter_add
from xpnet.core.backend import Array
from xpnet.core.convert import array_like, to_numpy
from xpnet.core.places import backend_name, namespace
from xpnet.core.tensor import Tensor, array_of
from xpnet.train.metrics import IGNORED, scores_and_labels

_AVERAGES = ("macro", "micro", "weighted", None)


def confusion_counts(logits: Array | Tensor, target: Any) -> Array:
    """Counts of (true class, predicted class) on the device of the scores.

    Args:
        logits: (N, C) scores; the largest one of a row is the prediction. One logit a row: see `accuracy`.
        target: (N,) class indices; rows with -100 count for nothing.

    Returns:
        (C, C) float32, exact up to 2^24 samples; the true class by row. A row with a NaN, which predicts
        nothing, counts as a mistake: for the class after the true one.

    Raises:
        ValueError: the shapes do not fit, or a label is out of range.
        TypeError: labels that are not integers.
    """
    scores, labels, rows = scores_and_labels(logits, target, "confusion_counts")
    xp, classes = namespace(scores), scores.shape[1]
    predicted = xp.astype(xp.argmax(scores, axis=1), xp.int64, copy=False)
    predicted = xp.where(xp.any(scores != scores, axis=1), (labels + 1) % classes, predicted)
    ones = xp.ones_like(scores[:, 0], dtype=xp.float32)
    ones = ones if rows is None else xp.astype(rows, xp.float32)
    return scatter_add((classes, classes), (labels, predicted), ones)


class Confusion:
    """A confusion matrix added up over batches on the device.

    >>> import xpnet
    >>> from xpnet.train import Confusion
    >>> confusion = Confusion()
    >>> confusion.add(xpnet.asarray([[2.0, 1.0], [0.0, 3.0]]), [0, 0])
    >>> confusion.matrix()
    array([[1, 1],
           [0, 0]])
    """

    def __init__(self) -> None:
        self._counts: Array | None = None

    def add(self, logits: Array | Tensor, target: Any) -> None:
        """Count one batch: scores (N, C), labels (N,).

        Warns:
            UserWarning: a label is no class. It is left out: the matrix has no row for it. (The scores that
                are made of a matrix, such as `f1`, refuse it, as the losses do.)
        """
        target = array_like(target)
        if backend_name(target) != "cupy" and "int" in str(target.dtype):  # not to wait for the device
            labels = to_numpy(target)
            classes = max(array_of(logits).shape[1:] or (1,))
            wrong = (labels != IGNORED) & ((labels < 0) | (labels >= max(classes, 2)))
            if wrong.any():
                warnings.warn(
                    f"Confusion: {wrong.sum()} labels are left out, the first of them {labels[wrong][0]}: "
                    f"labels are 0 to {max(classes, 2) - 1}",
                    stacklevel=2,
                )
                target = np.where(wrong, IGNORED, labels)
        self.add_counts(confusion_counts(logits, target))

    def add_counts(self, counts: Array) -> None:
        """Add what `confusion_counts` gave for one batch."""
        xp = namespace(counts)
        counts = xp.astype(counts, xp.int64)
        self._counts = counts if self._counts is None else self._counts + counts

    def matrix(self) -> np.ndarray:
        """(C, C) int64 on the host, the true class by row. The host waits here.

        Raises:
            ValueError: nothing was added.
        """
        if self._counts is None:
            raise ValueError("Confusion: no batches were added")
        return to_numpy(self._counts)


def precision_recall_f1(matrix: Any, average: str | None = "macro") -> tuple[Any, Any, Any]:
    """Precision, recall and F1 from a confusion matrix, as scikit-learn defines them.

    Args:
        matrix: (C, C) counts, the true class by row.
        average: "macro", the mean over classes; "weighted", that weighted by true counts; "micro", from the
            counts of all classes together; None, one number a class. A class that is neither true nor
            predicted anywhere is left out of the mean.

    Returns:
        Three floats, or three (C,) arrays. 0 / 0 counts as 0.

    Raises:
        ValueError: another shape or average.

    >>> from xpnet.train import precision_recall_f1
    >>> precision_recall_f1([[8, 2], [1, 9]], average="micro")
    (0.85, 0.85, 0.85)
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"precision_recall_f1: expected a square matrix, got {counts.shape}")
    if average not in _AVERAGES:
        raise ValueError(f'average is "macro", "micro", "weighted" or None, got {average!r}')
    right, predicted, true = np.diagonal(counts), counts.sum(axis=0), counts.sum(axis=1)
    if average == "micro":
        right, predicted, true = right.sum(), predicted.sum(), true.sum()
    scores = _ratio(right, predicted), _ratio(right, true), _ratio(2 * right, predicted + true)
    if average is None:
        return scores
    if average == "micro":
        precision, recall, f1 = (float(s) for s in scores)
        return precision, recall, f1
    weight = true if average == "weighted" else ((predicted + true) > 0).astype(np.float64)
    precision, recall, f1 = (float(_ratio((s * weight).sum(), weight.sum())) for s in scores)
    return precision, recall, f1


def _ratio(a: Any, b: Any) -> Any:
    return np.divide(a, b, out=np.zeros_like(np.asarray(a, dtype=np.float64)), where=np.asarray(b) > 0)


class ClassificationScore:
    """A metric of the whole set made from its confusion matrix; `precision`, `recall` and `f1` make them.

    Attributes:
        __name__: its name in the history; with average None, one number a class under `<name>_<class>`.
    """

    def __init__(self, kind: str, average: str | None) -> None:
        if average not in _AVERAGES:
            raise ValueError(f'{kind}: average is "macro", "micro", "weighted" or None, got {average!r}')
        self.index, self.average = ("precision", "recall", "f1").index(kind), average
        self.__name__ = kind if average in ("macro", None) else f"{kind}_{average}"

    def __call__(self, logits: Array | Tensor, target: Any) -> Any:
        """The score of one batch alone, on the host."""
        return self.of(to_numpy(confusion_counts(logits, target)))

    def of(self, matrix: Any) -> Any:
        """The score of a confusion matrix."""
        return precision_recall_f1(matrix, self.average)[self.index]

    def row(self, matrix: Any) -> dict[str, float]:
        """The same as entries of a history."""
        value = self.of(matrix)
        if self.average is not None:
            return {self.__name__: value}
        return {f"{self.__name__}_{k}": float(v) for k, v in enumerate(value)}


def precision(average: str | None = "macro") -> ClassificationScore:
    """A metric: right predictions of a class among all of it; `average` as in `precision_recall_f1`."""
    return ClassificationScore("precision", average)


def recall(average: str | None = "macro") -> ClassificationScore:
    """A metric: right predictions of a class among its samples; `average` as in `precision_recall_f1`."""
    return ClassificationScore("recall", average)


def f1(average: str | None = "macro") -> ClassificationScore:
    """A metric: the harmonic mean of precision and recall; `average` as in `precision_recall_f1`.

    >>> from xpnet.train import f1
    >>> f1("macro").__name__, f1("weighted").__name__
    ('f1', 'f1_weighted')
    """
    return ClassificationScore("f1", average)
