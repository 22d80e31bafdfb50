"""A model that is used, not trained: in evaluation mode, without gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from xpnet.core.autograd import array_of, no_grad
from xpnet.core.backend import Array, asarray, namespace
from xpnet.nn.module import Module

BATCH = 1024  # no gradients are kept, so batches can be large


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without gradients for a `with` block; then each module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def in_batches(x: Array, size: int = BATCH) -> Iterator[Array]:
    """Rows of x, `size` at a time, moved to the default backend."""
    for i in range(0, x.shape[0], size):
        yield asarray(x[i : min(i + size, x.shape[0]), ...])


def outputs(model: Module, batches: Iterable[Array]) -> Array:
    """The model's outputs for all batches, (n, ...), in evaluation mode and without gradients.

    Raises:
        ValueError: no batches.
    """
    with evaluating(model):
        parts = [array_of(model(x)) for x in batches]
    if not parts:
        raise ValueError("predict: no samples")
    return parts[0] if len(parts) == 1 else namespace(parts[0]).concat(parts)
