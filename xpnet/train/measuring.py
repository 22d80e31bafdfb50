"""Metrics of a model's outputs, added up over batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xpnet.core.places import namespace
from xpnet.core.tensor import array_of
from xpnet.functional.weighing import weighed
from xpnet.train.classification import ClassificationScore, Confusion, confusion_counts
from xpnet.train.metrics import IGNORED, Mean, Metric, Metrics, accuracy, check_metrics
from xpnet.train.whole import Gathered, WholeMetric


class Measuring:
    """The metrics of one output. None: `accuracy`, as long as the targets look like classes."""

    def __init__(self, metrics: Sequence[Metric] | None) -> None:
        self._judged = metrics is None
        self._metrics = [accuracy] if metrics is None else metrics
        self._means: dict[str, Mean] = {}
        self._confusion, self._gathered = Confusion(), Gathered()
        self._scores = [metric for metric in self._metrics if isinstance(metric, ClassificationScore)]
        self._whole = [metric for metric in self._metrics if isinstance(metric, WholeMetric)]

    def add(self, output: Any, target: Any, samples: int) -> None:
        """One batch."""
        if self._judged and not _are_classes(output, target):
            self._judged, self._metrics, self._means = False, [], {}
        for metric in self._metrics:
            if not isinstance(metric, ClassificationScore | WholeMetric):
                value, weight = weighed(metric, output, target, samples)
                self._means.setdefault(metric.__name__, Mean()).add(array_of(value), weight.total)
        if self._scores:
            self._confusion.add_counts(confusion_counts(output, target))
        if self._whole:
            self._gathered.add(output, target)

    def results(self) -> dict[str, float]:
        """Each metric under its name."""
        found = {name: mean.result("evaluation data") for name, mean in self._means.items()}
        if self._scores:
            matrix = self._confusion.matrix()
            for score in self._scores:
                found |= score.row(matrix)
        if self._whole:
            arrays = self._gathered.arrays()
            for metric in self._whole:
                found |= metric.row(*arrays)
        return found


class MeasuringSeveral:
    """The metrics of outputs by name, recorded as `<output>_<metric>`."""

    def __init__(self, metrics: Mapping[str, Sequence[Metric]]) -> None:
        self._parts = {name: Measuring(of_one) for name, of_one in metrics.items()}

    def add(self, output: Any, target: Any, samples: int) -> None:
        """One batch: dicts, or tuples with a place for each name."""
        outputs, targets = (
            by_name("metrics", "names", self._parts, what, values)
            for what, values in (("outputs", output), ("targets", target))
        )
        for name, part in self._parts.items():
            part.add(outputs[name], targets[name], samples)

    def results(self) -> dict[str, float]:
        """Each metric under the names of its output and its own."""
        return {
            f"{name}_{metric}": value
            for name, part in self._parts.items()
            for metric, value in part.results().items()
        }


def measuring(metrics: Metrics | None) -> Measuring | MeasuringSeveral:
    """What adds up these metrics.

    Raises:
        ValueError, TypeError: as `check_metrics`.
    """
    check_metrics(metrics)
    return MeasuringSeveral(metrics) if isinstance(metrics, Mapping) else Measuring(metrics)


def by_name(who: str, kind: str, names: Iterable[str], what: str, values: Any) -> Mapping[str, Any]:
    """Several outputs or targets: a dict as it is, of a tuple those at the places of the names.

    Raises:
        ValueError: a name is missing, or there is another number of them; it says who has them,
            and what they name.
    """
    names = list(names)
    if isinstance(values, Mapping):
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"{who}: the {what} have no {missing[0]!r}, but {', '.join(values)}")
        return values
    if not isinstance(values, tuple | list) or len(values) != len(names):
        n = len(values) if isinstance(values, tuple | list) else 1
        raise ValueError(f"{who}: {len(names)} {kind}, and {n} {what}")
    return dict(zip(names, values, strict=True))


def _are_classes(output: Any, target: Any) -> bool:
    """Whether targets are class indices; of one output if all are 0 or 1: else it is a regression."""
    if "int" not in str(getattr(target, "dtype", "")) or not hasattr(output, "ndim"):
        return False
    classes = output.shape[1] if output.ndim == 2 else 1
    if classes > 1:
        return target.ndim == 1
    if tuple(target.shape) not in ((output.shape[0],), tuple(output.shape)):
        return False
    xp = namespace(target)
    return bool(xp.all((target == 0) | (target == 1) | (target == IGNORED)))
