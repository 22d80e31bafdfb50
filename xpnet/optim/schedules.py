"""Learning-rate schedules: a schedule is a factor of the step; `step()` writes base rate * factor."""

from __future__ import annotations

import math
from typing import Any

from xpnet.core.checks import number, size
from xpnet.core.recording import capturing, on_host
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
        optimizer: whose rates to set, in all its groups.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

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

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
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
        self.base = [group["lr"] for group in optimizer.param_groups]
        if not optimizer.initial_rates:
            optimizer.initial_rates = list(self.base)
        self.first = tuple(self.base)  # the rates it was made with, whatever is set by hand later
        self.t = 0
        self._write()

    def factor(self, t: int) -> float:
        """What the initial learning rate is multiplied by at time t."""
        raise NotImplementedError

    def rate(self, base: float, t: int) -> float:
        """The learning rate of a group that started at `base`."""
        return base * self.factor(t)

    def rate_of(self, i: int, base: float, t: int) -> float:
        """That of group number i, where groups differ in more than their base."""
        return self.rate(base, t)

    def _write(self) -> None:
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base, strict=True)):
            group["lr"] = self.rate_of(i, base, self.t)

    @on_host
    def step(self) -> None:
        """Move on by one and set the learning rates.

        A rate that was set since the last step, by hand or by another schedule, is taken as the rate of that
        step, and that of a group added since as well: the schedule goes on from there. So schedules of one
        optimizer that step in turn multiply, as PyTorch's do; one with an `eta_min` scales the distance to
        that, from below, too.
        """
        recording = capturing()
        if recording is not None:
            recording.before.append(self.step)  # of each replay
            return
        self._advance()

    def _advance(self) -> None:
        self._follow()
        self.t += 1
        self._write()

    def restart(self) -> None:
        """Begin again, at the rates it began with; one that was set by hand begins where it is now."""
        for i, group in enumerate(self.optimizer.param_groups):
            if i >= len(self.base):
                self.base.append(group["lr"])
            elif group["lr"] != self.rate_of(i, self.base[i], self.t):
                self.base[i] = group["lr"]
        self.restart_at_base()

    def restart_at_base(self) -> None:
        """Begin again at the rates in `base`."""
        self.t = 0
        self._write()

    def _follow(self) -> None:
        for i, group in enumerate(self.optimizer.param_groups):
            lr = group["lr"]
            if i == len(self.base):
                self.base.append(lr)
            if lr != self.rate_of(i, self.base[i], self.t):
                self.base[i] = self._base_of(i, lr)

    def _base_of(self, i: int, lr: float) -> float:
        """The base from which group i has this rate now: a rate is a + b * base."""
        a = self.rate_of(i, 0.0, self.t)
        b = self.rate_of(i, 1.0, self.t) - a
        return (lr - a) / b if b else lr

    @property
    def last_epoch(self) -> int:
        """The steps made: PyTorch's name."""
        return self.t

    def get_last_lr(self) -> list[float]:
        """PyTorch's name of `last_lr`."""
        return self.last_lr()

    def last_lr(self) -> list[float]:
        """The learning rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def settings(self) -> dict[str, Any]:
        """The rule and its constants, as JSON can hold them: two schedules of equal settings are the same."""
        constants = {k: v for k, v in self.state_dict().items() if k != "t"}
        return {"rule": type(self).__name__, **constants, "base": list(self.first)}

    def state_dict(self) -> dict[str, Any]:
        """The numbers needed to resume."""
        return {k: v for k, v in vars(self).items() if isinstance(v, int | float | list | bool)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of the same schedule in PyTorch, gave; set the learning rates.

        Raises:
            ValueError: a state of another kind of schedule, or of other groups. Nothing has changed then.
        """
        name, own = type(self).__name__, self.state_dict()
        rates = state.get("_last_lr")
        if "last_epoch" in state:
            state = self.from_torch(state)
        other = sorted(state.keys() ^ own.keys())
        if other:
            word = "has" if other[0] in state else "lacks"
            raise ValueError(f"{name}: the state {word} {other[0]!r}; that of a {name} is {', '.join(own)}")
        groups = len(self.optimizer.param_groups)
        if len(state["base"]) != groups:
            raise ValueError(f"{name}: a state of {len(state['base'])} groups for an optimizer of {groups}")
        vars(self).update(state)
        for i, lr in enumerate(rates or ()):  # perhaps set by hand there
            if not math.isclose(lr, self.rate_of(i, self.base[i], self.t), rel_tol=1e-9, abs_tol=1e-15):
                self.base[i] = self._base_of(i, lr)
        self._write()

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

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = size("StepLR", "step_size", step_size), gamma
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """gamma^(t // step_size)."""
        return self.gamma ** (t // self.step_size)


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

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """gamma^t."""
        return self.gamma**t


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

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = size("CosineAnnealingLR", "T_max", T_max), eta_min
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
        return {names.get(k, k): v for k, v in found.items() if k not in ("T_i", "T_cur")}

    def rate(self, base: float, t: float) -> float:
        """That of the cosine that is running at t."""
        length = self.T_max
        while t >= length:
            t -= length
            length *= self.T_mult
            if self.T_mult == 1:
                t %= length
        return super().rate(base, t * self.T_max / length)


class WarmupLR(Schedule):
    """Rise linearly from `start_factor` to the full rate in `steps`, then follow `after` if given.

    Args:
        optimizer: whose rates to set.
        steps: length of the rise.
        start_factor: where it starts, as a factor of the initial rate.
        after: a schedule that takes over, from its own time 0.

    Raises:
        ValueError: steps is below 1, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> after = xpnet.optim.StepLR(optimizer, step_size=1, gamma=0.1)
    >>> schedule = xpnet.optim.WarmupLR(optimizer, steps=2, after=after)
    >>> for _ in range(4):
    ...     print(schedule.last_lr()[0])
    ...     schedule.step()
    0.0
    0.5
    1.0
    0.1
    """

    def __init__(
        self, optimizer: Optimizer, steps: int, start_factor: float = 0.0, after: Schedule | None = None
    ) -> None:
        if steps < 1:
            raise ValueError(f"WarmupLR: steps must be at least 1, got {steps}")
        self.steps, self.start_factor, self.after = steps, start_factor, after
        super().__init__(optimizer)
        if after is not None:
            self.base = list(after.base)
            self.first = tuple(self.base)
            self._write()

    def rate(self, base: float, t: int) -> float:
        """The ramp, then the other schedule."""
        if t < self.steps:
            return base * (self.start_factor + (1 - self.start_factor) * t / self.steps)
        return base if self.after is None else self.after.rate(base, t - self.steps)

    def settings(self) -> dict[str, Any]:
        """With those of the schedule that takes over."""
        return {**super().settings(), "after": None if self.after is None else self.after.settings()}
