"""A step on NumPy that is written down once and then made from its calls, without the tape."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from xpnet.core.recording import Leaf, Phase, Recording
from xpnet.core.tensor import Tensor, array_of
from xpnet.core.tracing import OUTSIDE, OWN, Trace, Traced, Witness, same_bits
from xpnet.core.trees import leaves as leaves_of
from xpnet.core.trees import mapped


class Constant:
    """A result of a captured function that is the same for each call of a kind: the number of rows, say."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Program:
    """The calls that a step is made of, in memory of their own.

    The step runs while they are written down, and once more while they are proved: on the next arguments, it
    is compared with them, bit by bit.

    Attributes:
        result: of the step that was written down.
        refused: why its calls cannot stand in for it, or None.
        proved: whether they have been compared.
        busy: locked while another thread uses the memory.

    Args:
        function: the step.
        args: with arrays of the program in place of the caller's, likewise `kwargs`.
        inputs: these arrays.
        leaves: the caller's.
        watched: the leaves that the step gives gradients to.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        inputs: list[np.ndarray],
        leaves: list[Any],
        watched: list[Leaf],
    ) -> None:
        trace, self.recording = Trace(), Recording()
        self.recording.host_work = trace
        for array in inputs:
            trace.know(array, OWN)
        for leaf in watched:
            trace.know(leaf._data, OUTSIDE)
            if leaf._grad is not None:
                trace.know(leaf._grad, OUTSIDE)
        self.inputs, self.proved = inputs, False
        self._gradients = [(leaf, bool(leaf._filled)) for leaf in watched]
        with self.recording.during(Phase.TRACED):
            result = function(*args, **kwargs)
        pairs = enumerate(zip(inputs, map(array_of, leaves), strict=True))
        self._written = [i for i, (a, b) in pairs if trace.is_written(a) or not same_bits(a, b)]
        self._hand_back(leaves)
        self._kinds: list[tuple[int, Callable[[np.ndarray], object], object]] = []
        for array, kind, place in trace.kinds:
            for i, given in enumerate(inputs):
                if trace.is_part(array, given) and array.size == given.size and i not in self._written:
                    self._kinds.append((i, kind, kind(array)))
                    trace.need_not_look(place)
        self._places = [(leaf, leaf._data, leaf._grad, leaf.requires_grad) for leaf in watched]
        if any(type(leaf._grad) is Traced for leaf in watched):
            trace.refuse("a parameter has no place for its gradient yet")
        if self.recording.leaves.keys() != {id(leaf) for leaf in watched}:
            trace.refuse("it gives gradients to other parameters than in the calls before")
        for _, leaf in leaves_of(result):
            if not isinstance(leaf, Tensor | np.ndarray | Constant):
                trace.refuse(
                    f"it returns {leaf!r}, a {type(leaf).__name__}, which would stay that of the first call; "
                    "return arrays"
                )
        self._result, self.refused, self._trace = mapped(plain, result), trace.refused, trace
        self._calls = trace.calls
        self.busy = Lock()
        self.result = shown(self._result, np.ndarray.copy)

    def is_in_place(self) -> bool:
        """Whether parameters, gradients, layers and settings are those that were there."""
        for leaf, data, gradient, trained in self._places:
            if leaf._data is not data or leaf._grad is not gradient or leaf.requires_grad is not trained:
                return False
        for check in self.recording.checks:  # noqa: SIM110  half the time of all()
            if not check():
                return False
        return True

    def finds_its_gradients(self) -> bool:
        """Whether each parameter has a gradient, to be added to, or none, as when it was written down."""
        for leaf, before in self._gradients:
            if bool(leaf._filled) is not before:
                return False
        for state, value in self.recording.states:  # noqa: SIM110
            if state() != value:
                return False
        return True

    def takes(self, leaves: list[Any]) -> bool:
        """Whether arguments whose values decide the way of the step are of the kind that was written down."""
        for i, kind, value in self._kinds:  # noqa: SIM110
            if kind(array_of(leaves[i])) != value:
                return False
        return True

    def replay(self, leaves: list[Any]) -> Any:
        """A step with these arguments."""
        with self.busy:
            for static, given in zip(self.inputs, leaves, strict=True):
                np.copyto(static, array_of(given))
            for call in self._calls:
                call()
            if self._written:
                self._hand_back(leaves)
            return shown(self._result, np.ndarray.copy)

    def _hand_back(self, leaves: list[Any]) -> None:
        """What the step wrote into its arguments."""
        for i in self._written:
            np.copyto(array_of(leaves[i]), self.inputs[i])

    def prove(self, function: Callable[[], Any], leaves: list[Any]) -> Any:
        """Run the step, and its calls beside it: what it returns. Where they differ, `refused` says so."""
        outside = [a for a in self._trace.outside if a.flags.writeable]
        before, given = [a.copy() for a in outside], [np.array(array_of(a)) for a in leaves]
        witness, recording = Witness(outside), Recording()
        recording.host_work = witness
        with recording.during(Phase.WATCHED):
            result = function()
        after = [a.copy() for a in outside]
        _write(outside, before)
        try:
            same = self._like(result, given, witness) and all(map(same_bits, outside, after))
            same = same and all(map(same_bits, self.inputs, map(array_of, leaves)))
        finally:
            _write(outside, after)
        self.proved = True
        if not same:
            self.refused = "its calls give other values than it does: NumPy does not tell of all"
        return result

    def _like(self, result: Any, given: list[np.ndarray], witness: Witness) -> bool:
        """Make the calls, and as work of the host what it was; whether the results are the same."""
        if len(witness.log) != len(self._trace.host):
            return False
        _write(self.inputs, given)
        logged = iter(witness.log)
        for i, call in enumerate(self._calls):
            if i not in self._trace.host:
                call()
                continue
            before, after, results = next(logged)
            if not all(map(same_bits, witness.outside, before)):
                return False
            _write(witness.outside, after)
            if self._trace.host[i]:
                _write(self._trace.host[i], results)
        mine, theirs = (_arrays(r) for r in (self._result, result))
        return len(mine) == len(theirs) and all(map(same_bits, mine, theirs))


def _write(arrays: list[np.ndarray], values: list[np.ndarray]) -> None:
    for a, b in zip(arrays, values, strict=True):
        np.copyto(a, b)


def _arrays(result: Any) -> list[np.ndarray]:
    return [np.asarray(array_of(a)) for _, a in leaves_of(result) if not isinstance(a, Constant)]


def plain(leaf: Any) -> Any:
    """A result with NumPy's own array."""
    array = array_of(leaf)
    if not isinstance(array, np.ndarray):
        return leaf
    array = array.view(np.ndarray)
    return Tensor(array) if isinstance(leaf, Tensor) else array


def shown(result: Any, copied: Callable[[Any], Any]) -> Any:
    """The results are the caller's to keep: the next replay writes over its own. Each is copied once."""
    if isinstance(result, Tensor):
        return Tensor(copied(result._data))
    copies: dict[int, Any] = {}

    def copy(leaf: Any) -> Any:
        array = array_of(leaf)
        if not hasattr(array, "shape"):
            return leaf
        made = copies.get(id(array))
        if made is None:
            made = copies[id(array)] = copied(array)
        return Tensor(made) if isinstance(leaf, Tensor) else made

    return mapped(copy, result)
