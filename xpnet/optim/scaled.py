"""A loss scale that lives on a device: what an update asks of it there, and what the host hears of it later.

Whether a gradient is not finite is found on the device, after the host has asked for the step and perhaps for
the next ones. So the step looks itself, and stays away; and the host, whose count of steps Adam's correction
depends on, takes back afterwards what was none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.context import Setting
from xpnet.core.places import device, namespace
from xpnet.core.recording import capturing
from xpnet.core.registry import fusable
from xpnet.optim.moments import MomentSpan

# below it the scale falls no further: at 0 there would be no way back, and no gradient to divide
SMALLEST = 2.0**-24
ROWS = 4
"""Numbers of a captured step are written for so many counts of steps, as so many updates may be under way."""
SCALE, INVERSE, GOOD, FOUND, SKIPPED = range(5)


class Constants(NamedTuple):
    """How a scale changes: see `xpnet.train.LossScaler`."""

    growth: float
    backoff: float
    growth_interval: float
    largest: float


@fusable
def look(grads: Array, state: Array) -> None:
    """state[FOUND] = 1 unless all gradients are finite."""
    xp = namespace(grads)
    some = xp.any(~xp.isfinite(grads))
    state[FOUND] = xp.maximum(state[FOUND], xp.astype(some, state.dtype))


@fusable
def adapt(state: Array, word: Array, seen: Array, constants: Constants) -> None:
    """After an update: halve the scale if a gradient was not finite, perhaps double it if all were.

    Args:
        state: (5,) float32.
        word: (1,) int64, 2^32 for each update and 1 for each that was left out.
        seen: (2,) float64, then the scale and the good updates.
        constants: how it changes.
    """
    xp, (growth, backoff, interval, largest) = namespace(state), constants
    found, scale = state[FOUND] != 0, state[SCALE]
    good = xp.where(found, state[GOOD] * 0, state[GOOD] + 1)
    grows = good >= interval
    larger = xp.where(grows, xp.clip(scale * growth, max=largest), scale)
    scale = xp.where(found, xp.clip(scale * backoff, min=SMALLEST), larger)
    good = xp.where(grows, good * 0, good)
    state[SCALE], state[INVERSE], state[GOOD] = scale, 1 / scale, good
    state[SKIPPED] += xp.astype(found, state.dtype)
    state[FOUND] = state[FOUND] * 0
    seen[0], seen[1] = scale, good
    word += xp.astype(found, word.dtype) + (1 << 32)


class Scaling(NamedTuple):
    """What a kernel of a rule is told of the scale, for one step.

    Attributes:
        state: as `adapt` has it.
        undo: whether the gradients are to be divided by it.
        known: () float32 in a captured step, how many updates the host knew to be left out; else None.
        taken: appended to by the kernel that does so.
    """

    state: Array
    undo: bool
    known: Array | None
    taken: list[bool]


scaling: Setting[Scaling | None] = Setting("xpnet_scaling", None)
"""For the kernel of a rule: the scale of the loss whose gradients it is given."""


class DeviceScale:
    """The scale, and what became of the updates.

    Args:
        like: an array on the device.
        constants: how the scale changes.
        scale: where it is now.
        good: updates since it changed.

    Attributes:
        state: (5,) float32 on the device.
        skipped: updates that were left out, as far as the host knows.
        divided: whether the gradients of this update have been divided already.
    """

    def __init__(self, like: Array, constants: Constants, scale: float, good: int) -> None:
        xp = namespace(like)
        self.constants, self.skipped, self.divided = constants, 0, False
        self.state = xp.asarray(np.array([scale, 1 / scale, good, 0, 0], np.float32), device=device(like))
        host, mapped = xp.page_locked(3)
        self._host, self._seen = host, host[1:].view(np.float64)
        self._places = mapped[:1], mapped[1:].view(np.float64)
        self._seen[:] = scale, good
        self._sent = 0
        self._event = xp.Event()
        self._ring = [xp.Event() for _ in range(ROWS)]
        self._spans: Sequence[Any] = ()  # of the updates that the host has not heard of
        self._known: Array | None = None  # in the step that is captured now
        self._after_replay = False
        self._first: dict[Any, Array] = {}  # the scale as a loss was promised it, by dtype

    def scale(self, dtype: Any) -> Array:
        """The scale, a 0-d array: what `backward` will begin with."""
        if dtype not in self._first:
            self._first[dtype] = namespace(self.state).astype(self.state[SCALE], dtype, copy=False)
        return self._first[dtype]

    def begin(self) -> None:
        """Before the forward pass of a batch."""
        self._first = {}

    def look(self, gradients: Sequence[Array]) -> None:
        """Whether all are finite, for the steps that follow."""
        recording, self.divided = capturing(), False
        # a replay goes on with the counts of steps that the host knows to have been made
        self._known = None if recording is None else recording.anew(self._poll, 1, np.float32)[0]
        for gradient in gradients:
            look(gradient, self.state)

    def inverse(self, dtype: Any) -> Array:
        """1 / scale, a 0-d array."""
        return namespace(self.state).astype(self.state[INVERSE], dtype, copy=False)

    def update(
        self,
        update: Callable[[MomentSpan, Any], object],
        span: MomentSpan,
        factor: float,
        undo: bool,
        one_kernel: bool,
    ) -> None:
        """A step on a span, if the gradients are finite.

        Args:
            update: makes it, of `factor` times the gradients.
            span: of the parameters.
            factor: as there.
            undo: whether the gradients are to be divided by the scale.
            one_kernel: whether a kernel may do it all, which then looks by itself; others' work is undone.
        """
        before = None if span.looks else span.copies()
        if one_kernel and span.looks is not False:
            taken: list[bool] = []
            with scaling.within(Scaling(self.state, undo, self._known, taken)):
                update(span, factor)
            span.looks = bool(taken)
            if taken:
                return
            span.restore(before or [])
            span.made -= 1
        span.looks = False
        if undo and span.master is None:
            span.grads *= self.inverse(span.grads.dtype)
        update(span, factor * self.inverse(np.float32) if undo and span.master is not None else factor)
        span.keep_if(self.finite(), before or [])

    def finite(self) -> Array:
        """Whether the gradients of this update are finite, a 0-d array."""
        return self.state[FOUND] == 0

    def end(self, spans: Sequence[Any]) -> None:
        """After the steps of an update on these spans: adapt."""
        self._first = {}
        adapt(self.state, *self._places, self.constants)
        recording = capturing()
        if recording is not None:
            recording.before.append(lambda: self._send(spans, True))
        else:
            self._send(spans, False)
            self._event.record()

    def _send(self, spans: Sequence[Any], replayed: bool) -> None:
        self._sent, self._spans, self._after_replay = self._sent + 1, spans, replayed

    def settle(self) -> None:
        """Hear what became of all updates; waits only for those that the device has not made yet."""
        if self._unheard():
            if self._after_replay:
                self._event.record()
            self._event.wait()
        self._hear()

    def _unheard(self) -> int:
        return self._sent - (int(self._host[0]) >> 32)

    def _hear(self) -> None:
        news = (int(self._host[0]) & 0xFFFFFFFF) - self.skipped
        if news:
            self.skipped += news
            for span in self._spans:
                span.made -= news

    def _poll(self) -> tuple[float]:
        """Before a replay: hear what there is, and see that at most ROWS - 1 updates are under way."""
        if not self._after_replay:
            self.settle()
        self._ring[self._sent % ROWS].record()
        if self._unheard() >= ROWS:
            self._ring[(self._sent + 1) % ROWS].wait()
        self._hear()
        return (float(self.skipped),)

    def now(self) -> tuple[float, int, int]:
        """The scale, good updates since it changed, and how many were left out; see `settle`."""
        self.settle()
        return float(self._seen[0]), int(self._seen[1]), self.skipped
