"""What a captured step needs of the host each time it is replayed: counters, and numbers that change.

A CUDA graph repeats its kernels with the arguments that they had when it was captured. What changes from
step to step, a learning rate or the key of a dropout mask, is therefore read from the device: whoever
launches such a kernel asks `current()`, and if there is a recording takes `numbers(...)` of it instead of an
argument. And whoever counts on the host says what is to be done `before` each replay, and what must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import wraps
from operator import is_
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.context import Setting, active

P = ParamSpec("P")
R = TypeVar("R")

ROOM = 4096  # bytes of numbers a step: some 500 of them


class CaptureError(RuntimeError):
    """A step that cannot be captured, and why."""


class Phase(Enum):
    """What happens to a step."""

    WATCHED = "it runs as it is, and says who takes part"
    CAPTURED = "its work goes into a graph, nothing is computed or counted"
    TRACED = "it runs as it is, and what it does to NumPy's arrays is written down"
    REPLAYED = "the host counts and writes numbers; the graph does the work"


_KEPT = Phase.CAPTURED, Phase.TRACED


class Leaf(Protocol):
    """What `backward` gives a gradient to."""

    requires_grad: bool
    _data: Array
    _grad: Array | None
    _filled: int  # whether there is one


class HostWork(Protocol):
    """What is done with a function that works on the host, in a step on NumPy."""

    def call(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call one that has a state."""

    def look(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call one that has none."""


class Ranks(Protocol):
    """Processes that make a step together (`xpnet.parallel.Communicator`)."""

    size: int
    capturable: bool  # whether what it does with arrays of a device is queued there

    def largest(self, value: float) -> float:
        """The largest of the numbers that the ranks give."""


class Recording:
    """A step on its way into a graph, and what its replays ask of the host.

    Attributes:
        phase: what happens to it now.
        before: called before each replay, in order: they count, and write numbers.
        checks: called before them, must all be true: else the step has changed and is captured again.
        leaves: what `backward` has given gradients to.
        updates: of the launches that update parameters, in order: `write(h, step)` gives one the numbers of a
            step, from its hyperparameters.
        host: the bytes that are copied to the device before a replay.
        device: where they are there.
        states: what a step on NumPy is chosen by, and the value that it had.
        ranks: who makes the step together, and captures it at the same call.
        host_work: on NumPy, what calls the functions that work on the host, and keeps them for replays.
        on_refusal: called with the reason why the step that is watched will not be captured.
    """

    def __init__(self) -> None:
        self.phase = Phase.WATCHED
        self.before: list[Callable[[], None]] = []
        self.checks: list[Callable[[], bool]] = []
        self.leaves: dict[int, Leaf] = {}
        self.updates: list[Callable[[Any, int], object]] = []
        self.host = np.zeros(ROOM, np.uint8)
        self.device: Array = None
        self.ranks: Ranks | None = None
        self.host_work: HostWork | None = None
        self.on_refusal: Callable[[str], None] | None = None
        self.states: list[tuple[Callable[[], object], object]] = []
        self._slots: dict[Hashable, tuple[np.ndarray, Array]] = {}
        self._used = 0
        self._watched: dict[int, tuple[Any, Callable[[], bool]]] = {}
        self._held: tuple[list[Any], ...] = [], [], [], []

    @property
    def size(self) -> int:
        """Bytes of numbers."""
        return self._used

    def numbers(self, key: Hashable, values: Sequence[float], dtype: Any) -> Array:
        """Numbers of a step, where kernels read them: they are those of each replay.

        Args:
            key: whose they are.
            values: as they are now.
            dtype: of the array.

        Returns:
            (len(values),) on the device.

        Raises:
            CaptureError: there are too many of them.
        """
        slot = self._slots.get(key)
        if slot is None:
            if self.phase is not Phase.CAPTURED:
                raise CaptureError(f"a replay asks for numbers that were not captured: {key}")
            start, stop = self._used, self._used + len(values) * np.dtype(dtype).itemsize
            if stop > ROOM:
                raise CaptureError(f"the step has more than {ROOM} bytes of numbers that change")
            self._used = -(-stop // 16) * 16
            slot = self._slots[key] = self.host[start:stop].view(dtype), self.device[start:stop].view(dtype)
        slot[0][:] = values
        return slot[1]

    def anew(self, make: Callable[[], Sequence[float]], n: int, dtype: Any) -> Array:
        """n numbers that `make()` gives for each replay, where kernels read them: (n,) on the device."""
        key = object()

        def write() -> None:
            self.numbers(key, make(), dtype)

        self.before.append(write)
        return self.numbers(key, (0,) * n, dtype)

    def begins(self) -> None:
        """Before a `backward` on NumPy: its leaves have a gradient, or none, in replays as now."""
        _check_filled([(leaf, bool(leaf._filled)) for leaf in self.leaves.values()])

    def ends(self) -> None:
        """After it: which leaves have a gradient, for replays."""
        _set_filled([(leaf, leaf._filled) for leaf in self.leaves.values()])

    def chosen_by(self, state: Callable[[], object]) -> None:
        """The step is this one where `state()` is what it is now."""
        if self.phase is Phase.TRACED:
            self.states.append((state, state()))

    def watch(self, module: Any) -> None:
        """The step holds as long as a module and those in it have the layers, arrays and settings of now."""
        if self.phase in _KEPT and id(module) not in self._watched:
            if not self._watched:
                self.checks.append(self._layers_hold)
            for part in module.modules():
                self._watched[id(part)] = part, _unchanged(part)

    def _layers_hold(self) -> bool:
        """Whether each module has what it had; mostly all of it is the same, which is seen soon."""
        values = [v for part, _ in self._watched.values() for v in vars(part).values()]
        held, lists, tensors, parts = self._held
        if len(values) == len(held) and all(map(is_, values, held)):
            now = [a for v in lists for a in v]
            now += [v._data for v in tensors]
            if len(now) == len(parts) and all(map(is_, now, parts)):
                return True
        if all(holds() for _, holds in self._watched.values()):
            lists = [v for v in values if type(v) is list]
            inner = [a for v in lists for a in v]
            tensors = [v for v in (*values, *inner) if hasattr(v, "_data")]
            self._held = values, lists, tensors, [*inner, *(v._data for v in tensors)]
            return True
        return False

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """The step is in this phase for the length of a `with` block."""
        self.phase = phase
        active[0] += 1
        try:
            with _current.within(self):
                yield
        finally:
            active[0] -= 1


_PLAIN = (int, float, str, bool, tuple, type(None))


def _settings(module: Any) -> list[tuple[str, Any, Any]]:
    """What a module has: name, the thing, and of a parameter its array; the contents of lists."""
    found = []
    for name, value in vars(module).items():
        if name == "_forward_hooks" or isinstance(value, list):
            found.append((name, tuple(value), None))
        elif not name.startswith("_"):
            found.append((name, value, getattr(value, "_data", None)))
    return found


def _unchanged(module: Any) -> Callable[[], bool]:
    then = _settings(module)

    def check() -> bool:
        now = _settings(module)
        return len(now) == len(then) and all(
            a[0] == b[0]
            and a[2] is b[2]
            and (a[1] is b[1] or (isinstance(a[1], _PLAIN) and type(a[1]) is type(b[1]) and a[1] == b[1]))
            for a, b in zip(then, now, strict=True)
        )

    return check


_current: Setting[Recording | None] = Setting("xpnet_recording", None)

current: Callable[[], Recording | None] = _current.get
"""The recording of the step that runs now, if it is to be captured."""


def capturing() -> Recording | None:
    """The recording of the step whose work goes into a graph now; None if there is none."""
    recording = _current.get()
    return recording if recording is not None and recording.phase is Phase.CAPTURED else None


def refuse(reason: str, lasting: bool = True) -> None:
    """The step that runs now cannot be captured; if that will be so in every step, it is said in the first.

    Raises:
        CaptureError: with the reason, if it is being captured.
    """
    recording = _current.get()
    if recording is None:
        return
    if recording.phase is Phase.CAPTURED:
        raise CaptureError(reason)
    if lasting and recording.on_refusal is not None:
        recording.on_refusal(reason)


def meets(ranks: Ranks) -> None:
    """The step that runs now sums or sends arrays of a device over ranks, on the device.

    Raises:
        CaptureError: it is captured, and not said to be a step of these ranks: each would be captured at a
            time of its own, and wait for the others.
    """
    recording = capturing()
    if recording is not None and recording.ranks is not ranks:
        raise CaptureError("it meets other ranks: say so, capture(step, communicator=...)")


def works_on_host() -> bool:
    """Whether the step that runs now is one on NumPy that is written down, or compared with what was."""
    recording = _current.get()
    return recording is not None and recording.host_work is not None


def depends_on(thing: Any, *attributes: str) -> None:
    """The step that runs now holds as long as attributes stay as they are: a layer's `training`, say."""
    recording = capturing()
    if recording is not None:
        values = [getattr(thing, name) for name in attributes]
        recording.checks.append(lambda: [getattr(thing, name) for name in attributes] == values)


def on_host(function: Callable[P, R]) -> Callable[P, R]:
    """For a function that counts, draws or has a state: each replay of a step on NumPy calls it anew."""
    return _called_by("call", function)


def by_values(function: Callable[P, R]) -> Callable[P, R]:
    """For a function that looks at values to choose its way, and leaves nothing but results: likewise."""
    return _called_by("look", function)


def told_by(kind: Callable[..., Hashable]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For one `by_values` whose results are other ones, not only others in value, by its first argument.

    Args:
        kind: of that and the further arguments, of which the array is only looked at for its shape and dtype:
            results of one kind go the same way, and a step on NumPy is captured for each kind.
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        function.kind = kind  # type: ignore[attr-defined]
        return function

    return mark


def _called_by(way: str, function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not active[0]:
            return function(*args, **kwargs)
        recording = _current.get()
        if recording is None or recording.host_work is None:
            return function(*args, **kwargs)
        with _current.within(None):
            return getattr(recording.host_work, way)(function, args, kwargs)

    return call


@on_host
def _check_filled(flags: list[tuple[Leaf, bool]]) -> None:
    for leaf, filled in flags:
        if bool(leaf._filled) is not filled:
            raise CaptureError(
                "a replay finds a parameter with a gradient where the captured step found none, or without; "
                "call it without capture"
            )


@on_host
def _set_filled(flags: list[tuple[Leaf, int]]) -> None:
    for leaf, filled in flags:
        leaf._filled = filled
