"""What makes the functions of the namespace: a name, a signature, a derivative, and the words about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import Parameter, signature
from operator import attrgetter
from typing import Any

from xpnet.array_api.values import differentiating, value_of
from xpnet.core.arrays import is_array
from xpnet.core.backend import dtype_name
from xpnet.core.methods import Methods
from xpnet.core.operators import clone
from xpnet.core.tensor import Tensor
from xpnet.core.views import is_view, share_memory, viewed

Function = Callable[..., Any]


def public(function: Function, name: str, chapter: str, text: str, derivative: str) -> Function:
    """Name and document a function of the namespace."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text}\n\nDerivative: {derivative}."
    made: Any = function
    made.chapter, made.derivative = chapter, derivative
    return function


ERRORS = (ValueError, TypeError, IndexError, RuntimeError)


def named(error: Exception, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception:
    """An error of a backend, or of the formula of a derivative, that names the function and its arguments."""
    own, text = function.__name__, str(error).strip()
    if text.startswith(f"{own}:") or hasattr(error, "named"):
        return error
    parameters = [p for p in signature(function).parameters if p not in kwargs]
    given = [*zip(parameters, args, strict=False), *kwargs.items()]
    message = f"{own}: {text} ({', '.join(f'{name}: {_described(v)}' for name, v in given)})"
    try:
        made = type(error)(message)
    except TypeError:  # a backend's own, which takes other arguments
        made = next(k for k in ERRORS if isinstance(error, k))(message)
    made.named = True  # type: ignore[attr-defined]
    return made


def _described(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_described, value))}]"
    return f"{tuple(value.shape)} {dtype_name(value.dtype)}" if is_array(value) else f"{value!r:.60}"


def constant(name: str, chapter: str, text: str, arguments: str, refuses: bool = False) -> Function:
    """A function without a derivative: the backend's own.

    Args:
        name: of the function, in the standard and in the backend.
        chapter: of the standard.
        text: what it gives.
        arguments: as in a definition.
        refuses: it raises where a gradient is wanted: its floating-point result would lose it without a word.
    """
    find, own = attrgetter(name), name.rpartition(".")[2]

    def function(*args: Any, **kwargs: Any) -> Any:
        if refuses and differentiating(*args, *kwargs.values()):
            raise TypeError(
                f"{own}: x requires a gradient, and a result whose shape depends on the values has "
                "none; pass x.detach()"
            )
        try:
            return value_of(own, args, kwargs, find)
        except ERRORS as error:
            raise named(error, function, args, kwargs) from error.__cause__

    function.__signature__ = signature(eval(f"lambda {arguments}: 0"))  # type: ignore[attr-defined]
    why = "none, and refused where one is wanted" if refuses else "none; the result is a constant"
    return public(function, own, chapter, text, why)


def derived(
    name: str, chapter: str, text: str, derivative: str, views: bool = False
) -> Callable[[Function], Function]:
    """A function whose values are the backend's, and whose derivative is that of the decorated formula.

    The formula is of other functions of the namespace, and of ops. It runs where something is recorded or
    carries a tangent.

    Args:
        name: of the function, in the standard and in the backend.
        chapter: of the standard.
        text: what it gives.
        derivative: in words.
        views: what it gives may lie in the memory of its first argument.
    """
    find, own = attrgetter(name), name.rpartition(".")[2]

    def make(formula: Function) -> Function:
        @wraps(formula)
        def function(*args: Any, **kwargs: Any) -> Any:
            try:
                if differentiating(*args, *kwargs.values()):
                    found = formula(*args, **kwargs)
                    return found if views or not _is_of(found, args[0]) else clone(found)
                found = value_of(own, args, kwargs, find)
            except ERRORS as error:
                raise named(error, function, args, kwargs) from error.__cause__
            if not views:
                return clone(found) if isinstance(found, Tensor) and _lies_in(found, args) else found
            if isinstance(args[0], Tensor):
                rest = args[1:]  # without the first, which a view does not keep
                again: Function = lambda x: function(x, *rest, **kwargs)
                if isinstance(found, tuple):
                    for k, part in enumerate(found):
                        viewed(part, args[0], partial(_entry, again, k))
                else:
                    viewed(found, args[0], again)
            return found

        del function.__wrapped__
        function.__signature__ = signature(formula)  # type: ignore[attr-defined]
        return public(function, own, chapter, text, derivative)

    return make


def _is_of(y: Any, x: Any) -> bool:
    """Whether a formula gave its argument, or a view of it."""
    if y is x:
        return isinstance(y, Methods)
    memory = getattr(y, "_memory", None)
    return memory is not None and memory is getattr(x, "_memory", None)


def _lies_in(y: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether a value of a backend's function is in the memory of an argument."""
    of = [x.data for x in args if isinstance(x, Methods)]
    return any(y.data is x or (is_view(y.data) and share_memory(y.data, x)) for x in of)


def _entry(function: Function, k: int, x: Any) -> Any:
    return function(x)[k]


def arity(function: Function) -> int:
    """How many positional arguments it has."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in signature(function).parameters.values())
