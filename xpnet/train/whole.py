"""Metrics of all data at once: of ranks and of sums, which means over batches do not give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import array_of
from xpnet.train.metrics import IGNORED, check_one

Measure = Callable[[np.ndarray, np.ndarray], Any]


class WholeMetric:
    """A metric made of the targets and the outputs of all data; `whole` and the functions below make them.

    Attributes:
        __name__: its name in the history.
        of: `of(targets, outputs)`, of NumPy arrays of all samples.
        ignores: whether integer targets (n,) are labels, of which those of -100 are left out.
    """

    def __init__(self, of: Measure, name: str, ignores: bool = True) -> None:
        self.of, self.__name__, self.ignores = of, name, ignores

    def __call__(self, output: Any, target: Any) -> Any:
        """The measure of one batch alone, on the host."""
        gathered = Gathered()
        gathered.add(output, target)
        return self._measured(*gathered.arrays())

    def row(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """The same as an entry of a history."""
        return {self.__name__: float(self._measured(targets, outputs))}

    def _measured(self, targets: np.ndarray, outputs: np.ndarray) -> Any:
        if self.ignores and targets.dtype.kind in "iu" and targets.ndim == 1:
            targets, outputs = targets[targets != IGNORED], outputs[targets != IGNORED]
        return self.of(targets, outputs)


class Gathered:
    """Targets and outputs of batches, on the device until all are there."""

    def __init__(self) -> None:
        self._targets: list[Array] = []
        self._outputs: list[Array] = []

    def add(self, output: Any, target: Any) -> None:
        """One batch.

        Raises:
            TypeError: several outputs or targets.
        """
        check_one(output, target, "a metric of the whole data")
        y = array_of(output)
        self._outputs.append(y)
        self._targets.append(asarray(array_like(target), backend=backend_of(y)))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, ...) targets and outputs on the host. The host waits here."""
        joined = (namespace(parts[0]).concat(parts) for parts in (self._targets, self._outputs))
        targets, outputs = map(to_numpy, joined)
        return targets, outputs


def whole(function: Measure, name: str | None = None, *, of: str = "outputs") -> WholeMetric:
    """A metric of the whole data from a function of (targets, outputs), such as scikit-learn's.

    Args:
        function: of two NumPy arrays, (n,) targets and what `of` says, that gives a number. Samples whose
            targets are integers and -100 are left out, as by the losses.
        name: in the history; default: the function's.
        of: "outputs", as the model gives them; "classes", the largest of each row; "probabilities", their
            softmax, of one logit a row or of two classes that of the second.

    Returns:
        A metric, for `Trainer` and `evaluate`.

    Raises:
        ValueError: another word; when called, scores that are NaN where the largest is asked for.
        TypeError: no function.

    >>> import numpy as np
    >>> from xpnet.train import whole
    >>> most = whole(lambda y, classes: np.abs(y - classes).max(), "most", of="classes")
    >>> float(most(np.float32([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0])))
    1.0
    """
    if not callable(function):
        raise TypeError(f"whole: expected a function of (targets, outputs), got {function!r}")
    views: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "outputs": lambda outputs: outputs,
        "classes": _classes,
        "probabilities": _probabilities,
    }
    if of not in views:
        raise ValueError(f"whole: of must be one of {', '.join(views)}, got {of!r}")
    view = views[of]
    return WholeMetric(lambda y, outputs: function(y, view(outputs)), name or function.__name__)


