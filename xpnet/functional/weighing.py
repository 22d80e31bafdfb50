"""How much the mean over a batch weighs: what it was divided by.

The mean over two batches is the mean of their means, weighted. For plain losses the weights are the numbers
of samples; with class weights or ignored rows they are the sums that each mean was divided by, which only the
loss knows. Losses report them to whoever listens around the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet.core.backend import Array
from xpnet.core.context import Setting
from xpnet.core.places import namespace

_listener: Setting[list[Weight] | None] = Setting("xpnet_weighing", None)
_each_listener: Setting[list[Array | None] | None] = Setting("xpnet_weighing_each", None)

promised: Setting[Callable[[Any], Array] | None] = Setting("xpnet_promised", None)
"""What `backward` will begin with, other than 1: a 0-d array for a dtype. A loss that makes its gradient in
the forward pass makes it for this one; whether `backward` kept to it shows by the identity of the array."""


class Weight(NamedTuple):
    """The weight of a mean.

    Attributes:
        total: what it was divided by: an int, or where labels weigh differently a 0-d array, or the parts of
            it (`added_up`), as a kernel leaves them.
        losses: how many losses went in; of several ranks, a 0-d array likewise.
    """

    total: int | Array
    losses: int | Array


def report(total: int | Array, count: int) -> None:
    """Of a loss: its mean was over `count` losses, divided by `total`."""
    listener = _listener.get()
    if listener is not None:
        listener.append(Weight(total, count))


def report_each(weights: Callable[[], Array] | None) -> None:
    """Of losses that are not reduced: what each would weigh in their mean; None where that is 1."""
    listener = _each_listener.get()
    if listener is not None:
        listener.append(None if weights is None else weights())


def weighed_each(loss: Callable[..., Any], *arguments: Any) -> tuple[Any, list[Array | None]]:
    """What a function makes of losses that are not reduced, and what each weighs, in the order of calls."""
    heard: list[Array | None] = []
    with _each_listener.within(heard):
        return loss(*arguments), heard


def weighed(loss: Callable[..., Any], output: Any, target: Any, samples: int) -> tuple[Any, Weight]:
    """`loss(output, target)` of a batch of `samples`, and its weight.

    A loss that is no mean of this library, or a sum of several, weighs as much as it has samples; but if one
    term of it has unequal weights, as much as that one.
    """
    heard: list[Weight] = []
    loss = getattr(loss, "uncaptured", loss)  # a captured one would say its weight once
    with _listener.within(heard):
        value = loss(output, target)
    if len(heard) > 1:
        heard = [weight for weight in heard if not isinstance(weight.total, int)]
    return value, heard[0] if len(heard) == 1 else Weight(samples, samples)


def added_up(total: Any) -> Any:
    """The total, if it may be in parts."""
    return namespace(total).sum(total) if getattr(total, "ndim", 0) else total


def ratio(a: Any, b: Any) -> Any:
    """a / b of numbers or 0-d arrays; 0 where b is 0."""
    if not hasattr(b, "dtype"):
        return a / b if b else a * 0.0
    xp = namespace(b)
    nothing = b == 0
    return xp.where(nothing, xp.zeros_like(b), a / xp.where(nothing, xp.ones_like(b), b))


def times(value: Array, fraction: Any) -> Array:
    """value * fraction; 0 where the fraction is 0, even of the mean of nothing, which is NaN."""
    if not hasattr(fraction, "dtype"):
        return value * fraction if fraction else namespace(value).zeros_like(value)
    xp = namespace(value, fraction)
    return xp.where(fraction == 0, xp.zeros_like(value), value * xp.astype(fraction, value.dtype, copy=False))
