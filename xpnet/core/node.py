"""A node of the graph: an array, its gradient, and the op that made it of other nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from math import prod
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.tracing import traced

Pullback = Callable[[Any], Any]
"""From the gradient of an op's output to those of its positional arguments: see `xpnet.core.op`."""


class Room(dict[int, Array]):
    """Where the gradients of leaves go, by position: arrays of their shape and dtype, to be overwritten.

    Attributes:
        sums: likewise, of leaves that have a gradient: to add to it, and then to return this very array.
        gates: by position, of inputs whose own pullback begins with a mask.
    """

    __slots__ = ("gates", "sums")

    def __init__(self) -> None:
        self.sums: dict[int, Array] = {}
        self.gates: dict[int, Gate] = {}


class Gate:
    """The mask that a pullback begins with, for the op above to apply where it makes that gradient.

    To mask twice changes nothing. So the pullback passes over its mask if it is given the very array that has
    been masked, and applies it to everything else, such as a sum with the gradient of a second use.

    Attributes:
        mask: where a gradient goes through, in the form that the kernels share.
        passed: the gradient that has been masked already.
    """

    __slots__ = ("mask", "passed")

    def __init__(self, mask: Array) -> None:
        self.mask = mask
        self.passed: Array | None = None

    def has_passed(self, dy: Array) -> bool:
        """Whether this gradient has been masked; asked once of each."""
        passed, self.passed = self.passed, None
        return dy is passed


class Joint:
    """The pullback of an op that makes several gradients at once, or adds to those that are there.

    Attributes:
        into: a function of dy and a `Room`.
        gate: the mask that it begins with, if the op above may apply it.
    """

    __slots__ = ("gate", "into")

    def __init__(self, into: Callable[[Any, Room], Any], gate: Gate | None = None) -> None:
        self.into, self.gate = into, gate

    def __call__(self, dy: Any) -> Any:
        """The gradients, in memory of their own."""
        return self.into(dy, Room())


LENT = 2  # `_filled` of a gradient that somebody outside may have kept

clock = count()  # an op's inputs exist before its output: falling times are a topological order


class Carried:
    """What carries more than an array: an op that is given one hands itself and its arguments over to it."""

    __slots__ = ()

    def apply(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of `op(*args, **kwargs)`, where this is one of the arguments."""
        raise NotImplementedError


def parents(node: Node) -> list[tuple[int, Any]]:
    """(position, input) of an op: what the inputs were when it took them, if they have been written into."""
    return [(i, as_taken(parent, node._time)) for i, parent in node._parents or ()]


def as_taken(node: Any, time: int) -> Any:
    """What a node was at a time: x[...] = y makes another of it."""
    while getattr(node, "_time", -1) > time:
        node = node._before
    return node


def argument_name(node: Node, i: int) -> str:
    """An argument of the op that made a node."""
    arguments = node._op.arguments
    return arguments[i] if i < len(arguments) else f"argument {i}"


class Node:
    """What `backward` walks over; `Tensor` adds what a user does with one.

    Attributes:
        data: the array.
        requires_grad: whether gradients flow to or through it.
    """

    __slots__ = (
        "__weakref__",
        "_before",
        "_data",
        "_filled",
        "_flat",
        "_grad",
        "_kept",
        "_memory",
        "_offset",
        "_op",
        "_options",
        "_parents",
        "_pullback",
        "_recipe",
        "_time",
        "_values",
        "requires_grad",
    )

    _data: Array
    requires_grad: bool
    _grad: Array | None
    _filled: int  # 0: _grad is None or leftover memory; 1: it holds a gradient; LENT: that was given out
    _kept: list[Array] | None  # of a computed tensor after `retain_grad`: empty, or its gradient
    _parents: Sequence[tuple[int, Node]] | None  # (position, input); None once backward has freed the node
    _pullback: Pullback | None  # None for a leaf
    _op: Any  # what made it
    _time: int  # when that ran
    _values: list[Any] | None  # what it was given, to run its body again: see `xpnet.core.again`
    _options: dict[str, Any] | None
    _before: Node  # after x[...] = y: what x was, for the ops that took it then
    _memory: Any  # of a view and of what it is a view of: see `xpnet.core.views`
    _recipe: Any
    _flat: Any  # of a parameter: the `FlatParameters` that data and _grad are views of, and the place in it
    _offset: int

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self._data = data
        self.requires_grad = requires_grad
        self._grad = self._pullback = self._flat = self._kept = None
        self._filled = False
        self._parents = ()
        self._offset = 0

    @property
    def data(self) -> Array:
        """The array; assigning another changes neither the graph nor the gradient.

        What an optimizer or a model trains takes over the values: its array is a view into their vector.

        Raises:
            ValueError: values for that of another shape or dtype.
        """
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        if getattr(self, "_flat", None) is None:
            if self._grad is not None and not self._filled:
                self._grad = None  # memory for the next gradient, of the shape and dtype that the array had
            self._data = value
            return
        view = self._data  # stays, or the vector would no longer hold the parameter
        if tuple(value.shape) != tuple(view.shape) or value.dtype != view.dtype:
            raise ValueError(
                f"parameter.data: expected shape {tuple(view.shape)} and dtype {view.dtype}, "
                f"got {tuple(value.shape)} and {value.dtype}"
            )
        if value is not view:
            view[...] = value
            self._flat.wrote(self._offset, self._offset + prod(view.shape))

    @property
    def is_leaf(self) -> bool:
        """Whether it was made, not computed; also if `backward` has freed the graph."""
        return self._pullback is None and self._parents is not None

    def _forget(self) -> None:
        """No gradient from here on; one that has been given out stays as it is, in memory of its own."""
        if self._filled == LENT:
            if self._flat is None:
                self._grad = None
            else:
                self._flat.renew_grads()
        self._filled = 0
        if self._kept:
            self._kept.clear()

    def _accumulate(self, gradient: Array, fresh: bool = False) -> None:
        """The first gradient since `zero_grad` is stored, later ones are added.

        A leaf outside of a vector adopts a `fresh` array, which nobody else has; otherwise values are copied:
        two leaves must not share memory.
        """
        if self._filled:
            if gradient is not self._grad:  # what a `Joint` has added to already
                self._grad += gradient
            self._kept = None
            return
        if fresh and self._flat is None and getattr(gradient, "base", gradient) is None:  # not a view
            self._grad = gradient
        elif self._grad is None:
            self._grad = namespace(gradient).asarray(gradient, copy=True)
        elif gradient is not self._grad:
            traced([self._grad])[0][...] = gradient
        self._filled = 1
