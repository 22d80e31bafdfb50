"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet.core.checks import size
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.schedules import Schedule


class _Composed(Schedule):
    """The schedules it is made of write the rates, each by its own rule; here is when."""

    schedulers: tuple[Schedule, ...]
    places = ("rates", "schedulers")

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer, last_epoch, base=optimizer.initial_rates)

    def rebase(self, bases: Sequence[float]) -> None:
        """In each of them."""
        self.base = list(bases)
        for schedule in self.schedulers:
            schedule.rebase(bases)

    def state_dict(self) -> dict[str, Any]:
        """With the states of the schedules."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def checked(self, state: dict[str, Any]) -> dict[str, Any]:
        """With those of the schedules, which an old state of a sequence lacks."""
        name, parts = type(self).__name__, state.get("schedulers", state.get("_schedulers"))
        if parts is not None and len(parts) != len(self.schedulers):
            raise ValueError(f"{name}: a state of {len(parts)} schedules for {len(self.schedulers)} of them")
        for schedule, part in zip(self.schedulers, parts or (), strict=False):
            schedule.checked(part)
        return {**super().checked(self.from_torch(state)), "schedulers": parts}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore each schedule, too; without their states, be where so many steps lead."""
        parts = self.checked(state)["schedulers"]
        super().restore(state)
        if parts is not None:
            for schedule, part in zip(self.schedulers, parts, strict=True):
                schedule.restore(part)
            return
        t = self.t
        self.rebase(self.base)
        self.take_over()
        for _ in range(t):
            self._advance()

    def _settle(self, rates: Sequence[float] | None) -> None:
        self._write(self.last_lr() if rates is None else rates)


class ChainedScheduler(_Composed):
    """Schedules of one optimizer that step together, in their order: their factors multiply.

    Args:
        schedulers: schedules of the same optimizer.
        optimizer: theirs, if it is to be checked.

    Raises:
        TypeError: something is not a schedule.
        ValueError: no schedules, or another optimizer's.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> up = xpnet.optim.ConstantLR(optimizer, 0.5, total_iters=2)
    >>> schedule = xpnet.optim.ChainedScheduler([up, xpnet.optim.ExponentialLR(optimizer, 0.5)])
    >>> for _ in range(3):
    ...     print(schedule.last_lr()[0])
    ...     schedule.step()
    0.5
    0.25
    0.25
    """

    def __init__(self, schedulers: Sequence[Schedule], optimizer: Optimizer | None = None) -> None:
        self.schedulers = tuple(schedulers)
        if not self.schedulers:
            raise ValueError("ChainedScheduler: expected at least one schedule")
        first = self.schedulers[0] if optimizer is None else None
        of_one("ChainedScheduler", self.schedulers, getattr(first, "optimizer", optimizer))
        super().__init__(self.schedulers[0].optimizer)

    def _made(self) -> None:
        """The schedules have begun already."""
        self._admit()
        self._write(self.last_lr())

    def begin(self) -> None:
        """All of them begin, in their order."""
        self._admit()
        self.t = 0
        for schedule in self.schedulers:
            schedule.begin()
        self._write(self.last_lr())

    def move_more(self, t: int) -> None:
        """What any of them moves."""
        for schedule in self.schedulers:
            schedule.move_more(t)

    def _advance(self) -> None:
        self._admit()
        for schedule in self.schedulers:
            schedule.step()
        self.t += 1
        self._write(self.last_lr())

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The place is the schedules'."""
        parts = state.get("_schedulers")
        return state if parts is None else {**self.state_dict(), "t": parts[0]["last_epoch"]}

    def settings(self) -> dict[str, Any]:
        """Those of the schedules."""
        made = [schedule.settings() for schedule in self.schedulers]
        return {"rule": type(self).__name__, "base": list(self.first), "schedules": made}


def of_one(name: str, schedulers: Sequence[Schedule], optimizer: Any) -> None:
    """Refuse what is no schedule of this optimizer."""
    for schedule in schedulers:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{name}: expected schedules, got {type(schedule).__name__}")
        if schedule.optimizer is not optimizer:
            raise ValueError(f"{name}: the schedules must be of this optimizer")


class SequentialLR(_Composed):
    """Schedules one after the other, each from its own time 0.

    Args:
        optimizer: whose rates to set.
        schedulers: schedules of the same optimizer, whose initial rates are those before the first of them.
        milestones: the steps at which the second and the following take over.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: something is not a schedule, or a milestone not a whole number.
        ValueError: not one milestone less than schedules, or they do not rise, or another optimizer's.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> up = xpnet.optim.LinearLR(optimizer, 0.5, total_iters=2)
    >>> down = xpnet.optim.ExponentialLR(optimizer, 0.1)
    >>> schedule = xpnet.optim.SequentialLR(optimizer, [up, down], milestones=[2])
    >>> for _ in range(4):
    ...     print(schedule.last_lr()[0])
    ...     schedule.step()
    0.5
    0.75
    1.0
    0.1
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[Schedule],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.schedulers = tuple(schedulers)
        of_one("SequentialLR", self.schedulers, optimizer)
        self.milestones = [size("SequentialLR", "a milestone", m) for m in milestones]
        count, rising = len(self.schedulers), sorted(set(self.milestones)) == self.milestones
        if len(self.milestones) != count - 1 or not rising:
            raise ValueError(
                f"SequentialLR: {count} schedules need {count - 1} milestones that rise, got "
                f"{list(milestones)}"
            )
        super().__init__(optimizer, last_epoch)
        for schedule in self.schedulers:
            if schedule.by_hand == "bounded":  # PyTorch's have the initial rates for base
                schedule.rebase(self.base)

    def _made(self) -> None:
        self.take_over()

    def _place(self, t: int) -> tuple[Schedule, int]:
        """The schedule that is running at t, and since when."""
        running = sum(m <= t for m in self.milestones)
        return self.schedulers[running], self.milestones[running - 1] if running else 0

    def begin(self) -> None:
        """The first of them begins."""
        self._admit()
        self.t = 0
        self.schedulers[0].begin()
        self._write(self.last_lr())

    def restart(self) -> None:
        """Begin again, as `Schedule.restart` does; what they move beside the rates is as at first."""
        for schedule in self.schedulers:
            schedule.move_more(0)
        super().restart()

    def rate_of(self, i: int, base: float, t: int) -> float:
        """That of the schedule that is running at t."""
        running, since = self._place(t)
        return running.rate_of(i, running.base[i] if running.own else base, t - since)

    def move_more(self, t: int) -> None:
        """What that one moves."""
        running, since = self._place(t)
        running.move_more(t - since)

    def _advance(self) -> None:
        self._admit()
        self.t += 1
        running, since = self._place(self.t)
        running.take_over() if since == self.t else running.step()
        self._write(self.last_lr())

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The place; the schedules have their own states."""
        if "_milestones" not in state:
            return super().from_torch(state) if "last_epoch" in state else state
        return {**self.state_dict(), "t": state["last_epoch"], "milestones": list(state["_milestones"])}

    def settings(self) -> dict[str, Any]:
        """With those of the schedules."""
        return {**super().settings(), "schedules": [schedule.settings() for schedule in self.schedulers]}
