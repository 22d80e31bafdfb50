"""A model applied to data: in evaluation mode, in order, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from xpnet.core.places import following, namespace
from xpnet.core.tensor import array_of
from xpnet.data import Arrays, DataLoader, Dataset, StreamLoader
from xpnet.data.batch import call, parts_of, size_of
from xpnet.data.dataset import as_array
from xpnet.data.source import is_data_set
from xpnet.functional.weighing import weighed
from xpnet.nn.inference import BATCH, evaluating, in_batches, outputs
from xpnet.train.classification import ClassificationScore, Confusion, confusion_counts
from xpnet.train.metrics import IGNORED, Mean, Metric, accuracy, check_metrics
from xpnet.train.whole import Gathered, WholeMetric

Batches = Iterable[Any]


@following
def evaluate(
    model: Any,
    data: Dataset | Batches,
    loss: Callable[[Any, Any], Any],
    metrics: Sequence[Metric] | None = None,
) -> dict[str, float]:
    """The mean loss and metrics over the data, the same whatever the batches.

    Args:
        model: a Module.
        data: a data set, arrays (x, y) or (x1, x2, y), a dict of arrays, a DataLoader, or anything that gives
            batches, (x, y) or as `Trainer` takes them.
        loss: `loss(output, target)`, the mean over a batch. With our losses, class weights and ignored rows
            weigh a batch as they should; with a loss of your own, its number of samples does.
        metrics: functions of (output, target), means over a batch, or those made from all the data:
            `precision`, `recall`, `f1`, `roc_auc` and others, `whole` of a function; default: `accuracy` if
            the targets are class indices.

    Returns:
        `{"loss": ..., "accuracy": ...}`, each metric under its function's name.

    Raises:
        ValueError: no batches.

    Warns:
        ReuseWarning: the data is a test set that has been used before (see `Dataset.guarded`).

    >>> import numpy as np
    >>> from xpnet import nn
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import evaluate
    >>> x, y = np.float32([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 0])
    >>> found = evaluate(nn.Flatten(), (x, y), cross_entropy)  # passes the scores on
    >>> round(found["loss"], 3), found["accuracy"]
    (1.127, 0.5)
    """
    check_metrics(metrics)
    judged = metrics is None  # with accuracy, as long as the targets look like classes
    pair = getattr(loss, "pair", None)  # of a loss of samples that weigh differently
    means, confusion, gathered = {"loss": Mean()}, Confusion(), Gathered()
    scores = [metric for metric in metrics or () if isinstance(metric, ClassificationScore)]
    whole = [metric for metric in metrics or () if isinstance(metric, WholeMetric)]
    with evaluating(model):
        for batch in to_measure(data):
            (inputs, named, y), n = parts_of(batch), size_of(batch)
            output = model(*inputs, **named)
            target = y if pair is None else pair(y)
            value, weight = weighed(loss, output, target, n)
            y = y if pair is None else target[0]
            means["loss"].add(array_of(value), weight.total)
            judged = judged and _are_classes(output, y)
            for metric in ((accuracy,) if judged else ()) if metrics is None else metrics:
                if not isinstance(metric, ClassificationScore | WholeMetric):
                    value, weight = weighed(metric, output, y, n)
                    means.setdefault(metric.__name__, Mean()).add(array_of(value), weight.total)
            if scores:
                confusion.add_counts(confusion_counts(output, y))
            if whole:
                gathered.add(output, y)
    if metrics is None and not judged:
        means.pop("accuracy", None)
    result = {name: mean.result("evaluation data") for name, mean in means.items()}
    if scores:
        matrix = confusion.matrix()
        for score in scores:
            result |= score.row(matrix)
    if whole:
        arrays = gathered.arrays()
        for measure in whole:
            result |= measure.row(*arrays)
    return result


def is_values(x: Any) -> bool:
    """Whether this is an array, or another library's column, table or matrix of values."""
    return any(hasattr(x, name) for name in ("shape", "__array__", "collect"))


def as_dataset(data: Any) -> Any:
    """A pair of arrays (x, y) as a Dataset; more, a dict of them, or x with several targets, as `Arrays`.

    Anything else as it is.
    """
    pair = isinstance(data, tuple) and len(data) > 1
    several = pair and all(map(is_values, data))
    targets = pair and len(data) == 2 and is_values(data[0]) and isinstance(data[1], Mapping | tuple)
    if isinstance(data, Mapping) or targets or (several and len(data) > 2):
        return Arrays(data)
    return Dataset(*data) if several else data


@following
def predict(model: Any, data: Any) -> Any:
    """The model's output for each sample.

    Args:
        model: a Module.
        data: (n, ...) samples, moved to the default backend; a dict of such by the names of the model's
            arguments; or a data set or DataLoader, whose targets are not used.

    Returns:
        (n, ...) on the model's backend; class scores become labels with `argmax`. Tuples and dicts of such,
        if the model gives them.

    Raises:
        ValueError: no samples.

    Warns:
        ReuseWarning: the data is a test set that has been used before (see `Dataset.guarded`).

    >>> import numpy as np
    >>> from xpnet import nn
    >>> from xpnet.train import predict
    >>> predict(nn.Linear(3, 2), np.zeros((5, 3), dtype=np.float32)).shape
    (5, 2)
    """
    data = Arrays(data) if isinstance(data, Mapping) else data
    if isinstance(data, DataLoader | StreamLoader) or is_data_set(data):
        return outputs(model, to_measure(data), call)
    return outputs(model, in_batches(as_array(data)))


def to_measure(data: Any) -> Batches:
    """Data, or arrays, as batches in order; a guarded test set notes that it is used."""
    data = as_dataset(data)
    source = getattr(data, "dataset", data)  # of a DataLoader
    if getattr(source, "guard", None) is not None:
        source.guard.use(source.name)
    return in_order(data)


def in_order(data: Any) -> Batches:
    """A data set as large batches in its order; batches as they are."""
    return DataLoader(data, BATCH, shuffle=False) if is_data_set(data) else data


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
