"""A model applied to data: in evaluation mode, in order, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xpnet.core.places import following
from xpnet.core.tensor import array_of
from xpnet.data import Arrays, DataLoader, Dataset, StreamLoader
from xpnet.data.batch import call, parts_of, size_of
from xpnet.data.dataset import as_array
from xpnet.data.source import is_data_set
from xpnet.functional.weighing import weighed
from xpnet.nn.inference import BATCH, evaluating, in_batches, outputs
from xpnet.train.measuring import measuring
from xpnet.train.metrics import Mean, Metrics

Batches = Iterable[Any]


@following
def evaluate(
    model: Any,
    data: Dataset | Batches,
    loss: Callable[[Any, Any], Any],
    metrics: Metrics | None = None,
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
            the targets are class indices. Of several outputs, a dict of such lists by the name of the output
            and its target, `{"kind": [accuracy], "size": [r2()]}`; of those of a tuple, in their order.

    Returns:
        `{"loss": ..., "accuracy": ...}`, each metric under its function's name, or `kind_accuracy`.

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
    measured, mean = measuring(metrics), Mean()
    pair = getattr(loss, "pair", None)  # of a loss of samples that weigh differently
    with evaluating(model):
        for batch in to_measure(data):
            (inputs, named, y), n = parts_of(batch), size_of(batch)
            output = model(*inputs, **named)
            target = y if pair is None else pair(y)
            value, weight = weighed(loss, output, target, n)
            mean.add(array_of(value), weight.total)
            measured.add(output, y if pair is None else target[0], n)
    return {"loss": mean.result("evaluation data")} | measured.results()


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
