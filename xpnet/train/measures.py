"""The numbers that a step gives beside the loss, and their means over an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.tensor import Tensor, array_of
from xpnet.train.run import Run


def taken_apart(found: Any) -> tuple[Any, dict[str, Any]]:
    """The loss that a step gave, and the other numbers if it gave a dict.

    Raises:
        ValueError: a dict without a loss.
    """
    if not isinstance(found, Mapping):
        return found, {}
    if "loss" not in found:
        raise ValueError(f"the dict of a step has {', '.join(map(repr, found)) or 'nothing'}, not 'loss'")
    return found["loss"], {name: value for name, value in found.items() if name != "loss"}


def record(run: Run, measures: Mapping[str, Any], samples: int) -> None:
    """Add numbers of a batch to the means of the epoch, of all ranks."""
    ranks = run.communicator
    total = ranks.total(samples) if measures and ranks.size > 1 else samples
    for name, value in measures.items():
        number = as_number(name, value)
        if ranks.size > 1:
            number = ranks.mean(number * (samples / total), 1.0)
        run.means[name].add(number, total)


def as_number(name: str, value: Any) -> Array:
    """A measure as a 0-d array, on the device it is on.

    Raises:
        TypeError: it is no number, or several.
    """
    is_array = hasattr(value, "dtype") and hasattr(value, "shape")
    array = array_of(value) if is_array else np.asarray(value)
    if (not is_array and array.dtype.kind not in "biuf") or any(n != 1 for n in array.shape):
        raise TypeError(f"a step gave {described(value)} under {name!r}, expected one number")
    return namespace(array).reshape(array, ()) if array.shape else array


def described(value: Any) -> str:
    """For messages: a value, or the shape of an array."""
    if not hasattr(value, "shape"):
        return repr(value)
    gradient = " without a gradient" if isinstance(value, Tensor) and not value.requires_grad else ""
    return f"a {type(value).__name__} of shape {tuple(value.shape)}{gradient}"
