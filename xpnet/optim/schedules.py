"""Learning-rate schedules: a schedule is a factor of the step; `step()` writes base rate * factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet.core.checks import number, size
from xpnet.core.recording import CaptureError, capturing, current, on_host
from xpnet.optim.optimizer import Optimizer


def each_group(name: str, what: str, optimizer: Optimizer, value: Any) -> list[float]:
    """A number of each group, from as many or from one for all."""
    groups = len(getattr(optimizer, "param_groups", [{}]))
    values = list(value) if isinstance(value, list | tuple) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name}: {len(values)} values of {what} for {groups} groups")
    return [number(name, what, v, 0) for v in values]


class Schedule:
    """Base class: a subclass gives `factor(t)`, t = 0, 1, ... counting calls of `step`.

    Args:
        optimizer: whose rates to set.
        last_epoch: -1, the start; `load_state_dict` goes on from later.
        base: the rates that the factors are of; default: those of the optimizer.

    Raises:
        ValueError: the learning rate of the optimizer is a function of the steps already, or another
            `last_epoch`.

    Call `step()` once an epoch, or once an update if the lengths are in updates.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> class Linear(xpnet.optim.Schedule):
    ...     def factor(self, t):
    ...         return max(0.0, 1 - t / 4)
    >>> schedule = Linear(optimizer)
    >>> schedule.step()
    >>> schedule.last_lr()
    [0.75]
    """

    # What becomes of a rate that was set by hand or by another schedule: it goes on by the "ratio" of the
    # factors, as PyTorch's recursive schedules do; by that, but never above both itself and the rate it would
    # be otherwise ("bounded"), since a small factor says little of what is to come; or the "formula"
    # overwrites it, as in PyTorch's other schedules.
    by_hand = "bounded"
    places: tuple[str, ...] = ("rates",)  # what a state may lack: the formulas give it

    def __init__(
        self, optimizer: Optimizer, last_epoch: int = -1, base: Sequence[float] | None = None
    ) -> None:
        name = type(self).__name__
        if last_epoch != -1:
            raise ValueError(
                f"{name}: last_epoch={last_epoch!r} is not there: make the schedule from the start, and "
                "load_state_dict(state) goes on from where it was saved"
            )
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: expected an optimizer, got {type(optimizer).__name__}")
        for constant in ("gamma", "k", "eta_min"):
            if hasattr(self, constant):
                number(name, constant, getattr(self, constant))
        if optimizer.has_functions:
            raise ValueError(
                f"{name}: the learning rate is a function already; make the optimizer with a "
                "number, which the schedule then multiplies"
            )
        self.optimizer = optimizer
        self.own = None if base is None else tuple(base)
        present = [group["lr"] for group in optimizer.param_groups] if base is None else list(base)
        initial = optimizer.initial_rates
        initial += present[len(initial) :]  # PyTorch's `initial_lr`, which its schedules share
        self.base = list(present if self.own or self.by_hand == "bounded" else initial)
        self.first = tuple(present)  # the rates it was made with, whatever is set by hand later
        self._starts = self.first  # those that a second run begins with
        self.t: Any = 0
        self._made()

    def factor(self, t: int) -> float:
        """What the initial learning rate is multiplied by at time t."""
        raise NotImplementedError

    def rate(self, base: float, t: int) -> float:
        """The learning rate of a group that started at `base`."""
        return base * self.factor(t)

    def rate_of(self, i: int, base: float, t: int) -> float:
        """That of group number i, where groups differ in more than their base."""
        return self.rate(base, t)

    def onward(self, i: int, lr: float, t: int) -> float:
        """The rate of group i at time t from the one at t - 1, which is not the formula's: see `by_hand`."""
        base = self.base[i]
        own, before = self.rate_of(i, base, t), self.rate_of(i, base, t - 1)
        least = self.rate_of(i, 0.0, t - 1)  # a rate is this + slope * base
        slope = self.rate_of(i, 1.0, t - 1) - least
        if not slope:  # at a low point all rates are one: the change is the formula's
            return lr + own - before
        lowest = self.rate_of(i, 0.0, t)
        found = lowest + (lr - least) * (self.rate_of(i, 1.0, t) - lowest) / slope
        return min(found, max(lr, own)) if self.by_hand == "bounded" else found

    def move_more(self, t: int) -> None:
        """Write what else the schedule moves, such as momenta, as it is at time t."""

    def _write(self, rates: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self.rates = list(rates)  # what is not this afterwards has been set by hand
        self.move_more(self.t)

    def _made(self) -> None:
        """Begin, when all else is there."""
        self.take_over() if self.own else self.begin()

    def begin(self) -> None:
        """Be at time 0, from the rates that are there."""
        self._admit()
        self.t = 0
        bases = self.base if self.by_hand == "formula" else self.last_lr()
        self._write([self.rate_of(i, base, 0) for i, base in enumerate(bases)])

    def take_over(self) -> None:
        """Be at time 0, from its base rates."""
        self._admit()
        for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = base
        self.begin()

    def rebase(self, bases: Sequence[float]) -> None:
        """Have these for base rates, unless it has its own."""
        if not self.own:
            self.base = list(bases)

    @on_host
    def step(self) -> None:
        """Move on by one and set the learning rates.

        A rate that was set since the last step, by hand or by another schedule, is treated as in PyTorch:
        most schedules go on from it by their ratio, so that schedules of one optimizer that step in turn
        multiply; `LambdaLR`, `CyclicLR`, `OneCycleLR` and `CosineAnnealingWarmRestarts` overwrite it. A
        group that was added since begins with its rate.
        """
        recording = capturing()
        if recording is not None:
            recording.before.append(self.step)  # of each replay
            return
        self._advance()

    def _advance(self) -> None:
        self._admit()
        t, rates = self.t + 1, []
        for i, (lr, base) in enumerate(zip(self.last_lr(), self.base, strict=True)):
            on_path = self.by_hand == "formula" or lr == self.rate_of(i, base, self.t)
            rates.append(self.rate_of(i, base, t) if on_path else self.onward(i, lr, t))
        self.t = t
        self._write(rates)

    def _admit(self) -> None:
        """Take the rates of groups that were added since for their base."""
        added = self.last_lr()[len(self.base) :]
        self.base += added
        self._starts += tuple(added)

    def restart(self) -> None:
        """Begin again, at the rates it began with; one that was set by hand begins where it is now."""
        self._admit()
        bases, starts = list(self.base), list(self._starts)
        for i, (lr, written) in enumerate(zip(self.last_lr(), self.rates, strict=False)):
            if lr != written:
                bases[i] = starts[i] = lr
        if bases != self.base:
            self.base, self._starts = bases, tuple(starts)
            self.rebase(bases)
        for group, lr in zip(self.optimizer.param_groups, self._starts, strict=True):
            group["lr"] = lr
        self.begin()

    @property
    def last_epoch(self) -> int:
        """The steps made: PyTorch's name."""
        return math.floor(self.t)

    @property
    def base_lrs(self) -> list[float]:
        """The rates that the formula is of: PyTorch's name."""
        return self.base

    def get_last_lr(self) -> list[float]:
        """PyTorch's name of `last_lr`."""
        return self.last_lr()

    def last_lr(self) -> list[float]:
        """The learning rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def settings(self) -> dict[str, Any]:
        """The rule and its constants, as JSON can hold them: two schedules of equal settings are the same."""
        place = ("t", *self.places)
        constants = {k: v for k, v in self.state_dict().items() if k not in place}
        return {"rule": type(self).__name__, **constants, "base": list(self.first)}

    def state_dict(self) -> dict[str, Any]:
        """The numbers needed to resume."""
        own = {k: v for k, v in vars(self).items() if isinstance(v, int | float | list | bool)}
        return {**own, "rates": self.last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of the same schedule in PyTorch, gave; set the learning rates.

        Raises:
            ValueError: a state of another kind of schedule, or of other groups. Nothing has changed then.
        """
        self.restore(state)
        self._settle(state.get("_last_lr", state.get("rates")))

    def restore(self, state: dict[str, Any]) -> None:
        """Restore it without setting the learning rates."""
        found = {k: v for k, v in self.checked(state).items() if k not in self.places}
        vars(self).update({**found, "base": list(found["base"])})
        self._starts = tuple(self.base)

    def checked(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state by our names. Raises as `load_state_dict` does."""
        name, own = type(self).__name__, self.state_dict()
        if "last_epoch" in state:
            state = self.from_torch(state)
        other = sorted((state.keys() ^ own.keys()) - set(self.places))
        if other:
            word = "has" if other[0] in state else "lacks"
            raise ValueError(f"{name}: the state {word} {other[0]!r}; that of a {name} is {', '.join(own)}")
        groups = len(self.optimizer.param_groups)
        if len(state["base"]) != groups:
            raise ValueError(f"{name}: a state of {len(state['base'])} groups for an optimizer of {groups}")
        return state

    def _settle(self, rates: Sequence[float] | None) -> None:
        """Set these rates, or the formula's."""
        found = [self.rate_of(i, base, self.t) for i, base in enumerate(self.base)]
        for i, lr in enumerate(rates or ()):  # perhaps set by hand there
            if not math.isclose(lr, found[i], rel_tol=1e-9, abs_tol=1e-15):
                found[i] = lr
        self._write(found)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state of PyTorch's schedule of this kind by our names."""
        names = {"last_epoch": "t", "base_lrs": "base"}
        return {names.get(k, k): v for k, v in state.items() if k[0] != "_" and k != "verbose"}


class StepLR(Schedule):
    """Multiply by `gamma` every `step_size` steps: "halve every few epochs" is gamma 0.5.

    Args:
        optimizer: whose rates to set.
        step_size: steps between two reductions.
        gamma: the factor.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        ValueError: step_size is below 1, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.StepLR(optimizer, step_size=1, gamma=0.5)
    >>> schedule.step()
    >>> schedule.last_lr()
    [0.5]
    """

    by_hand = "ratio"

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = size("StepLR", "step_size", step_size), gamma
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """gamma^(t // step_size)."""
        return self.gamma ** (t // self.step_size)

    def onward(self, i: int, lr: float, t: int) -> float:
        """Without a division: the factors of many steps underflow."""
        return lr * self.gamma ** (t % self.step_size == 0)


class ExponentialLR(Schedule):
    """Multiply by `gamma` each step: the decks' a0 exp(-k t) is gamma = exp(-k), "0.95 per epoch" is 0.95.

    Args:
        optimizer: whose rates to set.
        gamma: the factor.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        ValueError: the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.ExponentialLR(optimizer, gamma=0.5)
    >>> for _ in range(3):
    ...     schedule.step()
    >>> schedule.last_lr()
    [0.125]
    """

    by_hand = "ratio"

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """gamma^t."""
        return self.gamma**t

    def onward(self, i: int, lr: float, t: int) -> float:
        """Without a division: the factors of many steps underflow."""
        return lr * self.gamma


class InverseTimeLR(Schedule):
    """a0 / (1 + k t), the 1/t decay.

    Args:
        optimizer: whose rates to set.
        k: how fast the rate falls.

    Raises:
        ValueError: the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.InverseTimeLR(optimizer, k=0.5)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> schedule.last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, k: float) -> None:
        self.k = k
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """1 / (1 + k t)."""
        return 1 / (1 + self.k * t)


class CosineAnnealingLR(Schedule):
    """From the initial rate to `eta_min` along half a cosine of `T_max` steps (Loshchilov & Hutter, 2017).

    Further steps go up and down again, as in PyTorch.

    Args:
        optimizer: whose rates to set.
        T_max: steps to the end.
        eta_min: the rate at the end.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        ValueError: T_max is below 1, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step()
    >>> schedule.last_lr()
    [0.5]
    """

    by_hand = "ratio"

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        whole = int(T_max) if isinstance(T_max, float) and T_max % 1 == 0 else T_max
        self.T_max, self.eta_min = size("CosineAnnealingLR", "T_max", whole), eta_min
        super().__init__(optimizer, last_epoch=last_epoch)

    def rate(self, base: float, t: float) -> float:
        """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(CosineAnnealingLR):
    """Half a cosine of `T_0` steps, again and again, each `T_mult` times as long as the one before.

    Loshchilov & Hutter, 2017: SGDR.

    Args:
        optimizer: whose rates to set.
        T_0: steps of the first cosine.
        T_mult: the next one is this many times as long.
        eta_min: the rate at the end of each.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        ValueError: T_0 is below 1, T_mult is no whole number of at least 1, or the learning rate is a
            function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> schedule.last_lr()
    [1.0]
    """

    by_hand = "formula"

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(
                f"CosineAnnealingWarmRestarts: T_mult must be a whole number of at least 1, got {T_mult}"
            )
        self.T_mult = T_mult
        size("CosineAnnealingWarmRestarts", "T_0", T_0)
        super().__init__(optimizer, T_0, eta_min, last_epoch=last_epoch)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """T_0 is our T_max."""
        names = {"T_0": "T_max"}
        found = super().from_torch(state)
        found["t"] += found.get("T_cur", 0) % 1  # of `step(epoch)`
        return {names.get(k, k): v for k, v in found.items() if k not in ("T_i", "T_cur")}

    def step(self, epoch: float | None = None) -> None:
        """Move on by one, or to an epoch and a part of it, as `epoch + batch / batches`.

        Raises:
            ValueError: an epoch below 0.
            CaptureError: an epoch inside a captured step, which would be the same each time.
        """
        if epoch is None:
            super().step()
            return
        if current() is not None:
            raise CaptureError("schedule.step(epoch) is of one step alone: call it outside the captured step")
        self._admit()
        self.t = number("CosineAnnealingWarmRestarts", "epoch", epoch, 0)
        self._write([self.rate_of(i, base, self.t) for i, base in enumerate(self.base)])

    def rate(self, base: float, t: float) -> float:
        """That of the cosine that is running at t."""
        length = self.T_max
        while t >= length:
            t -= length
            length *= self.T_mult
            if self.T_mult == 1:
                t %= length
        return super().rate(base, t * self.T_max / length)
