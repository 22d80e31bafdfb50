"""What an optimizer keeps of parameters: moments, step counts, and float32 copies of 16-bit ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from xpnet.core.arrays import is_half, widen
from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import Tensor
from xpnet.nn.flat import Span

MASTER = "master"  # the name of the float32 parameters in the state of half ones

State = dict[str, Any]
"""Of one parameter: its step count and its moments, by PyTorch's names."""


class Block:
    """Neighbouring parameters of one group, their moments, and how many steps each has made.

    The moments are vectors like the parameters'. A step works on spans of the block: see `spans`.

    Attributes:
        span: the parameters.
        group: their hyperparameters, as the user sees and sets them.
        values: the hyperparameters that hold now.
        h: the same with names.
        names: of the moments; None for one that these hyperparameters do not need.
        moments: their vectors, or None.
        master: the float32 copy of 16-bit parameters.
        made: the steps of each parameter.
    """

    __slots__ = ("group", "h", "made", "master", "moments", "names", "span", "values")

    def __init__(self, span: Span, group: State, h: Any, names: tuple[str | None, ...]) -> None:
        self.span, self.group, self.h, self.names = span, group, h, names
        self.values: tuple[Any, ...] = tuple(h)
        self.moments = [None if name is None else span.like() for name in names]
        self.master = widen(span.values) if is_half(span.values) else None
        self.made = [0] * len(span.parameters)

    def restore(self, i: int, state: State, initial: dict[str, float]) -> None:
        """Set the moments and the count of parameter number `i` from its state, or from where they start."""
        p = self.span.parameters[i]
        self.made[i] = state.get("step", 0)
        for name, vector in self._vectors():
            view = self.span.view(p, vector)
            if name in state:
                xp, value = namespace(view), asarray(state[name], backend=backend_of(view))
                view[...] = xp.reshape(value, view.shape)
            elif initial.get(name):
                view[...] = namespace(view).full_like(view, initial[name])

    def state(self, i: int) -> State:
        """Copies of what parameter number `i` has."""
        p = self.span.parameters[i]
        arrays = {name: self.span.view(p, vector) for name, vector in self._vectors()}
        return {
            "step": self.made[i],
            **{name: namespace(a).asarray(a, copy=True) for name, a in arrays.items()},
        }

    def _vectors(self) -> list[tuple[str, Array]]:
        named = [*zip(self.names, self.moments, strict=True), (MASTER, self.master)]
        return [(name, vector) for name, vector in named if name is not None and vector is not None]

    def spans(self, filled: list[Any]) -> list[MomentSpan]:
        """The fewest spans of the parameters with a gradient; all of a span have made the same steps."""
        found, first, n = [], 0, len(self.made)
        for i in range(1, n + 1):
            if i == n or bool(filled[i]) != bool(filled[first]) or self.made[i] != self.made[first]:
                if filled[first]:
                    found.append(MomentSpan(self, first, i))
                first = i
        return found


class MomentSpan(Span):
    """The span that a rule updates: `values` and `grads`, `moments`, hyperparameters `h` and the `step`.

    Attributes:
        moments: arrays like `values`, in the order of the rule's names, or None.
        step: the number of the step that is made, from 1.
        made: the steps made before.
        part: (start, stop).
    """

    grads: Array
    __slots__ = ("_block", "_first", "grads", "h", "made", "master", "moments", "part", "seen", "step")

    def __init__(self, block: Block, first: int, last: int) -> None:
        whole = block.span
        super().__init__(whole.parameters[first:last])
        place: Any = ... if self.flat is None else slice(self.start - whole.start, self.stop - whole.start)
        self._block, self._first = block, first
        self.moments = [None if m is None else m[place] for m in block.moments]
        self.master = None if block.master is None else block.master[place]
        self.made = self.step = block.made[first]
        self.seen: Array | None = None
        self.part = self.start, self.stop
        self.look()

    def look(self) -> None:
        """See where the gradients are, and which hyperparameters hold."""
        self.h, flat = self._block.h, self.flat
        if flat is None:
            self.grads = self.parameters[0]._grad
        elif flat.grads is not self.seen:
            self.seen, self.grads = flat.grads, flat.grads[self.start : self.stop]

    def keep_count(self) -> None:
        """Tell the block how many steps have been made."""
        n = len(self.parameters)
        self._block.made[self._first : self._first + n] = [self.made] * n

    def widened(self, factor: float) -> Wide:
        """What a step of a 16-bit type works on, in float32: its copy and factor * gradient."""
        assert self.master is not None
        xp = namespace(self.values)
        # parameters that somebody else has written since the last step; in place, for captured steps
        same = self.values == xp.astype(self.master, self.values.dtype)
        self.master[...] = xp.where(same, self.master, widen(self.values))
        grads = widen(self.grads)
        return Wide(self.master, grads if factor == 1 else grads * factor, self.moments, self.h, self.step)

    def write(self) -> None:
        """Round the float32 copy into the parameters."""
        if self.master is not None:
            self.values[...] = namespace(self.values).astype(self.master, self.values.dtype)

    def copies(self) -> list[Array]:
        """The arrays that a step changes, as they are now."""
        return [namespace(a).asarray(a, copy=True) for a in self._changed()]

    def keep_if(self, finite: Array, before: list[Array]) -> None:
        """Undo a step on the device unless `finite` holds: nothing waits to know."""
        xp = namespace(self.values)
        for array, old in zip(self._changed(), before, strict=True):
            array[...] = xp.where(finite, array, old)
        self.write()

    def _changed(self) -> list[Array]:
        first = self.values if self.master is None else self.master
        return [first, *(m for m in self.moments if m is not None)]


class Wide(NamedTuple):
    """A span of 16-bit parameters as a rule sees it, in float32.

    Squares of gradients leave the range of float16, eps is 0 in it, and an update below the last bit of a
    parameter would be lost (Micikevicius et al., 2018).
    """

    values: Array
    grads: Array
    moments: list[Array | None]
    h: Any
    step: int


def members_of(groups: list[State]) -> list[Tensor]:
    """The parameters of all groups, in order."""
    return [p for group in groups for p in group["params"]]
