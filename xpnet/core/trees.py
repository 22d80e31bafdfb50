"""Values that are made of several: tuples, lists and dicts of them, nested as one likes; None has no leaf."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves with their paths, in order."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}[{key!r}]")
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{path}[{i}]")
    elif tree is not None:
        yield path, tree


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of the same form, each leaf by a function."""
    if isinstance(tree, Mapping):
        return {key: mapped(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [mapped(function, value) for value in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return None if tree is None else function(tree)


def rebuilt(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the same form with other leaves."""
    return mapped(lambda _: next(values), tree)