def _logits(outputs: np.ndarray) -> np.ndarray:
    """(n, classes); one logit a row becomes 0 and itself."""
    outputs = outputs.reshape(len(outputs), -1).astype(np.float64)
    return np.concatenate([0 * outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def _classes(outputs: np.ndarray) -> np.ndarray:
    absent = int(np.isnan(outputs).sum())
    if absent:  # argmax would take them for the largest
        raise ValueError(f"whole: {absent} of the scores are NaN, which say no class")
    return _logits(outputs).argmax(axis=1)


def _probabilities(outputs: np.ndarray) -> np.ndarray:
    logits = _logits(outputs)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exp / exp.sum(axis=1, keepdims=True)
    return p[:, 1] if p.shape[1] == 2 else p


def _one_against_rest(of_two: Measure, name: str) -> WholeMetric:
    """The mean over classes that are there of a measure of (is it the class, score of the class)."""

    def measure(targets: np.ndarray, outputs: np.ndarray) -> float:
        if np.isnan(outputs).any():
            raise ValueError(
                f"{name}: {int(np.isnan(outputs).sum())} of the scores are NaN, which have no order"
            )
        several = targets.ndim == 2 and targets.shape[1] > 1
        logits = outputs.reshape(len(outputs), -1).astype(np.float64) if several else _logits(outputs)
        labels = targets if several else targets.reshape(-1)
        if len(labels) != len(logits) or (several and targets.shape != logits.shape):
            raise ValueError(
                f"{name}: expected a target of each row, or of each score, got scores {outputs.shape} and "
                f"targets {targets.shape}"
            )
        classes = 2 if several else logits.shape[1]
        wrong = labels[(labels != np.floor(labels)) | (labels < 0) | (labels >= classes)]
        if wrong.size:
            raise ValueError(f"{name}: label {wrong[0]:g} is out of range: expected 0 to {classes - 1}")
        if several:  # each column is a question of its own
            return float(np.mean([of_two(t == 1, z) for t, z in zip(labels.T, logits.T, strict=True)]))
        if classes == 2:
            return of_two(labels == 1, logits[:, 1] - logits[:, 0])
        # of a class, its probability orders the samples, not its logit
        shifted = logits - logits.max(axis=1, keepdims=True)
        p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        present = [k for k in range(classes) if (labels == k).any()]
        return float(np.mean([of_two(labels == k, p[:, k]) for k in present])) if present else np.nan

    return WholeMetric(measure, name)


def _area(positive: np.ndarray, scores: np.ndarray) -> float:
    """P(a positive's score is above a negative's) + P(equal) / 2, from ranks (Mann & Whitney, 1947)."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place]
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else np.nan


def _average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """sum (R_k - R_(k-1)) P_k over the scores from the largest on; equal ones are one step."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(positive[order])
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    total = int(positive.sum())
    if not total:
        return np.nan
    precision, recall = hits[ends] / (ends + 1), hits[ends] / total
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def roc_auc() -> WholeMetric:
    """A metric: the area under the receiver's curve, of several classes the mean of each against the rest.

    Targets are labels (n,) from 0 on; or (n, k) of 0 and 1, of samples with several labels: then the mean
    over the k columns. NaN if only one class is there. A ValueError says which label or score is none.

    >>> import numpy as np
    >>> from xpnet.train import roc_auc
    >>> float(roc_auc()(np.float32([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])))
    0.75
    """
    return _one_against_rest(_area, "roc_auc")


def average_precision() -> WholeMetric:
    """A metric: the area under precision by recall, of several classes the mean of each against the rest.

    Targets as of `roc_auc`. NaN if a class is nowhere.

    >>> import numpy as np
    >>> from xpnet.train import average_precision
    >>> round(float(average_precision()(np.float32([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))), 4)
    0.8333
    """
    return _one_against_rest(_average_precision, "average_precision")


def _of_amounts(measure: Measure, name: str) -> WholeMetric:
    """A metric of numbers in float64, of one shape; (n,) and (n, 1) are one."""

    def of(targets: np.ndarray, outputs: np.ndarray) -> float:
        shapes = {x.shape[:1] if x.shape[1:] == (1,) else x.shape for x in (targets, outputs)}
        if len(shapes) > 1:
            raise ValueError(
                f"{name}: expected outputs like the targets {targets.shape}, got {outputs.shape}"
            )
        y = targets.astype(np.float64)
        return float(measure(y, outputs.astype(np.float64).reshape(y.shape)))

    return WholeMetric(of, name, ignores=False)


def mean_absolute_error() -> WholeMetric:
    """A metric: the mean of |y - output|, under the name `mae`."""
    return _of_amounts(lambda y, found: np.abs(y - found).mean(), "mae")


def r2() -> WholeMetric:
    """A metric: 1 - sum (y - output)^2 / sum (y - mean)^2, of several targets the mean of each.

    Where all targets are equal, 1 if the outputs are those, else 0, as scikit-learn has it; NaN of NaN.

    >>> import numpy as np
    >>> from xpnet.train import r2
    >>> float(r2()(np.float32([1.0, 2.0, 4.0]), np.float32([1.0, 2.0, 3.0])))
    0.5
    """

    def of(y: np.ndarray, found: np.ndarray) -> float:
        error, spread = ((y - found) ** 2).sum(axis=0), ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        varies = (y != y[:1]).any(axis=0)  # the rounded mean of equal numbers may be another
        alike = np.where(np.isnan(error), error, error == 0)
        return np.mean(np.where(varies, 1 - error / np.where(varies, spread, 1), alike))

    return _of_amounts(of, "r2")
