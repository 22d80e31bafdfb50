"""Arguments that are made of several arrays: tuples, lists and dicts of them, nested as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xpnet.core.arrays import carries_gradients
from xpnet.core.convert import asarray
from xpnet.core.forward import Dual
from xpnet.core.operators import clone
from xpnet.core.tensor import Tensor, differentiable_numbers


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves with their paths, in order; None has none."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}[{key!r}]")
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{path}[{i}]")
    elif tree is not None:
        yield path, tree


def rebuilt(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the same form with other leaves."""
    if isinstance(tree, Mapping):
        return {key: rebuilt(value, values) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [rebuilt(value, values) for value in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return None if tree is None else next(values)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of the same form, each leaf by a function."""
    return rebuilt(tree, iter([function(leaf) for _, leaf in leaves(tree)]))


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
