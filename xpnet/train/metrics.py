"""Measures of a model's output, and means over batches that wait for the device once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.arrays import arange, take_columns
from xpnet.autograd import Tensor, array_of
from xpnet.backend import Array, asarray, backend_of, namespace, to_numpy

Metric = Callable[[Any, Any], Array]
"""A function of (output, target): a mean over the batch on the device; or a score of `classification`."""


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
    scores, labels = scores_and_labels(logits, target, "accuracy")
    xp = namespace(scores)
    return xp.mean(xp.astype(xp.argmax(scores, axis=1) == labels, xp.float32))


def scores_and_labels(logits: Array | Tensor, target: Any, name: str) -> tuple[Array, Array]:
    """(N, C) scores, and (N,) int64 labels beside them.

    Raises:
        ValueError: other shapes; `name` is that of the metric.
    """
    scores = array_of(logits)
    labels = asarray(target, backend=backend_of(scores))
    if scores.ndim != 2 or tuple(labels.shape) != (scores.shape[0],):
        raise ValueError(
            f"{name}: expected scores (N, C) and labels (N,), got {tuple(scores.shape)} and "
            f"{tuple(labels.shape)}"
        )
    xp = namespace(scores)
    return scores, xp.astype(labels, xp.int64, copy=False)


def top_k_accuracy(k: int) -> Metric:
    """A metric: the share of rows whose target is among the `k` largest scores, under the name `top_<k>`.

    Equal scores rank by class, as `argmax` takes the first: `top_k_accuracy(1)` is `accuracy`.

    Raises:
        ValueError: k is below 1.

    >>> import xpnet
    >>> from xpnet.train import top_k_accuracy
    >>> float(top_k_accuracy(2)(xpnet.asarray([[0.1, 0.5, 0.4], [0.7, 0.2, 0.1]]), [2, 2]))
    0.5
    """
    if k < 1:
        raise ValueError(f"top_k_accuracy: k must be at least 1, got {k}")

    def top(logits: Array | Tensor, target: Any) -> Array:
        scores, labels = scores_and_labels(logits, target, top.__name__)
        xp = namespace(scores)
        own = xp.expand_dims(take_columns(scores, labels), axis=1)
        earlier = xp.expand_dims(arange(scores.shape[1], labels), axis=0) < xp.expand_dims(labels, axis=1)
        ahead = (scores > own) | ((scores == own) & earlier)
        rank = xp.sum(xp.astype(ahead, xp.int64), axis=1)
        hit = (rank < k) & (own == own)[:, 0]  # a NaN is never right
        return xp.mean(xp.astype(hit, xp.float32))

    top.__name__ = f"top_{k}"
    return top


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
        self._restored = np.zeros(0, dtype=np.float32)  # the values of before a checkpoint, on the host

    def __len__(self) -> int:
        return len(self.weights)

    def add(self, value: Array, weight: int) -> None:
        """One batch's mean and the number of its samples."""
        self.values.append(value)
        self.weights.append(weight)

    def _host(self) -> np.ndarray:
        """All values on the host, in their dtype. The host waits here."""
        if not self.values:
            return self._restored
        first = self.values[0]
        values = to_numpy(first if len(self.values) == 1 else namespace(first).stack(self.values))
        values = np.reshape(values, -1)
        return np.concat([self._restored.astype(values.dtype), values]) if len(self._restored) else values

    def result(self, what: str = "data") -> float:
        """The mean over all samples. The host waits here, so what a device has noted is raised here.

        Raises:
            ValueError: nothing was added; `what` names the data in the message.
        """
        if not self.weights:
            raise ValueError(f"the {what} gave no batches; a generator can be used only once")
        values = self._host()
        return float(np.average(values.astype(np.float64), weights=self.weights))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Values and weights, on the host."""
        return {"values": self._host(), "weights": np.asarray(self.weights, dtype=np.int64)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state_dict` gave."""
        self.values, self._restored, self.weights = [], state["values"], state["weights"].tolist()
