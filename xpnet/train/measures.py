"""The numbers that a step gives beside the loss, and their means over an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.elementwise import where
from xpnet.core.operators import add, multiply
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional.weighing import Weight, added_up, ratio, times
from xpnet.parallel.communicator import Communicator
from xpnet.train.accumulation import of_all_ranks
from xpnet.train.metrics import Mean


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


class Term(NamedTuple):
    """One of several losses that a step adds up.

    Attributes:
        value: its mean over the batch.
        weight: of this mean.
        factor: what it is multiplied by in the sum.
    """

    value: Any
    weight: Weight
    factor: float


def added(terms: Iterable[Term], shares: Iterable[Any] = repeat(1)) -> Any:
    """The sum of factors times shares times values; the mean of nothing, which is NaN, adds nothing."""
    total: Any = None
    for (value, weight, factor), share in zip(terms, shares, strict=False):
        if hasattr(weight.total, "dtype"):
            value = where(added_up(weight.total) == 0, namespace(value).zeros_like(array_of(value)), value)
        if hasattr(share, "dtype"):
            share = asarray(share, dtype_name(value.dtype), backend=backend_of(array_of(value)))
        term = multiply(value, share * factor)
        total = term if total is None else add(total, term)
    return total


def over_ranks(
    group: Communicator, loss: Any, measures: Mapping[str, Any], samples: int
) -> tuple[Any, dict[str, Any]]:
    """This rank's loss, and what it gave beside it as numbers alone.

    Where the loss has terms, the mean over the ranks of what is given here is the sum of the means of each
    over all ranks.
    """
    terms = [term for term in measures.values() if isinstance(term, Term)]
    if terms and group.size > 1:
        own, every = of_all_ranks(group, Weight(samples, samples), array_of(loss))
        size = ratio(every.total, own.total)  # the mean over the ranks is one by samples
        weights = [of_all_ranks(group, term.weight, array_of(term.value)) for term in terms]
        loss = added(terms, [ratio(mine.total, every.total) * size for mine, every in weights])
    alone = lambda m: m._replace(value=array_of(m.value)) if isinstance(m, Term) else m
    return loss, {name: alone(measure) for name, measure in measures.items()}


def warn_of_accumulation(measures: Mapping[str, Any]) -> None:
    """Say that batches whose terms weigh differently do not add up to one large batch.

    What each term is to be divided by is known when the last batch has come, and their gradients are one sum.
    """
    unequal = [n for n, m in measures.items() if isinstance(m, Term) and hasattr(m.weight.total, "dtype")]
    if unequal:
        warnings.warn(
            f"accumulate: labels of {unequal[0]!r} are ignored or weigh differently; beside other losses the "
            "batches of an update count by their samples, not as one large batch. For that, train with "
            "accumulate=1; what is measured is right",
            stacklevel=8,
        )


def record(means: Mapping[str, Mean], measures: Mapping[str, Any], samples: int, group: Communicator) -> None:
    """Add numbers of a batch to means, those of a group of ranks to the means of all."""
    total = group.total(samples) if measures and group.size > 1 else samples
    for name, measure in measures.items():
        mine, every = Weight(samples, samples), Weight(total, total)
        number = as_number(name, measure.value if isinstance(measure, Term) else measure)
        if isinstance(measure, Term):
            mine, every = of_all_ranks(group, measure.weight, number)
            means[name].factor = measure.factor
        if group.size > 1:
            number = group.mean(times(number, ratio(mine.total, every.total)), 1.0)
        means[name].add(number, every.total)


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
