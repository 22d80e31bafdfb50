"""Tensors that share memory: what is written into one of them reaches the others.

A view remembers how it is made of the Tensor that has the memory, its root. Where a write is recorded, the
root goes on as a new result, and each view is made of that once more (`xpnet.core.writes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import backend_name

Recipe = tuple[Any, Callable[[Any], Any]] | None
"""How a view is made of the root: (recipe of what it is a view of, function of that); None: the root."""


class Memory:
    """The Tensors on one array.

    Attributes:
        array: of the root.
        root: the Tensor whose array that is, weakly.
        views: (view, its recipe), weakly.
    """

    __slots__ = ("array", "root", "views")

    def __init__(self, root: Any) -> None:
        self.array, self.root = root.data, ref(root)
        self.views: list[tuple[ref[Any], Recipe]] = []

    def add(self, view: Any, recipe: Recipe) -> None:
        """Count one in; those that are gone are forgotten now and then."""
        n = len(self.views)
        if n >= 16 and not n & (n - 1):  # at powers of two
            self.views = [(v, r) for v, r in self.views if v() is not None]
        self.views.append((ref(view), recipe))

    def alive(self) -> list[tuple[Any, Recipe]]:
        """The views that somebody has."""
        found = [(v(), r) for v, r in self.views]
        return [(v, r) for v, r in found if v is not None]


def detach(x: Any) -> Any:
    """The step of a recipe that leaves the history behind."""
    return x.detach()


def detached(recipe: Recipe) -> bool:
    """Whether a view has no part in the history of its root."""
    while recipe is not None:
        recipe, make = recipe
        if make is detach:
            return True
    return False


def viewed(view: Any, x: Any, make: Callable[[Any], Any]) -> None:
    """Note that `view`, which is `make(x)`, may share the memory of x."""
    if make is not detach and not is_view(view.data):
        return
    memory = getattr(x, "_memory", None)
    if memory is None:
        x._memory = memory = Memory(x)
        x._recipe = None
    view._memory, view._recipe = memory, (x._recipe, make)
    memory.add(view, view._recipe)


def made(recipe: Recipe, root: Any) -> Any:
    """The view of a root that a recipe says."""
    steps = []
    while recipe is not None:
        recipe, make = recipe
        steps.append(make)
    for make in reversed(steps):
        root = make(root)
    return root


def is_view(array: Array) -> bool:
    """Whether an array's memory may be another's, too."""
    if type(array) is np.ndarray:
        return array.base is not None
    if isinstance(array, np.generic):
        return False
    name = backend_name(array)
    if name == "torch":
        return bool(array._is_view())
    return getattr(getattr(array, "_array", array), "base", None) is not None


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays of one backend lie in the same memory, or within each other's bounds."""
    if a is b:
        return True
    if isinstance(a, np.generic) or isinstance(b, np.generic) or type(a) is not type(b):
        return False
    if backend_name(a) == "torch":
        return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())
    if backend_name(a) == "cupy":
        import cupy

        return a.device == b.device and bool(cupy.may_share_memory(a, b))
    return bool(np.may_share_memory(getattr(a, "_array", a), getattr(b, "_array", b)))
