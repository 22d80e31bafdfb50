"""A model that is used, not trained: in evaluation mode, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.op import no_grad
from xpnet.core.places import namespace
from xpnet.core.tensor import array_of
from xpnet.nn.mode import modes
from xpnet.nn.module import Module

BATCH = 1024  # no gradients are kept, so batches can be large


@contextmanager
def keeping_modes(model: Module) -> Iterator[None]:
    """Modes of its own for a `with` block: what is set there is unknown outside, and in other threads."""
    own = {id(module): module.training for module in model.modules()}
    with modes.within({**(modes.get() or {}), **own}):
        yield


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without gradients for a `with` block; a training in another thread goes on as it is."""
    with keeping_modes(model), no_grad():
        model.eval()
        yield


def in_batches(x: Array, size: int = BATCH) -> Iterator[Array]:
    """Rows of x, `size` at a time, moved to the default backend."""
    for i in range(0, x.shape[0], size):
        yield asarray(x[i : min(i + size, x.shape[0]), ...])


def outputs(
    model: Module, batches: Iterable[Any], call: Callable[[Module, Any], Any] = lambda model, x: model(x)
) -> Any:
    """The model's outputs for all batches, (n, ...), in evaluation mode and without gradients.

    Outputs that are tuples or dicts are put together in each place; `call(model, batch)` makes one.

    Raises:
        ValueError: no batches.
    """
    with evaluating(model):
        parts = [_arrays(call(model, batch)) for batch in batches]
    if not parts:
        raise ValueError("predict: no samples")
    return _joined(parts)


def _arrays(output: Any) -> Any:
    """An output without its tape."""
    if isinstance(output, Mapping):
        return {name: _arrays(part) for name, part in output.items()}
    return tuple(_arrays(part) for part in output) if isinstance(output, tuple | list) else array_of(output)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(first)))
    return first if len(parts) == 1 else namespace(first).concat(parts)
