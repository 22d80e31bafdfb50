"""Arguments under their earlier names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


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
