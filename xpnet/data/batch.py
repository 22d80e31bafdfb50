"""What a batch is made of: what the model is called with, and the target that its output is compared to.

| batch                          | the model is called with | target        |
| ------------------------------ | ------------------------ | ------------- |
| `(x, y)`                       | `model(x)`               | `y`           |
| `(x1, x2, y)`, `((x1, x2), y)` | `model(x1, x2)`          | `y`           |
| `({"a": a, "b": b}, y)`        | `model(a=a, b=b)`        | `y`           |
| `{"x": x, "y": y}`             | `model(x)`               | `y`           |
| `{"a": a, "b": b, "label": y}` | `model(a=a, b=b)`        | `y`           |
| `x`, `(x,)`, `{"x": x}`        | `model(x)`               | none          |

The last element of a tuple is the target; of a dict, the entry called y, target, targets, label or labels. A
target may be a tuple or a dict itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

TARGETS = ("y", "target", "targets", "label", "labels")
"""The names of a target in a dict."""


Parts = tuple[tuple[Any, ...], Mapping[str, Any], Any]
"""(inputs, named, target): `model(*inputs, **named)` is to become `target`, None if there is none."""

_UNNAMED: Mapping[str, Any] = {}


def parts_of(batch: Any) -> Parts:
    """Take a batch apart.

    Raises:
        ValueError: an empty batch, or a dict with two targets.

    >>> from xpnet.data.batch import parts_of
    >>> inputs, named, target = parts_of({"left": 1, "right": 2, "label": 3})
    >>> inputs, named, target
    ((), {'left': 1, 'right': 2}, 3)
    """
    if isinstance(batch, tuple | list):
        if len(batch) == 2:
            x, y = batch
            return ((x,), _UNNAMED, y) if hasattr(x, "shape") else _called_with(x, y)
        if not batch:
            raise ValueError("a batch is an empty tuple, expected (x, y)")
        return _called_with(batch[0], None) if len(batch) == 1 else (tuple(batch[:-1]), _UNNAMED, batch[-1])
    if isinstance(batch, Mapping):
        found = [name for name in batch if name in TARGETS]
        inputs = {name: value for name, value in batch.items() if name not in TARGETS}
        if len(found) > 1 or not inputs:
            raise ValueError(
                f"a batch is a dict with {', '.join(map(repr, batch)) or 'nothing'}: expected inputs and one "
                f"target, called {', '.join(TARGETS[:-1])} or {TARGETS[-1]}"
            )
        target = batch[found[0]] if found else None
        return _called_with(next(iter(inputs.values())) if len(inputs) == 1 else inputs, target)
    return (batch,), _UNNAMED, None


def _called_with(x: Any, target: Any) -> Parts:
    if isinstance(x, tuple | list):
        return tuple(x), _UNNAMED, target
    return ((), x, target) if isinstance(x, Mapping) else ((x,), _UNNAMED, target)


def call(model: Callable[..., Any], batch: Any) -> Any:
    """The output of a model for a batch, whose target is not used."""
    inputs, named, _ = parts_of(batch)
    return model(*inputs, **named)


def size_of(batch: Any) -> int:
    """The number of samples in a batch: rows of its first array.

    Raises:
        TypeError: there is no array in it.
    """
    part = batch
    while not hasattr(part, "shape"):
        if isinstance(part, tuple | list) and part:
            part = part[0]
        elif isinstance(part, Mapping) and part:
            part = next(iter(part.values()))
        else:
            raise TypeError(f"a batch begins with {part!r}, expected arrays with one row a sample")
    if not part.shape:
        raise TypeError("a batch begins with a single number, expected arrays with one row a sample")
    return int(part.shape[0])
