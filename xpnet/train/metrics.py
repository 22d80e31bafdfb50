"""Measures of a model's output, and means over batches that wait for the device once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.core.arrays import arange, take_columns
from xpnet.core.backend import Array
from xpnet.core.checks import nearest
from xpnet.core.convert import array_like, to_numpy
from xpnet.core.places import following, namespace
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional.targets import class_indices
from xpnet.functional.weighing import added_up, report

Metric = Callable[[Any, Any], Array]
"""A function of (output, target): a mean over the batch on the device; or a score of `classification`."""

Metrics = Sequence[Metric] | Mapping[str, Sequence[Metric]]
"""Those of one output, or of several by name."""

IGNORED = -100
"""The label that losses and metrics pass over."""


def check_metrics(metrics: Any) -> None:
    """Refuse what cannot be measured and recorded.

    Raises:
        TypeError: no sequence of functions with names, nor a dict of such.
        ValueError: two of one name, or one called "loss".
    """
    if metrics is None:
        return
    if isinstance(metrics, Mapping):
        for name, of_one in metrics.items():
            if not isinstance(name, str) or of_one is None:
                raise TypeError(f"metrics: expected lists by names of outputs, got {of_one!r} of {name!r}")
            check_metrics(of_one)
        _check_names(names_of(metrics))
        return
    if callable(metrics) or isinstance(metrics, str):
        raise TypeError(f"metrics: expected a list of functions of (output, target), got {metrics!r}")
    for metric in metrics:
        if not callable(metric) or not hasattr(metric, "__name__"):
            known = ("accuracy", "f1", "precision", "recall")
            near = nearest(metric, known)
            hint = f"; pass xpnet.train.{near}" if near else ""
            raise TypeError(
                f"metrics: expected functions of (output, target) with a __name__, got {metric!r}{hint}"
            )
    _check_names(names_of(metrics))


def names_of(metrics: Metrics) -> list[str]:
    """What they are recorded under."""
    if isinstance(metrics, Mapping):
        return [f"{name}_{metric.__name__}" for name, of_one in metrics.items() for metric in of_one]
    return [metric.__name__ for metric in metrics]


def _check_names(names: list[str]) -> None:
    for name in names:
        if name == "loss" or names.count(name) > 1:
            raise ValueError(
                f"metrics: {'two are' if name != 'loss' else 'one is'} called {name!r}; "
                "give it another __name__, under which it is recorded"
            )


@following
def accuracy(logits: Array | Tensor, target: Any) -> Array:
    """The fraction of rows whose largest score is at the target.

    Args:
        logits: (N, C) scores; or (N, 1) or (N,), one logit a row: above 0 it says class 1, else class 0.
        target: (N,) class indices; rows with -100 count for nothing.

    Returns:
        A 0-d float32 array on the device of the scores; NaN if no row counts. A row with NaN is never right.

    Raises:
        ValueError: the shapes do not fit, or a label is out of range.
        TypeError: labels that are not integers.

    >>> import xpnet
    >>> from xpnet.train import accuracy
    >>> float(accuracy(xpnet.asarray([[0.0, 1.0], [3.0, 2.0]]), [1, 1]))
    0.5
    """
    scores, labels, rows = scores_and_labels(logits, target, "accuracy")
    xp = namespace(scores)
    best = xp.max(scores, axis=1) == take_columns(scores, labels)  # NaN equals nothing
    return fraction_of(best & (xp.argmax(scores, axis=1) == labels), rows)


@following
def scores_and_labels(logits: Array | Tensor, target: Any, name: str) -> tuple[Array, Array, Array | None]:
    """(N, C) scores, (N,) int64 labels, judged as by the losses, and what each counts (None: all 1).

    One logit z a row becomes the two scores 0 and z; its targets may have its shape, and be 0.0 and 1.0.

    Raises:
        ValueError: other shapes, or labels out of range; `name` is that of the metric.
        TypeError: labels that are not integers.
    """
    check_one(logits, target, name)
    scores = array_of(logits)
    xp = namespace(scores)
    labels = array_like(target)
    one_logit = scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1)
    if one_logit:
        if tuple(labels.shape) == tuple(scores.shape):
            labels = namespace(labels).reshape(labels, (-1,))
        scores = xp.reshape(scores, (-1, 1))
        scores = xp.concat([xp.zeros_like(scores), scores], axis=1)
        labels = _whole(labels, name)
    if scores.ndim != 2 or tuple(labels.shape) != (scores.shape[0],):
        raise ValueError(
            f"{name}: expected scores (N, C) and labels (N,), got {tuple(array_of(logits).shape)} and "
            f"{tuple(labels.shape)}"
        )
    labels, rows = class_indices(labels, scores, scores.shape[1], IGNORED, name)
    return scores, labels, rows


def check_one(output: Any, target: Any, name: str) -> None:
    """Refuse several outputs or targets.

    Raises:
        TypeError: with how to name one.
    """
    if isinstance(output, tuple | list | Mapping) or isinstance(target, tuple | Mapping):
        raise TypeError(
            f"{name} is of one output and one target, got several; name the output that it is of, as in "
            'metrics={"kind": [accuracy, roc_auc()], "size": [r2()]}'
        )


def _whole(labels: Any, name: str) -> Any:
    """The targets 0.0 and 1.0 of a binary loss as integers."""
    if "float" not in str(labels.dtype):
        return labels
    xp = namespace(labels)
    whole = xp.astype(labels, xp.int64)
    if not bool(xp.all(whole == labels)):
        raise TypeError(f"{name}: the targets of one logit must be 0 or 1 to be counted as right or wrong")
    return whole


def fraction_of(hit: Array, rows: Array | None) -> Array:
    """The fraction of the rows that count in which `hit` holds, and its weight to whoever adds up batches."""
    xp = namespace(hit)
    hit = xp.astype(hit, xp.float32)
    if rows is None:
        return xp.mean(hit)
    rows = xp.astype(rows, xp.float32)
    count = xp.sum(rows)
    report(count, hit.shape[0])
    nothing = count == 0
    hits = xp.sum(hit * rows) / xp.where(nothing, xp.ones_like(count), count)
    return xp.where(nothing, xp.full_like(hits, math.nan), hits)


def top_k_accuracy(k: int) -> Metric:
    """A metric: the fraction of rows whose target is among the `k` largest scores, under the name `top_<k>`.

    Equal scores rank by class, as `argmax` takes the first: `top_k_accuracy(1)` is `accuracy`, and takes and
    raises the same.

    Raises:
        ValueError: k is below 1.

    >>> import xpnet
    >>> from xpnet.train import top_k_accuracy
    >>> float(top_k_accuracy(2)(xpnet.asarray([[0.1, 0.5, 0.4], [0.7, 0.2, 0.1]]), [2, 2]))
    0.5
    """
    if k < 1:
        raise ValueError(f"top_k_accuracy: k must be at least 1, got {k}")

    @following
    def top(logits: Array | Tensor, target: Any) -> Array:
        scores, labels, rows = scores_and_labels(logits, target, top.__name__)
        xp = namespace(scores)
        own = xp.expand_dims(take_columns(scores, labels), axis=1)
        earlier = xp.expand_dims(arange(scores.shape[1], labels), axis=0) < xp.expand_dims(labels, axis=1)
        ahead = (scores > own) | ((scores == own) & earlier)
        rank = xp.sum(xp.astype(ahead, xp.int64), axis=1)
        return fraction_of((rank < k) & ~xp.any(scores != scores, axis=1), rows)

    top.__name__ = f"top_{k}"
    return top


def confusion_matrix(target: Any, predicted: Any, classes: int) -> np.ndarray:
    """Counts of (true class, predicted class): (classes, classes) int64, the true class by row.

    Pairs whose true label is -100 are left out.

    Args:
        target: (n,) the true labels.
        predicted: (n,) the labels that a model gave.
        classes: their number.

    Returns:
        A NumPy array.

    Raises:
        ValueError: unequal lengths, or a label outside 0 .. classes-1.
        TypeError: labels that are not integers.

    >>> from xpnet.train import confusion_matrix
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    target, predicted = to_numpy(target), to_numpy(predicted)
    for labels in (target, predicted):
        if labels.dtype.kind not in "iub":
            raise TypeError(f"confusion_matrix: labels must be integers, got {labels.dtype}")
    if target.shape != predicted.shape or target.ndim != 1:
        raise ValueError(
            f"confusion_matrix: expected two vectors of one length, got {target.shape} and {predicted.shape}"
        )
    target, predicted = target[target != IGNORED], predicted[target != IGNORED]
    for labels in (target, predicted):
        if labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(
                f"confusion_matrix: labels must be 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
            )
    pairs = target.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


