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
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.context import Setting
from xpnet.core.node import Node

ROOM = 4096  # bytes of numbers a step: some 500 of them


class CaptureError(RuntimeError):
    """A step that cannot be captured, and why."""


class Phase(Enum):
    """What happens to a step."""

    WATCHED = "it runs as it is, and says who takes part"
    CAPTURED = "its work goes into a graph, nothing is computed or counted"
    REPLAYED = "the host counts and writes numbers; the graph does the work"


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
    """

    def __init__(self) -> None:
        self.phase = Phase.WATCHED
        self.before: list[Callable[[], None]] = []
        self.checks: list[Callable[[], bool]] = []
        self.leaves: dict[int, Node] = {}
        self.updates: list[Callable[[Any, int], object]] = []
        self.host = np.zeros(ROOM, np.uint8)
        self.device: Array = None
        self._slots: dict[Hashable, tuple[np.ndarray, Array]] = {}
        self._used = 0
        self._watched: set[int] = set()

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

    def watch(self, module: Any) -> None:
        """The step holds as long as a module and those in it have the layers, arrays and settings of now."""
        if self.phase is Phase.CAPTURED and id(module) not in self._watched:
            for part in module.modules():
                self._watched.add(id(part))
                self.checks.append(_unchanged(part))

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
            found.append((name, value, value._data if isinstance(value, Node) else None))
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


active = [0]
"""How many recordings are under way in all threads; mostly none, which this says sooner than `current`."""

_current: Setting[Recording | None] = Setting("xpnet_recording", None)

current: Callable[[], Recording | None] = _current.get
"""The recording of the step that runs now, if it is to be captured."""


def capturing() -> Recording | None:
    """The recording of the step whose work goes into a graph now; None if there is none."""
    recording = _current.get()
    return recording if recording is not None and recording.phase is Phase.CAPTURED else None


def refuse(reason: str) -> None:
    """The step that runs now cannot be captured.

    Raises:
        CaptureError: with the reason, if that is what happens to it.
    """
    if capturing() is not None:
        raise CaptureError(reason)


def depends_on(thing: Any, *attributes: str) -> None:
    """The step that runs now holds as long as attributes stay as they are: a layer's `training`, say."""
    recording = capturing()
    if recording is not None:
        values = [getattr(thing, name) for name in attributes]
        recording.checks.append(lambda: [getattr(thing, name) for name in attributes] == values)
