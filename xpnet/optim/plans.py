"""Schedules of a given length: they rise, fall or follow one another."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xpnet.core.checks import number, size
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.schedules import Schedule


class LambdaLR(Schedule):
    """The initial rate times a function of the step.

    Args:
        optimizer: whose rates to set.
        lr_lambda: a function of t = 0, 1, ..., or a list of one for each group.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: no function.
        ValueError: another number of them than of groups, or the learning rate is a function already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> schedule.step()
    >>> schedule.last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        name = type(self).__name__
        self.lambdas = tuple(lr_lambda) if isinstance(lr_lambda, list | tuple) else (lr_lambda,)
        if not all(map(callable, self.lambdas)):
            raise TypeError(f"{name}: lr_lambda must be a function of the step, got {lr_lambda!r}")
        groups = len(getattr(optimizer, "param_groups", ()))
        if isinstance(lr_lambda, list | tuple) and len(self.lambdas) != groups:
            raise ValueError(f"{name}: {len(self.lambdas)} functions for {groups} groups")
        super().__init__(optimizer, last_epoch=last_epoch)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """Without functions, which are this schedule's."""
        return {k: v for k, v in super().from_torch(state).items() if k != "lr_lambdas"}

    def function_of(self, i: int) -> Callable[[int], float]:
        """That of group number i."""
        return self.lambdas[i if len(self.lambdas) > 1 else 0]

    def rate_of(self, i: int, base: float, t: int) -> float:
        """The base times the group's function."""
        return base * self.function_of(i)(t)


class MultiplicativeLR(LambdaLR):
    """Multiply by a function of the step at each step.

    Args:
        optimizer: whose rates to set.
        lr_lambda: a function of t = 1, 2, ..., or a list of one for each group.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: no function.
        ValueError: another number of them than of groups, or the learning rate is a function already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.MultiplicativeLR(optimizer, lambda t: 1 / 2**t)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> schedule.last_lr()
    [0.125]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._products: dict[int, list[float]] = {}  # of each group at the times so far
        super().__init__(optimizer, lr_lambda, last_epoch=last_epoch)

    def rate_of(self, i: int, base: float, t: int) -> float:
        """The base times the product of the group's function at 1, ..., t."""
        products = self._products.setdefault(i, [1.0])
        while len(products) <= t:
            products.append(products[-1] * self.function_of(i)(len(products)))
        return base * products[t]


