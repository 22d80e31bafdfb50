"""Which values of attributes are parts of a module, and which look like parts and are refused."""

from __future__ import annotations

from collections import UserDict, UserList, deque
from collections.abc import Collection, ItemsView, Iterator, KeysView, Set, ValuesView
from types import MappingProxyType
from typing import Any

import numpy as np

from xpnet.core.autograd import Tensor

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), np.dtype, range})  # most attributes
_NUMBERED = (list, tuple, deque, UserList)
_NAMED = (dict, UserDict, MappingProxyType)
_UNORDERED = (Set, KeysView, ValuesView, ItemsView)


def is_part(value: Any) -> bool:
    """Whether it is a Module, a Parameter or a Buffer."""
    return getattr(type(value), "_part", False)


def parts(name: str, value: Any, outer: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The parts in an attribute's value, by name: itself, or those in lists, tuples and dicts.

    Args:
        name: of the attribute.
        value: of the attribute.
        outer: the containers that this one is in, by `id`.

    Raises:
        TypeError: something there would never be found, or never be trained.
        ValueError: two parts have one name, or a container contains itself.
    """
    if is_part(value):
        yield name, value
    elif isinstance(value, Tensor):
        if value.requires_grad and value.is_leaf:
            raise TypeError(
                f"{name} is a Tensor that requires a gradient, which no optimizer of the module would find: "
                "make it nn.Parameter(x), or pass x.detach()"
            )
    elif isinstance(value, _NUMBERED):
        yield from _inside(name, value, enumerate(value), outer)
    elif isinstance(value, _NAMED):
        seen: dict[str, Any] = {}
        for key in value:
            if is_part(key):
                raise TypeError(f"{name} has a {type(key).__name__} as a key: parts are found as values only")
            if seen.setdefault(str(key), key) is not key and is_part(value[key]):
                raise ValueError(f"{name}: the keys {key!r} and {seen[str(key)]!r} make one name")
        yield from _inside(name, value, value.items(), outer)
    elif isinstance(value, _UNORDERED) or (type(value) is np.ndarray and value.dtype == object):
        items: Collection[Any] = value.ravel().tolist() if isinstance(value, np.ndarray) else value
        if any(is_part(item) for item in items):
            raise TypeError(
                f"{name} is a {type(value).__name__} with parts of the module, which have no names in it: "
                "use a list or a dict"
            )


def _inside(name: str, container: Any, items: Any, outer: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    if id(container) in outer:
        raise ValueError(f"{name}: the {type(container).__name__} contains itself")
    for key, item in items:
        if type(item) not in PLAIN:
            for path, part in parts(f"{name}.{key}", item, (*outer, id(container))):
                if "." in str(key):
                    raise ValueError(f"{name}: the key {key!r} has a dot, which separates names")
                yield path, part


def reaches(module: Any, target: Any) -> bool:
    """Whether `target` is `module` or somewhere inside it."""
    return module is target or any(part is target for _, part in module._walk())
