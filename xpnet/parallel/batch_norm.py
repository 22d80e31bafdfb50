"""Batch norm over the batches of all ranks."""

from __future__ import annotations

from typing import Any

from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import reshape, sqrt, sum
from xpnet.core.places import device, namespace
from xpnet.core.recording import on_host
from xpnet.core.tensor import array_of
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm
from xpnet.parallel.communicator import Communicator


@differentiable
def all_reduce(x: Array, communicator: Communicator) -> tuple[Array, Pullback]:
    """The sum over all ranks. Each rank's x contributes to every rank's loss, so gradients add up as well."""

    return _total(x, communicator), lambda dy: _total(dy, communicator)


@on_host
def _total(a: Array, communicator: Communicator) -> Array:
    a = namespace(a).asarray(a, copy=True)
    communicator.all_reduce(a)
    return a


def synchronize_batch_norm(model: Module, communicator: Communicator) -> Module:
    """Let every batch norm of the model use the statistics of all ranks in training, as SyncBatchNorm does.

    Small batches a rank then train as one large batch does, and n ranks give the result of one.

    Args:
        model: changed in place, and returned.
        communicator: of the ranks. They must call the model together.
    """
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.forward = _Synchronized(module, communicator)  # type: ignore[method-assign]
    return model


def synchronized(model: Any) -> int:
    """How many layers of a model wait for the other ranks in each forward pass."""
    modules = model.modules() if hasattr(model, "modules") else ()
    return len([module for module in modules if isinstance(vars(module).get("forward"), _Synchronized)])


class _Synchronized:
    """The forward pass of one layer."""

    def __init__(self, layer: BatchNorm, communicator: Communicator) -> None:
        self.layer, self.communicator = layer, communicator

    def __call__(self, x: Any) -> Any:
        layer = self.layer
        if not layer.training:
            return type(layer).forward(layer, x)
        axes = (0, *range(2, x.ndim))
        wide = (1, -1) + (1,) * (x.ndim - 2)
        data = array_of(x)
        n = float(data.size // data.shape[1])
        rows = namespace(data).full((1,), n, dtype=data.dtype, device=device(data))
        rows = _total(rows, self.communicator)

        mean = all_reduce(sum(x, axes), self.communicator) / rows
        centred = x - reshape(mean, wide)
        var = all_reduce(sum(centred * centred, axes), self.communicator) / rows
        y = centred / reshape(sqrt(var + layer.eps), wide)
        if layer.weight is not None and layer.bias is not None:
            y = y * reshape(layer.weight, wide) + reshape(layer.bias, wide)
        if layer.running_mean is not None and layer.running_var is not None:
            unbiased, fraction = array_of(var) * (rows / (rows - 1)), layer.batch_fraction()
            for running, new in ((layer.running_mean, array_of(mean)), (layer.running_var, unbiased)):
                running.data += fraction * (new - running.data)
        return y
