"""Memory for time: what lies between two points is computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from xpnet.core import random
from xpnet.core.again import gradients, running_again
from xpnet.core.forward import Dual
from xpnet.core.node import as_taken, clock, parents
from xpnet.core.op import is_recording
from xpnet.core.operators import clone
from xpnet.core.tensor import Tensor
from xpnet.core.versions import check_between
from xpnet.transforms.trees import function_of


class _Segment:
    """The op of a checkpoint: a function that is run again."""

    is_loss = views = False
    keeps = True
    anywhere: tuple[str, ...] = ()
    forward = None
    arguments: tuple[str, ...] = ()

    def __init__(self, run: Callable[[list[Any]], Any], inputs: list[Any], end: int, name: str) -> None:
        self._run, self._inputs, self._end, self.__name__ = run, inputs, end, name

    def gradient(self, dy: Any, create_graph: bool) -> tuple[Any, ...]:
        """Of the inputs, from a graph that lives as long as this call."""
        inputs = [as_taken(node, self._end) for node in self._inputs]
        return tuple(gradients([self._run(inputs)], [dy], inputs, create_graph))

    def body(self, *_: Any) -> tuple[Any, Callable[[Any], Any]]:
        """For derivatives of higher order."""
        return None, lambda dy: self.gradient(dy, True)


def checkpoint(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """f(*args, **kwargs) without keeping what lies between: in the backward pass f runs once more.

    Args:
        f: a function made of ops, a part of a model, say, that gives one Tensor.
        *args: what it is called with.
        **kwargs: likewise.

    Returns:
        What f gives. Gradients flow to its arguments and to all that it closes over, its parameters.

    Raises:
        TypeError: f gives something else than one Tensor.

    Arguments are those of the first run, written into since or not; what f closes over must not have been
    written into, and f must not write into it: where that is seen, `backward()` refuses it.

    The second run draws the same random numbers (dropout) and leaves running statistics alone, so the
    gradients are those without a checkpoint, to the last bit. With one for every k of n layers the
    activations of n/k + k layers are alive at a time instead of n (Chen et al., 2016, "Training deep nets
    with sublinear memory cost").

    >>> import xpnet
    >>> x = xpnet.tensor([1.0, 2.0], requires_grad=True)
    >>> xpnet.checkpoint(lambda z: (z * z).sin(), x).sum().backward()
    >>> [round(float(g), 4) for g in x.grad]  # 2 x cos(x^2)
    [1.0806, -2.6146]
    """
    function_of(f, "checkpoint")
    states = {stream: generator.state for stream, generator in random.generators.items()}
    start = next(clock)
    y = f(*args, **kwargs)
    if isinstance(y, Dual):
        return y
    if not isinstance(y, Tensor):
        raise TypeError(f"checkpoint: the function's result is a {type(y).__name__}, expected one Tensor")
    if not y.requires_grad or y._pullback is None or y._time < start or not is_recording():
        return y
    inputs, _ = _boundary(y, start)
    name, end = f"checkpoint of {getattr(f, '__name__', type(f).__name__)}", next(clock)
    given = [_as_given(x, start, end) for x in args]
    named = {key: _as_given(x, start, end) for key, x in kwargs.items()}

    def run(inputs: list[Any]) -> Any:
        with ExitStack() as stack:
            stack.enter_context(running_again(y_data))
            stack.enter_context(random.forked())
            for stream, state in states.items():
                random.generators[stream].state = state
            again = next(clock)
            z = f(*(x() for x in given), **{key: x() for key, x in named.items()})
        found, inside = _boundary(z, again)
        if {id(node) for node in found} != {id(node) for node in inputs}:
            raise RuntimeError(
                f"backward(): {name} is run again on something else than before: what it closes over was "
                "written into, by itself or since, or is another; give it as an argument"
            )
        check_between(inside, [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)], end, again)
        return z

    y_data = y.data
    segment = _Segment(run, inputs, end, name)
    result = Tensor(y_data)
    result.requires_grad = True
    result._parents = list(enumerate(inputs))
    result._pullback = lambda dy: segment.gradient(dy, False)
    result._op, result._time = segment, next(clock)
    result._values, result._options = [None] * len(inputs), {}
    return result


def _as_given(x: Any, start: int, end: int) -> Callable[[], Any]:
    """A function that gives an argument as it was when f was called, from `start` to `end`."""
    before = as_taken(x, start) if isinstance(x, Tensor) else x
    if before is not x:  # f has written into it, and will do so again
        return lambda: clone(before)
    return lambda: as_taken(x, end) if isinstance(x, Tensor) else x


def _boundary(y: Any, start: int) -> tuple[list[Any], list[Any]]:
    """The nodes that were there before f ran, and that it took; those that it made."""
    found, inside, seen, stack = [], [], set(), [y]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node._pullback is None or node._time < start:
            found.append(node)
        else:
            inside.append(node)
            stack.extend(parent for _, parent in parents(node))
    return found, inside