class MultiStepLR(Schedule):
    """Multiply by `gamma` at each milestone.

    Args:
        optimizer: whose rates to set.
        milestones: steps, in any order; one that is there twice counts twice.
        gamma: the factor.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: a milestone is not a whole number.
        ValueError: the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.MultiStepLR(optimizer, [1, 3], gamma=0.5)
    >>> for _ in range(3):
    ...     schedule.step()
    >>> schedule.last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(f"MultiStepLR: milestones must be a list of steps, got {milestones!r}")
        self.milestones = sorted(size("MultiStepLR", "a milestone", m, 0) for m in milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """gamma^(milestones so far)."""
        return self.gamma ** sum(m <= t for m in self.milestones)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """PyTorch counts its milestones."""
        found = super().from_torch(state)
        counts = found.get("milestones")
        return found if counts is None else {**found, "milestones": sorted(Counter(counts).elements())}


class ConstantLR(Schedule):
    """The initial rate times `factor` for some steps, then the initial rate.

    Args:
        optimizer: whose rates to set.
        factor: of the first steps.
        total_iters: how many they are, 1 or more.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of range, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> xpnet.optim.ConstantLR(optimizer, factor=0.25).last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.start = number("ConstantLR", "factor", factor, 0)
        self.total_iters = size("ConstantLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """The first one, then 1."""
        return self.start if t < self.total_iters else 1.0

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The factor is our start."""
        return {{"factor": "start"}.get(k, k): v for k, v in super().from_torch(state).items()}


class LinearLR(Schedule):
    """The initial rate times a factor that moves from one number to another along a straight line.

    Args:
        optimizer: whose rates to set.
        start_factor: at the first step, above 0.
        end_factor: from `total_iters` on.
        total_iters: steps between them.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of range, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.LinearLR(optimizer, 0.5, 1.0, total_iters=2)
    >>> schedule.step()
    >>> schedule.last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number("LinearLR", "start_factor", start_factor, 0)
        if not 0 < self.start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        self.end_factor = number("LinearLR", "end_factor", end_factor, 0)
        self.total_iters = size("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """start + (end - start) t / total_iters."""
        part = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * part


class PolynomialLR(Schedule):
    """The initial rate times (1 - t / total_iters)^power, down to 0.

    Args:
        optimizer: whose rates to set.
        total_iters: steps to 0.
        power: 1 is a straight line.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: a number is none.
        ValueError: total_iters is below 1, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.PolynomialLR(optimizer, total_iters=2, power=2.0)
    >>> schedule.step()
    >>> schedule.last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = size("PolynomialLR", "total_iters", total_iters)
        self.power = number("PolynomialLR", "power", power)
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """(1 - t / total_iters)^power."""
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class WarmupStableDecayLR(Schedule):
    """Up in a straight line, stay, and down again at the end (Hu et al., 2024: "WSD").

    Args:
        optimizer: whose rates to set.
        warmup: steps up.
        stable: steps at the initial rate.
        decay: steps down.
        shape: of the way down: "linear", "cosine" or "sqrt", which is 1 - sqrt.
        start_factor: where it begins, as a factor of the initial rate.
        end_factor: where it ends, likewise.

    Raises:
        TypeError: a number is none.
        ValueError: a length is negative, another shape, or the learning rate is a function already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.WarmupStableDecayLR(optimizer, warmup=2, stable=1, decay=2)
    >>> for _ in range(6):
    ...     print(schedule.last_lr()[0])
    ...     schedule.step()
    0.0
    0.5
    1.0
    1.0
    0.5
    0.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: int,
        stable: int,
        decay: int,
        shape: str = "linear",
        start_factor: float = 0.0,
        end_factor: float = 0.0,
    ) -> None:
        name = "WarmupStableDecayLR"
        self.warmup, self.stable = size(name, "warmup", warmup, 0), size(name, "stable", stable, 0)
        self.decay = size(name, "decay", decay, 0)
        if shape not in ("linear", "cosine", "sqrt"):
            raise ValueError(f'{name}: shape must be "linear", "cosine" or "sqrt", got {shape!r}')
        self.shape = shape
        self.start_factor = number(name, "start_factor", start_factor, 0)
        self.end_factor = number(name, "end_factor", end_factor, 0)
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """Of the three parts, the one that t is in."""
        if t < self.warmup:
            return self.start_factor + (1 - self.start_factor) * t / self.warmup
        late = t - self.warmup - self.stable
        if late <= 0 and self.decay:
            return 1.0
        part = min(late / self.decay, 1.0) if self.decay else float(late >= 0)
        left = {"linear": 1 - part, "cosine": (1 + math.cos(math.pi * part)) / 2, "sqrt": 1 - part**0.5}
        return self.end_factor + (1 - self.end_factor) * left[self.shape]

    def settings(self) -> dict[str, Any]:
        """With the shape."""
        return {**super().settings(), "shape": self.shape}


class ChainedScheduler(Schedule):
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
        self.base = list(self.optimizer.initial_rates)
        self.first = tuple(self.base)

    def _write(self) -> None:
        """The schedules have written; what is not this afterwards has been set by hand."""
        self.rates = self.last_lr()

    def _advance(self) -> None:
        for schedule in self.schedulers:
            schedule.step()
        self.t += 1
        self._write()

    def restart(self) -> None:
        """All of them begin again."""
        for i, group in enumerate(self.optimizer.param_groups):
            known = i < len(self.base) and group["lr"] == self.rates[i]
            lr = self.base[i] if known else group["lr"]
            self.base[i:] = [lr, *self.base[i + 1 :]]
            for schedule in self.schedulers:
                schedule.base[i:] = [lr, *schedule.base[i + 1 :]]
                lr = schedule.rate_of(i, lr, 0)
        for schedule in self.schedulers:
            schedule.restart_at_base()
        self.t = 0
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """With the states of the schedules."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of PyTorch's, gave, in each schedule; set the learning rates."""
        parts = state.get("schedulers", state.get("_schedulers", ()))
        if len(parts) != len(self.schedulers):
            raise ValueError(
                f"ChainedScheduler: a state of {len(parts)} schedules for {len(self.schedulers)} of them"
            )
        for schedule, part in zip(self.schedulers, parts, strict=True):
            schedule.load_state_dict(part)
        self.t = self.schedulers[0].t
        self.base = list(state.get("base", self.base))
        self._write()

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


class SequentialLR(Schedule):
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
        super().__init__(optimizer, last_epoch=last_epoch)
        self.base = list(optimizer.initial_rates)
        self.first = tuple(self.base)
        self._write()

    def rate_of(self, i: int, base: float, t: int) -> float:
        """That of the schedule that is running at t."""
        running = sum(m <= t for m in self.milestones)
        return self.schedulers[running].rate_of(i, base, t - (self.milestones[running - 1] if running else 0))

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The place; what runs there are the schedules that this one was made of."""
        if "_milestones" not in state:
            return super().from_torch(state)
        return {**self.state_dict(), "t": state["last_epoch"], "milestones": list(state["_milestones"])}

    def settings(self) -> dict[str, Any]:
        """With those of the schedules."""
        return {**super().settings(), "schedules": [schedule.settings() for schedule in self.schedulers]}