class Mean:
    """A weighted mean of 0-d arrays: they stay on the device until `result`, which waits once.

    Attributes:
        factor: of the term of the loss that this is the mean of; None of anything else.
    """

    def __init__(self) -> None:
        self.factor: float | None = None
        self.values: list[Array] = []
        self.weights: list[float | Array] = []
        self._restored = np.zeros(0, dtype=np.float32)  # the values of before a checkpoint, on the host

    def __len__(self) -> int:
        return len(self.weights)

    def add(self, value: Array, weight: float | Array) -> None:
        """One batch's mean and its weight: the number of its samples, or a 0-d array."""
        self.values.append(value)
        self.weights.append(weight)

    def _host(self) -> np.ndarray:
        """All values on the host, in their dtype. The host waits here."""
        if not self.values:
            return self._restored
        values = _fetch(self.values)
        return np.concat([self._restored.astype(values.dtype), values]) if len(self._restored) else values

    def _host_weights(self) -> np.ndarray:
        """All weights on the host."""
        arrays = [i for i, weight in enumerate(self.weights) if hasattr(weight, "dtype")]
        for i, weight in zip(arrays, _fetch([added_up(self.weights[i]) for i in arrays]), strict=True):
            self.weights[i] = float(weight)
        return np.asarray(self.weights)

    def first(self) -> float:
        """The first that was added and has a weight; NaN if there is none. The host waits here."""
        values = self._host()[self._host_weights() != 0]
        return float(values[0]) if len(values) else math.nan

    def weighs(self) -> bool:
        """Whether anything that was added has a weight. The host waits here."""
        return bool(self._host_weights().any())

    def result(self, what: str = "data") -> float:
        """The mean over all samples. The host waits here, so what a device has noted is raised here.

        What has no weight, such as the mean of a batch whose labels are all ignored, counts for nothing.

        Raises:
            ValueError: nothing was added; `what` names the data in the message.
        """
        if not self.weights:
            raise ValueError(f"the {what} gave no batches; a generator can be used only once")
        values, weights = self._host().astype(np.float64), self._host_weights()
        values, weights = values[weights != 0], weights[weights != 0]
        return float(np.average(values, weights=weights)) if len(weights) else math.nan

    def state_dict(self) -> dict[str, np.ndarray]:
        """Values and weights, on the host."""
        state = {"values": self._host(), "weights": self._host_weights()}
        return state if self.factor is None else state | {"factor": np.asarray(self.factor)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state_dict` gave."""
        self.values, self._restored, self.weights = [], state["values"], state["weights"].tolist()
        self.factor = float(state["factor"]) if "factor" in state else None


def results(means: Mapping[str, Mean], what: str) -> dict[str, float]:
    """What each mean is; a loss of several terms, each of which weighs its batches itself, is their sum.

    A term without weight, such as one whose labels are all ignored, adds nothing.
    """
    found = {name: mean.result(what) for name, mean in means.items()}
    terms = {name: mean.factor for name, mean in means.items() if mean.factor is not None and mean.weighs()}
    if terms:
        found["loss"] = sum(factor * found[name] for name, factor in terms.items())
    return found


def _fetch(arrays: list[Array]) -> np.ndarray:
    """0-d arrays of one device as a vector on the host, in one copy."""
    if not arrays:
        return np.zeros(0)
    return np.reshape(to_numpy(arrays[0] if len(arrays) == 1 else namespace(arrays[0]).stack(arrays)), -1)
