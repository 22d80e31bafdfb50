"""What transforms make of the leaves of their arguments."""

from __future__ import annotations

from typing import Any

from xpnet.core.arrays import carries_gradients
from xpnet.core.convert import asarray
from xpnet.core.forward import Dual
from xpnet.core.operators import clone
from xpnet.core.tensor import Tensor, differentiable_numbers


def function_of(f: Any, what: str) -> Any:
    """A function.

    Raises:
        TypeError: it is something else; `what` names the transform.
    """
    if not callable(f):
        raise TypeError(f"{what}: expected a function, got {type(f).__name__}")
    return f


def argument(args: tuple[Any, ...], i: int, what: str) -> int:
    """The number of a positional argument, from 0.

    Raises:
        ValueError: the call has none of that number.
    """
    if not -len(args) <= i < len(args):
        raise ValueError(f"{what}: argnums={i} of a call with {len(args)} positional arguments")
    return i % len(args)


def tensor_of(x: Any, what: str) -> Any:
    """An argument as a Tensor, of floating-point numbers.

    Raises:
        TypeError: it is something else; `what` names function and argument.
    """
    if not carries_gradients(x):
        try:
            x = Tensor(asarray(x))
        except (TypeError, ValueError) as error:
            raise TypeError(f"{what}: {error}") from None
    differentiable_numbers(what, x.data)
    return x


def inner(x: Any) -> tuple[Any, Tensor]:
    """A variable to differentiate by, in x's place, and the Tensor at its core.

    It hangs on x where x has a history or a tangent of its own, so that what is found can be differentiated
    again. Nothing else refers to it: what is closed over cannot be taken for it.
    """
    if isinstance(x, Dual):
        value, core = inner(x.primal)
        return Dual(value, x.tangent, x.level), core
    if x.requires_grad:
        core = clone(x)
        if core.requires_grad:
            return core, core
    core = Tensor(x.data, requires_grad=True)
    return core, core
