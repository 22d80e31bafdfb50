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
from xpnet.core.places import backend_name, namespace

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

    def without_root(self) -> Any:
        """Its views, if each was detached from the root, which is gone: nothing is there to be detached from.

        Returns:
            One that has the whole memory, which becomes the root; None if there is none.
        """
        views = self.alive()
        if not all(detached(recipe) for _, recipe in views):
            return None
        self.views, root = [], None
        for view, recipe in views:
            view._recipe = attached(recipe)
            if root is None and view._recipe is None and share_memory(view.data, self.array):
                root, self.root = view, ref(view)
                continue
            if view._recipe is None:  # a Tensor of its own
                view._recipe = (None, lambda x: x[...])
            self.views.append((ref(view), view._recipe))
        return root

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


def attached(recipe: Recipe) -> Recipe:
    """The same view, with its part in the history."""
    if recipe is None:
        return None
    before, make = attached(recipe[0]), recipe[1]
    return before if make is detach else (before, make)


def viewed(view: Any, x: Any, make: Callable[[Any], Any]) -> None:
    """Note that `view`, which is `make(x)`, may share the memory of x."""
    array, whole = view.data, x.data
    if type(array) is np.ndarray:  # the quick answer for the hot path
        base = array.base
        if base is None and make is not detach:
            return
        if base is not whole and array is not whole and not _derived(array, whole):
            return
    elif make is not detach and not (is_view(array) and _derived(array, whole)):
        return
    memory = getattr(x, "_memory", None)
    if memory is None or (whole is not memory.array and not _derived(whole, memory.array)):
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
    if name == "array_api_strict":  # two of it may have one array of NumPy
        return True
    return getattr(array, "base", None) is not None


def _derived(view: Array, x: Array) -> bool:
    """Whether an array lies in the memory of the one that it was made of: a copy may be a view of another."""
    if view is x:
        return True
    if type(view) is np.ndarray and (view.base is x or (view.base is not None and view.base is x.base)):
        return True
    return share_memory(view, x)


def laid_out(x: Array, like: Array) -> Array:
    """The same values, the axes in the order in memory of `like`: what was a view of that is one of this."""
    if x.ndim < 2:
        return x
    made = namespace(like).empty_like(like)
    if _strides(made) == _strides(x):
        return x
    made[...] = x
    return made


def _strides(x: Array) -> tuple[int, ...]:
    x = getattr(x, "_array", x)
    return tuple(x.stride() if hasattr(x, "stride") else x.strides)


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
