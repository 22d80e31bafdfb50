"""The tree of a model: its parts by name, and what is known of them until they change."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_
from typing import Any

from xpnet.core.tensor import Tensor
from xpnet.nn.flat import Span
from xpnet.nn.parameter import Buffer, Parameter
from xpnet.nn.parts import PLAIN, contents, is_part, nested, parts, would_be_trained


class Edition:
    """Which assignments to modules have been seen; another `number` after each that may move a parameter."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = object()

    def follow(self, old: Any, new: Any) -> None:
        """Note an assignment of an attribute of a module."""
        if _may_hold_parameters(old) or _may_hold_parameters(new):
            self.number = object()


def _may_hold_parameters(value: Any) -> bool:
    kind = type(value)
    if kind in PLAIN:
        return False
    return (is_part(value) and not issubclass(kind, Buffer)) or contents(value) is not None


edition = Edition()


class Known:
    """The parameters of a tree, and the spans that cover them.

    Attributes:
        members: the parameters, in order of definition.
        whole: the span of all of them, if `theta` has been asked for.
        spans: the fewest spans of all (key None), or of those that a tuple of bools picks.
    """

    __slots__ = ("_containers", "_number", "_tensors", "members", "spans", "whole")

    def __init__(self, module: Tree) -> None:
        self._number = edition.number  # before the walk: a change during it counts
        self._containers: list[tuple[Any, Any, tuple[Any, ...]]] = []
        self._tensors: list[Tensor] = []
        for tree in (module, *(part for _, part in module._walk() if isinstance(part, Tree))):
            for value in vars(tree).values():
                if type(value) not in PLAIN:
                    self._watch(value)
        self.members = tuple(p for _, p in module._unique(Parameter))
        self.whole: Span | None = None
        self.spans: dict[Any, list[Span]] = {}

    def _watch(self, value: Any) -> None:
        for item in nested(value):
            inside = contents(item)
            if inside is not None:
                self._containers.append((item, inside, tuple(inside)))
            elif isinstance(item, Tensor) and not is_part(item):
                self._tensors.append(item)

    def holds(self) -> bool:
        """Whether a walk would find the same: nothing says so when a list changes, so all are looked at."""
        if self._number is not edition.number:
            return False
        for container, inside, before in self._containers:
            if len(container) != len(before) or not all(map(is_, inside, before)):
                return False
        return not (self._tensors and any(map(would_be_trained, self._tensors)))


class Tree:
    """What a module knows of the parts that it holds, here and below.

    Names are paths of attributes; what is asked for often, the parameters and their spans, is kept until an
    attribute of a module or a list, tuple or dict in one has changed.
    """

    def _known(self) -> Known:
        known = self.__dict__.get("_tree")
        if known is None or not known.holds():
            known = self.__dict__["_tree"] = Known(self)
        return known

    def _children(self) -> Iterator[tuple[str, Any]]:
        """Attributes that are part of the model, by name."""
        for name, value in vars(self).items():
            if type(value) not in PLAIN:
                yield from parts(name, value)

    def _walk(self, prefix: str = "", above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
        above = (*above, self)
        for name, value in self._children():
            if isinstance(value, Tree):
                if any(value is module for module in above):  # a list may have changed since it was set
                    raise ValueError(f"{prefix}{name}: the {type(value).__name__} contains itself")
                yield prefix + name, value
                yield from value._walk(f"{prefix}{name}.", above)
            else:
                yield prefix + name, value

    def _unique(self, kind: type, recurse: bool = True) -> list[tuple[str, Any]]:
        seen: set[int] = set()
        found = []
        for name, value in self._walk() if recurse else self._children():
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                found.append((name, value))
        return found

    def named_parameters(self, recurse: bool = True) -> list[tuple[str, Parameter]]:
        """(name, parameter) pairs in order of definition; a shared parameter appears once.

        Args:
            recurse: those of the modules inside, too.
        """
        return self._unique(Parameter, recurse)

    def parameters(self, recurse: bool = True) -> list[Parameter]:
        """The parameters, in order of definition."""
        return list(self._known().members) if recurse else [p for _, p in self._unique(Parameter, recurse)]

    def named_buffers(self, recurse: bool = True) -> list[tuple[str, Buffer]]:
        """(name, buffer) pairs in order of definition."""
        return self._unique(Buffer, recurse)

    def buffers(self, recurse: bool = True) -> list[Buffer]:
        """The buffers, in order of definition."""
        return [b for _, b in self._unique(Buffer, recurse)]
