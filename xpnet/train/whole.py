"""Metrics of all data at once: of ranks and of sums, which means over batches do not give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import array_like, asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import array_of
from xpnet.train.metrics import IGNORED

Measure = Callable[[np.ndarray, np.ndarray], Any]


class WholeMetric:
    """A metric made of the targets and the outputs of all data; `whole` and the functions below make them.

    Attributes:
        __name__: its name in the history.
        of: `of(targets, outputs)`, of NumPy arrays of all samples.
    """

    def __init__(self, of: Measure, name: str) -> None:
        self.of, self.__name__ = of, name

    def __call__(self, output: Any, target: Any) -> Any:
        """The measure of one batch alone, on the host."""
        gathered = Gathered()
        gathered.add(output, target)
        return self.of(*gathered.arrays())

    def row(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """The same as an entry of a history."""
        return {self.__name__: float(self.of(targets, outputs))}


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
        if isinstance(output, tuple | list | Mapping) or isinstance(target, tuple | Mapping):
            raise TypeError("a metric of the whole data is of one output and one target: make it of those")
        y = array_of(output)
        self._outputs.append(y)
        self._targets.append(asarray(array_like(target), backend=backend_of(y)))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, ...) targets and outputs on the host, without samples labelled -100. The host waits here."""
        joined = (namespace(parts[0]).concat(parts) for parts in (self._targets, self._outputs))
        targets, outputs = map(to_numpy, joined)
        if targets.dtype.kind in "iu" and targets.ndim == 1:
            targets, outputs = targets[targets != IGNORED], outputs[targets != IGNORED]
        return targets, outputs


def whole(function: Measure, name: str | None = None, *, of: str = "outputs") -> WholeMetric:
    """A metric of the whole data from a function of (targets, outputs), such as scikit-learn's.

    Args:
        function: of two NumPy arrays, (n,) targets and what `of` says, that gives a number.
        name: in the history; default: the function's.
        of: "outputs", as the model gives them; "classes", the largest of each row; "probabilities", their
            softmax, of one logit a row or of two classes that of the second.

    Returns:
        A metric, for `Trainer` and `evaluate`.

    Raises:
        ValueError: another word.
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
    return _logits(outputs).argmax(axis=1)


def _probabilities(outputs: np.ndarray) -> np.ndarray:
    logits = _logits(outputs)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exp / exp.sum(axis=1, keepdims=True)
    return p[:, 1] if p.shape[1] == 2 else p


def _one_against_rest(of_two: Measure) -> Measure:
    """The mean over classes that are there of a measure of (is it the class, score of the class)."""

    def measure(labels: np.ndarray, outputs: np.ndarray) -> float:
        logits, labels = _logits(outputs), np.asarray(labels).reshape(-1).astype(np.int64)
        if logits.shape[1] == 2:
            return of_two(labels == 1, logits[:, 1] - logits[:, 0])
        # of a class, its probability orders the samples, not its logit
        shifted = logits - logits.max(axis=1, keepdims=True)
        p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        present = [k for k in range(logits.shape[1]) if (labels == k).any()]
        return float(np.mean([of_two(labels == k, p[:, k]) for k in present])) if present else np.nan

    return measure


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

    NaN if only one class is there.

    >>> import numpy as np
    >>> from xpnet.train import roc_auc
    >>> float(roc_auc()(np.float32([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])))
    0.75
    """
    return WholeMetric(_one_against_rest(_area), "roc_auc")


def average_precision() -> WholeMetric:
    """A metric: the area under precision by recall, of several classes the mean of each against the rest.

    >>> import numpy as np
    >>> from xpnet.train import average_precision
    >>> round(float(average_precision()(np.float32([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))), 4)
    0.8333
    """
    return WholeMetric(_one_against_rest(_average_precision), "average_precision")


def _amounts(targets: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In float64, of one shape."""
    y = targets.astype(np.float64)
    return y, outputs.astype(np.float64).reshape(y.shape)


def mean_absolute_error() -> WholeMetric:
    """A metric: the mean of |y - output|, under the name `mae`."""

    def of(targets: np.ndarray, outputs: np.ndarray) -> float:
        y, found = _amounts(targets, outputs)
        return float(np.abs(y - found).mean())

    return WholeMetric(of, "mae")


def r2() -> WholeMetric:
    """A metric: 1 - sum (y - output)^2 / sum (y - mean)^2, of several targets the mean of each.

    >>> import numpy as np
    >>> from xpnet.train import r2
    >>> float(r2()(np.float32([1.0, 2.0, 4.0]), np.float32([1.0, 2.0, 3.0])))
    0.5
    """

    def of(targets: np.ndarray, outputs: np.ndarray) -> float:
        y, found = _amounts(targets, outputs)
        spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.mean(1 - ((y - found) ** 2).sum(axis=0) / spread))

    return WholeMetric(of, "r2")
