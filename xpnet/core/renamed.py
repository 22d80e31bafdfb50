"""Arguments under other names: earlier ones, and PyTorch's `input`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

INPUT = frozenset(("x", "logits", "scores", "log_probabilities"))
"""What the first argument is called here that PyTorch calls `input`."""


def renamed(**names: str) -> Callable[[F], F]:
    """Let a function take arguments by their earlier names, too.

    Args:
        **names: the name of now, by the earlier one.

    Raises:
        TypeError: by the function, of an argument that is given under both names.

    >>> from xpnet.core.renamed import renamed
    >>> @renamed(facts="metadata")
    ... def save(path, metadata=None):
    ...     return metadata
    >>> save("a", facts={"seed": 0})
    {'seed': 0}
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                if names[old] in kwargs:
                    raise TypeError(
                        f"{function.__qualname__}: {old!r} is the earlier name of {names[old]!r}; give one"
                    )
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]  # the signature is that of `function`

    return decorate


def input_first(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with `input=`, which is the first one under PyTorch's name.

    Where the function has an argument `input` of its own, or its first is none that PyTorch calls so, they
    stay as they are.

    Args:
        name: of the function, for messages.
        function: what is called.
        args: by position.
        kwargs: by name, `input` among them.

    Raises:
        TypeError: the first argument is given by position or its own name, too.
    """
    first, *others = [*signature(function).parameters, ""]
    if first not in INPUT or "input" in others:
        return args, kwargs
    if args or first in kwargs:
        raise TypeError(f"{name}: input= is {first}, the first argument, which is given as well: give one")
    return (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}


def takes_input(function: F) -> F:
    """Let a function that is no op, and no module, take its first argument as `input=`, too."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and "input" in kwargs:
            args, kwargs = input_first(function.__name__, function, args, kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]  # the signature is that of `function`
