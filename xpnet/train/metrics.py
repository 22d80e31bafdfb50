"""Measures of a model's output, and means over batches that wait for the device once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.autograd import Tensor
from xpnet.backend import Array, asarray, backend_of, namespace, to_numpy

Metric = Callable[[Any, Any], Array]


def accuracy(logits: Array | Tensor, target: Any) -> Array:
    """The share of rows whose largest score is at the target.

    Args:
        logits: (N, C) scores.
        target: (N,) class indices.

    Returns:
        A 0-d float32 array on the device of the scores.

    Raises:
        ValueError: the shapes do not fit.

    >>> import xpnet
    >>> from xpnet.train import accuracy
    >>> float(accuracy(xpnet.asarray([[0.0, 1.0], [3.0, 2.0]]), [1, 1]))
    0.5
    """
    scores = logits.data if isinstance(logits, Tensor) else logits
    labels = asarray(target, backend=backend_of(scores))
    if scores.ndim != 2 or tuple(labels.shape) != (scores.shape[0],):
        raise ValueError(
            f"accuracy: expected scores (N, C) and labels (N,), got {tuple(scores.shape)} and "
            f"{tuple(labels.shape)}"
        )
    xp = namespace(scores)
    return xp.mean(xp.astype(xp.argmax(scores, axis=1) == xp.astype(labels, xp.int64), xp.float32))


def confusion_matrix(target: Any, predicted: Any, classes: int) -> np.ndarray:
    """Counts of (true class, predicted class): (classes, classes) int64, the true class by row.

    Raises:
        ValueError: unequal lengths, or a label outside 0 .. classes-1.

    >>> from xpnet.train import confusion_matrix
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    target, predicted = to_numpy(target), to_numpy(predicted)
    if target.shape != predicted.shape or target.ndim != 1:
        raise ValueError(
            f"confusion_matrix: expected two vectors of one length, got {target.shape} and {predicted.shape}"
        )
    for labels in (target, predicted):
        if labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(
                f"confusion_matrix: labels must be 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
            )
    pairs = target.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


class Mean:
    """A weighted mean of 0-d arrays: they stay on the device until `result`, which waits once."""

    def __init__(self) -> None:
        self.values: list[Array] = []
        self.weights: list[int] = []

    def add(self, value: Array, weight: int) -> None:
        """One batch's mean and the number of its samples."""
        self.values.append(value)
        self.weights.append(weight)

    def result(self, what: str = "data") -> float:
        """The mean over all samples. The host waits here, so errors that kernels flagged are raised here too.

        Raises:
            ValueError: nothing was added; `what` names the data in the message.
        """
        if not self.values:
            raise ValueError(f"the {what} gave no batches; a generator can be used only once")
        first = self.values[0]
        values = to_numpy(first if len(self.values) == 1 else namespace(first).stack(self.values))
        cuda = sys.modules.get("xpnet.cuda")
        if cuda is not None and hasattr(cuda, "check_errors"):
            cuda.check_errors()
        return float(np.average(np.atleast_1d(values).astype(np.float64), weights=self.weights))
