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
from typing import Any, NamedTuple

TARGETS = ("y", "target", "targets", "label", "labels")
"""The names of a target in a dict."""


class Parts(NamedTuple):
    """A batch taken apart: `model(*inputs, **named)` is to become `target`, None if there is none."""

    inputs: tuple[Any, ...]
    named: Mapping[str, Any]
    target: Any


def parts_of(batch: Any) -> Parts:
    """Take a batch apart.

    Raises:
        ValueError: an empty batch, or a dict with two targets.

    >>> from xpnet.data.batch import parts_of
    >>> parts_of({"left": 1, "right": 2, "label": 3})
    Parts(inputs=(), named={'left': 1, 'right': 2}, target=3)
    """
    if isinstance(batch, tuple | list):
        if not batch:
            raise ValueError("a batch is an empty tuple, expected (x, y)")
        *inputs, target = (*batch, None) if len(batch) == 1 else batch
        return _called_with(inputs[0], target) if len(inputs) == 1 else Parts(tuple(inputs), {}, target)
    if isinstance(batch, Mapping):
        found = [name for name in batch if name in TARGETS]
        inputs_by_name = {name: value for name, value in batch.items() if name not in TARGETS}
        if len(found) > 1 or not inputs_by_name:
            raise ValueError(
                f"a batch is a dict with {', '.join(map(repr, batch)) or 'nothing'}: expected inputs and one "
                f"target, called {', '.join(TARGETS[:-1])} or {TARGETS[-1]}"
            )
        target = batch[found[0]] if found else None
        if len(inputs_by_name) == 1:
            return _called_with(next(iter(inputs_by_name.values())), target)
        return Parts((), inputs_by_name, target)
    return Parts((batch,), {}, None)


def _called_with(x: Any, target: Any) -> Parts:
    if isinstance(x, tuple | list):
        return Parts(tuple(x), {}, target)
    return Parts((), x, target) if isinstance(x, Mapping) else Parts((x,), {}, target)


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
        if isinstance(part, Mapping) and part:
            part = next(iter(part.values()))
        elif isinstance(part, tuple | list) and part:
            part = part[0]
        else:
            raise TypeError(f"a batch begins with {part!r}, expected arrays with one row a sample")
    if not part.shape:
        raise TypeError("a batch begins with a single number, expected arrays with one row a sample")
    return int(part.shape[0])
