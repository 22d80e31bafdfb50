"""Batch norm's statistics over the whole training set, instead of running averages (deck S1)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xpnet.core.arrays import widen
from xpnet.core.backend import Array
from xpnet.core.places import following, namespace
from xpnet.core.tensor import array_of
from xpnet.data import DataLoader, StreamLoader
from xpnet.data.batch import call
from xpnet.nn.inference import evaluating
from xpnet.nn.normalization import BatchNorm
from xpnet.train.callbacks import Callback
from xpnet.train.evaluation import as_dataset, in_order

if TYPE_CHECKING:
    from xpnet.nn import Module
    from xpnet.train.run import Run


class _EnoughError(Exception):
    """The layer in question has been reached: the rest of the network does not matter."""


@following
def recompute_batch_norm(model: Module, data: Any) -> None:
    """Set each batch norm's running statistics to the mean and variance over all samples.

    Args:
        model: a Module.
        data: a Dataset or a pair of arrays (x, y); a DataLoader, whose samples are taken in order, each once,
            transformed but not augmented; or anything that gives batches each time it is iterated over.

    The result is exact: in evaluation mode the model then gives for these samples what training mode would
    with all of them as one batch, in the memory of one small batch. A layer's inputs depend on the statistics
    of the layers before it, so layers are done in the order in which they run, each with a pass of its own up
    to there. The set is the population, so its variance is the biased one.

    Raises:
        ValueError: no samples, a single value a channel, or a layer that runs more than once in a forward
            pass: it has no one set of inputs.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn
    >>> from xpnet.train import recompute_batch_norm
    >>> model = nn.Sequential(nn.BatchNorm1d(1))
    >>> x = np.array([[1.0], [3.0], [8.0]], dtype=np.float32)
    >>> recompute_batch_norm(model, (x, np.zeros(3)))
    >>> float(model.layers[0].running_mean.data[0]), float(model.layers[0].running_var.data[0])
    (4.0, 8.666...)
    """
    data = as_dataset(data)
    data = data.in_order() if isinstance(data, DataLoader | StreamLoader) else data
    with evaluating(model):
        for layer in _in_running_order(model, data):
            mean, var = _statistics(model, layer, in_order(data))
            for buffer, value in ((layer.running_mean, mean), (layer.running_var, var)):
                buffer.data[...] = namespace(value).astype(value, buffer.dtype)


def tracked(model: Module) -> list[Any]:
    """The batch norm layers that have running statistics."""
    return [m for m in model.modules() if isinstance(m, BatchNorm) and m.running_mean is not None]


def _in_running_order(model: Module, data: Any) -> list[Any]:
    """The layers in the order of a forward pass; those that do not run are left out."""
    seen: list[Any] = []
    layers = tracked(model)
    removers = [
        layer.add_forward_hook(lambda module, inputs, output: seen.append(module)) for layer in layers
    ]
    try:
        for batch in in_order(data):
            call(model, batch)
            break
        else:
            raise ValueError("recompute_batch_norm: the data gave no batches")
    finally:
        for remove in removers:
            remove()
    if len({id(layer) for layer in seen}) < len(seen):
        raise ValueError("recompute_batch_norm: a batch norm layer runs more than once in a forward pass")
    return seen


def _statistics(model: Module, layer: Any, batches: Iterable[Any]) -> tuple[Array, Array]:
    """Mean and variance of a layer's inputs, merged batch by batch (Chan, Golub & LeVeque, 1983)."""
    count = 0
    mean: Array = None
    squares: Array = None

    def add(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal count, mean, squares
        x = widen(array_of(inputs[0]))
        xp = namespace(x)
        axes = tuple(i for i in range(x.ndim) if i != 1)
        n = math.prod(x.shape) // x.shape[1]
        own = xp.mean(x, axis=axes, keepdims=True)
        centred = x - own
        m2, own = xp.sum(centred * centred, axis=axes), xp.reshape(own, (-1,))
        if mean is None:
            count, mean, squares = n, own, m2
        else:
            difference, total = own - mean, count + n
            squares = squares + m2 + difference * difference * (count * n / total)
            mean, count = mean + difference * (n / total), total
        raise _EnoughError

    remove = layer.add_forward_hook(add)
    try:
        for batch in batches:
            try:
                call(model, batch)
            except _EnoughError:
                continue
    finally:
        remove()
    if count < 2:
        raise ValueError("recompute_batch_norm: the variance needs at least two values a channel")
    return mean, squares / count


class ExactBatchNorm(Callback):
    """`recompute_batch_norm` over the training data when training ends.

    Put it after callbacks that set weights then, such as `EarlyStopping`. It costs a forward pass over the
    data for each batch norm layer, up to that layer.
    """

    def on_fit_end(self, trainer: Run) -> None:
        """Recompute, for the weights that the model has now."""
        if trainer.step and tracked(trainer.model):
            trainer.show(trainer.model.state_dict())  # a checkpoint keeps the running averages
            recompute_batch_norm(trainer.model, trainer.data)
            trainer.show(trainer.model.state_dict())
