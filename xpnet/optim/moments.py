"""What an optimizer keeps of parameters: moments, step counts, and float32 copies of 16-bit ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from xpnet.core.arrays import is_half, widen
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of, device, namespace
from xpnet.core.tensor import Tensor
from xpnet.nn.flat import FlatParameters, Span

MASTER = "master"  # the name of the float32 parameters in the state of half ones

Shapes = Callable[[str, tuple[int, ...]], tuple[int, ...] | None]
State = dict[str, Any]
"""Of one parameter: its step count and its moments, by PyTorch's names."""


class Block:
    """Neighbouring parameters of one group, their moments, and how many steps each has made.

    The moments are vectors like the parameters', or like the part of them that this rank updates. A step
    works on spans of the block: see `spans`.

    Args:
        shards: of the ranks that share the moments: see `xpnet.parallel.shard_optimizer`.

    Attributes:
        part: (start, stop) in the vector of the parameters, of what is updated here.
        span: the parameters.
        group: their hyperparameters, as the user sees and sets them.
        values: the hyperparameters that hold now.
        h: the same with names.
        names: of the moments; None for one that these hyperparameters do not need.
        moments: their vectors, or None.
        master: the float32 copy of 16-bit parameters.
        made: the steps of each parameter.
    """

    __slots__ = (
        "_shards",
        "group",
        "h",
        "made",
        "master",
        "moments",
        "names",
        "part",
        "shaped",
        "span",
        "values",
    )

    def __init__(
        self,
        span: Span,
        group: State,
        h: Any,
        names: tuple[str | None, ...],
        shapes: Shapes | None = None,
        shards: Shards | None = None,
    ) -> None:
        self.span, self.group, self.h, self.names, self._shards = span, group, h, names, shards
        self.part = span.start, span.stop
        mine = span.values
        if shards is not None and span.flat is not None:
            self.part = common(self.part, shards.part(span.flat))
            mine = mine[self.part[0] - span.start : self.part[1] - span.start]
        self.values: tuple[Any, ...] = tuple(h)
        self.shaped: set[str] = set()  # moments of a shape of their own
        self.moments = [None if name is None else self._moment(name, shapes, mine) for name in names]
        self.master = widen(mine) if is_half(mine) else None
        self.made = [0] * len(span.parameters)

    def _moment(self, name: str, shapes: Shapes | None, mine: Array) -> Array | None:
        """Zeros like the parameters, or of the shape that the rule says for a parameter of its own."""
        if shapes is None:
            return namespace(mine).zeros_like(widen(mine))
        self.shaped.add(name)
        shape = shapes(name, tuple(self.span.parameters[0].shape))
        like = widen(self.span.values)
        return None if shape is None else namespace(like).zeros(shape, dtype=like.dtype, device=device(like))

    def restore(self, i: int, state: State, initial: dict[str, float]) -> None:
        """Set the moments and the count of parameter number `i` from its state, or from where they start."""
        p = self.span.parameters[i]
        self.made[i] = state.get("step", 0)
        for name, vector in self._vectors():
            view, value, xp = vector, state.get(name), namespace(vector)
            if value is not None:
                value = asarray(value, dtype_name(view.dtype), backend=backend_of(view))
            if name not in self.shaped and self.span.flat is not None:
                # of the parameter what is here, by its places in the vector
                start, stop = common(self.part, (p._offset, p._offset + p.size))
                view = vector[start - self.part[0] : stop - self.part[0]]
                if value is not None:
                    value = xp.reshape(value, (-1,))[start - p._offset : stop - p._offset]
            if value is not None:
                view[...] = xp.reshape(value, view.shape)
            elif initial.get(name):
                view[...] = xp.full_like(view, initial[name])

    def states(self) -> list[State]:
        """Copies of what each parameter has. Ranks that share the moments call this together."""
        vectors = {name: self._whole(name, vector) for name, vector in self._vectors()}
        return [
            {"step": made, **{name: self._copy(p, name, vector) for name, vector in vectors.items()}}
            for p, made in zip(self.span.parameters, self.made, strict=True)
        ]

    def _copy(self, p: Tensor, name: str, vector: Array) -> Array:
        view = vector if name in self.shaped else self.span.view(p, vector)
        return namespace(view).asarray(view, copy=True)

    def _whole(self, name: str, vector: Array) -> Array:
        """What all ranks have of a moment."""
        if self._shards is None or name in self.shaped or self.span.flat is None:
            return vector
        whole, (start, stop) = self.span.like(), self.part
        whole[start - self.span.start : stop - self.span.start] = vector
        self._shards.complete(self.span.flat, whole, self.span.start)
        return whole

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
        mine: likewise, of what is updated here.
        upward: whether the rule follows the gradient upwards.
        looks: whether the kernel of a step looks by itself if it is to be made; None if that is not known.
    """

    grads: Array
    __slots__ = (
        "_block",
        "_first",
        "grads",
        "h",
        "looks",
        "made",
        "master",
        "mine",
        "moments",
        "part",
        "seen",
        "step",
        "upward",
    )

    def __init__(self, block: Block, first: int, last: int) -> None:
        whole = block.span
        super().__init__(whole.parameters[first:last])
        place: Any = ...
        self._block, self._first = block, first
        if self.flat is not None:
            self.mine = start, stop = common((self.start, self.stop), block.part)
            place = slice(start - block.part[0], stop - block.part[0])
            if self.mine != (self.start, self.stop):
                self.values = self.flat.values[start:stop]
        parts = zip(block.names, block.moments, strict=True)
        self.moments = [m if m is None or name in block.shaped else m[place] for name, m in parts]
        self.master = None if block.master is None else block.master[place]
        self.made = self.step = block.made[first]
        self.looks: bool | None = None
        self.seen: Array | None = None
        self.part = self.start, self.stop
        self.look()

    def look(self) -> None:
        """See where the gradients are, and which hyperparameters hold."""
        self.h, flat = self._block.h, self.flat
        self.upward = getattr(self.h, "maximize", False)
        if flat is None:
            self.grads = self.parameters[0]._grad
        elif flat.grads is not self.seen:
            self.seen, self.grads = flat.grads, flat.grads[self.mine[0] : self.mine[1]]

    def keep_count(self) -> None:
        """Tell the block how many steps have been made."""
        n = len(self.parameters)
        self._block.made[self._first : self._first + n] = [self.made] * n

    def widened(self, factor: float | Array) -> Wide:
        """What a step of a 16-bit type works on, in float32: its copy and factor * gradient."""
        assert self.master is not None
        xp = namespace(self.values)
        # parameters that somebody else has written since the last step; in place, for captured steps
        same = self.values == xp.astype(self.master, self.values.dtype)
        self.master[...] = xp.where(same, self.master, widen(self.values))
        grads = widen(self.grads)
        grads = grads if type(factor) is float and factor == 1 else grads * factor
        return Wide(self.master, grads, self.moments, self.h, self.step, self.parameters)

    def write(self) -> None:
        """Round the float32 copy into the parameters."""
        if self.master is not None:
            self.values[...] = namespace(self.values).astype(self.master, self.values.dtype)

    def copies(self) -> list[Array]:
        """The arrays that a step changes, as they are now."""
        return [namespace(a).asarray(a, copy=True) for a in self._changed()]

    def restore(self, before: list[Array]) -> None:
        """Undo a step."""
        for array, old in zip(self._changed(), before, strict=True):
            array[...] = old

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
    parameters: list[Tensor]


class Shards(Protocol):
    """Which part of a vector of parameters each rank updates, and how the parts come together."""

    def part(self, flat: FlatParameters) -> tuple[int, int]:
        """This rank's (start, stop)."""

    def complete(self, flat: FlatParameters, array: Array, start: int = 0) -> None:
        """Give every rank the parts that the others have.

        Args:
            flat: the vector.
            array: like it, or like a piece of it.
            start: where the piece begins.
        """

    def ask(self) -> None:
        """Before the state of all ranks comes together: call those that wait for this."""


def common(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """What two ranges share; of length 0, within the first, where that is nothing."""
    start = min(max(a[0], b[0]), a[1])
    return start, max(start, min(a[1], b[1]))


def members_of(groups: list[State]) -> list[Tensor]:
    """The parameters of all groups, in order."""
    return [p for group in groups for p in group["params"]]
