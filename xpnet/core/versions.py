"""Values that were written over after an op had kept them: its gradient would be of others, so it is refused.

A write costs a note, `backward` one comparison a node; only where a graph is older than the last write are
its values looked at (PyTorch counts versions to the same end).
"""

from __future__ import annotations

import math
from typing import Any
from weakref import ref

from xpnet.core.node import argument_name, clock, parents
from xpnet.core.views import share_memory

_WRITTEN: dict[int, tuple[ref[Any], int]] = {}  # by id: what has been written into, and when last

last = [-1]
"""When something was written into last."""


def wrote(x: Any) -> None:
    """Note that the memory of a Tensor has other values now."""
    memory = getattr(x, "_memory", None)
    root = None if memory is None else memory.root()
    x = x if root is None else root  # what others may have
    key, last[0] = id(x), next(clock)
    _WRITTEN[key] = ref(x, lambda _: _WRITTEN.pop(key, None)), last[0]


def _written(start: float, stop: float = math.inf) -> list[Any]:
    """What has been written into between two times, as far as somebody has it."""
    found = [(r(), time) for r, time in list(_WRITTEN.values())]
    return [x for x, time in found if x is not None and start < time < stop]


def check(node: Any) -> None:
    """Refuse the gradient of a node whose arguments, or whose result, have been written into since.

    Raises:
        RuntimeError: naming the op and the argument.
    """
    if not node._op.keeps:
        return
    now = node._time
    later = _written(now)
    taken = [(i, parent._data) for i, parent in parents(node)] + list(enumerate(node._values or ()))
    for i, value in taken:
        if any(share_memory(x._data, value) for x in later):
            raise RuntimeError(_message(node, argument_name(node, i)))
    for i, parent in node._parents or ():
        flat = getattr(parent, "_flat", None)  # a computed Tensor has none
        written = flat.written.items() if flat is not None else ()
        if any(start <= parent._offset < stop and time > now for (start, stop), time in written):
            raise RuntimeError(_message(node, argument_name(node, i)))
    if any(share_memory(x._data, node._data) for x in later):
        raise RuntimeError(_message(node, "the result"))


def check_between(nodes: list[Any], given: list[Any], start: int, stop: int) -> None:
    """Refuse what `nodes` were computed of again, if it has been written into since the first time.

    Args:
        nodes: the ops of the second time.
        given: Tensors that it began with.
        start: the end of the first time.
        stop: the begin of the second one.

    Raises:
        RuntimeError: naming the op and the argument.
    """
    if last[0] < start:
        return
    later = _written(start, stop)
    if not later:
        return
    for node in nodes:
        for i, value in enumerate(node._values or ()):
            if hasattr(value, "shape") and any(share_memory(x._data, value) for x in later):
                raise RuntimeError(_message(node, argument_name(node, i)))
    for x in given:
        if any(share_memory(y._data, x._data) for y in later):
            raise RuntimeError(
                "backward(): an argument of a checkpoint was written into after it was run, and it is run "
                "again: write into a copy, x.clone()"
            )


def _message(node: Any, what: str) -> str:
    return (
        f"backward(): {what} of {node._op.__name__} was written into after the forward pass, and the "
        "gradient needs the values before: write before the forward pass, after backward(), or into a copy, "
        "x.clone()"
    )
