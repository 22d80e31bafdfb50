"""Schedules of a given length: they rise, fall or follow one another."""

from __future__ import annotations

import math
import warnings
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
    ) -> None:
        self.lambdas = tuple(lr_lambda) if isinstance(lr_lambda, list | tuple) else (lr_lambda,)
        if not all(map(callable, self.lambdas)):
            raise TypeError(f"LambdaLR: lr_lambda must be a function of the step, got {lr_lambda!r}")
        groups = len(getattr(optimizer, "param_groups", ()))
        if isinstance(lr_lambda, list | tuple) and len(self.lambdas) != groups:
            raise ValueError(f"LambdaLR: {len(self.lambdas)} functions for {groups} groups")
        super().__init__(optimizer)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """Without functions, which are this schedule's."""
        return {k: v for k, v in super().from_torch(state).items() if k != "lr_lambdas"}

    def rate_of(self, i: int, base: float, t: int) -> float:
        """The base times the group's function."""
        return base * self.lambdas[i if len(self.lambdas) > 1 else 0](t)


class MultiStepLR(Schedule):
    """Multiply by `gamma` at each milestone.

    Args:
        optimizer: whose rates to set.
        milestones: steps, in any order; one that is there twice counts twice.
        gamma: the factor.

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

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(f"MultiStepLR: milestones must be a list of steps, got {milestones!r}")
        self.milestones = sorted(size("MultiStepLR", "a milestone", m, 0) for m in milestones)
        self.gamma = gamma
        super().__init__(optimizer)

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

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of range, or the learning rate is a function of the steps already.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> xpnet.optim.ConstantLR(optimizer, factor=0.25).last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5) -> None:
        self.start = number("ConstantLR", "factor", factor, 0)
        self.total_iters = size("ConstantLR", "total_iters", total_iters)
        super().__init__(optimizer)

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
    ) -> None:
        self.start_factor = number("LinearLR", "start_factor", start_factor, 0)
        if not 0 < self.start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        self.end_factor = number("LinearLR", "end_factor", end_factor, 0)
        self.total_iters = size("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer)

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

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = size("PolynomialLR", "total_iters", total_iters)
        self.power = number("PolynomialLR", "power", power)
        super().__init__(optimizer)

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


class SequentialLR(Schedule):
    """Schedules one after the other, each from its own time 0.

    Args:
        optimizer: whose rates to set.
        schedulers: schedules of the same optimizer, whose initial rates are those before the first of them.
        milestones: the steps at which the second and the following take over.

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
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ) -> None:
        self.schedulers = tuple(schedulers)
        for schedule in self.schedulers:
            if not isinstance(schedule, Schedule):
                raise TypeError(f"SequentialLR: expected schedules, got {type(schedule).__name__}")
            if schedule.optimizer is not optimizer:
                raise ValueError("SequentialLR: the schedules must be of this optimizer")
        self.milestones = [size("SequentialLR", "a milestone", m) for m in milestones]
        count, rising = len(self.schedulers), sorted(set(self.milestones)) == self.milestones
        if len(self.milestones) != count - 1 or not rising:
            raise ValueError(
                f"SequentialLR: {count} schedules need {count - 1} milestones that rise, got "
                f"{list(milestones)}"
            )
        super().__init__(optimizer)
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


class OneCycleLR(Schedule):
    """Up to the largest rate and down to almost nothing; the momentum moves the other way (Smith, 2018).

    Args:
        optimizer: whose rates to set.
        max_lr: the largest rate, or a list of one for each group.
        total_steps: of the cycle; or `epochs` times `steps_per_epoch`.
        epochs: of the training.
        steps_per_epoch: calls of `step` in each.
        pct_start: the part of the steps that goes up.
        anneal_strategy: "cos" or "linear", the shape of each part.
        cycle_momentum: move the momentum, or the first of `betas`, too.
        base_momentum: at the largest rate.
        max_momentum: at the smallest rates.
        div_factor: the first rate is max_lr / div_factor.
        final_div_factor: the last rate is the first one divided by this.
        three_phase: down as fast as up, and then to the last rate.

    Raises:
        TypeError: a number is none.
        ValueError: no length, a part outside [0, 1], another strategy, a rule without momentum, or a factor
            of 0.

    Steps past the end leave the rate at its last value, with a warning.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule = xpnet.optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> schedule.last_lr(), optimizer.param_groups[0]["momentum"]
    ([1.0], 0.85)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        name = "OneCycleLR"
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{name}: pass total_steps, or epochs and steps_per_epoch")
            total_steps = size(name, "epochs", epochs) * size(name, "steps_per_epoch", steps_per_epoch)
        self.total_steps = size(name, "total_steps", total_steps)
        self.pct_start = number(name, "pct_start", pct_start)
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"{name}: pct_start must be in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'{name}: anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}')
        self.anneal_strategy, self.three_phase = anneal_strategy, three_phase
        self.div_factor = number(name, "div_factor", div_factor)
        self.final_div_factor = number(name, "final_div_factor", final_div_factor)
        for key in ("div_factor", "final_div_factor"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{name}: {key} must be above 0, got {getattr(self, key)}")
        self.base_momentum = number(name, "base_momentum", base_momentum)
        self.max_momentum = number(name, "max_momentum", max_momentum)
        groups = getattr(optimizer, "param_groups", [{}])
        if cycle_momentum and not all("momentum" in g or "betas" in g for g in groups):
            raise ValueError(f"{name}: cycle_momentum needs a rule with momentum or betas")
        self.cycle_momentum = cycle_momentum
        rates = list(max_lr) if isinstance(max_lr, list | tuple) else [max_lr] * len(groups)
        if len(rates) != len(groups):
            raise ValueError(f"{name}: {len(rates)} values of max_lr for {len(groups)} groups")
        self._peaks = tuple(number(name, "max_lr", rate, 0) for rate in rates)
        super().__init__(optimizer)
        if cycle_momentum:
            optimizer.scheduled |= {"momentum", "betas"}
        self.base, self.first = list(self._peaks), self._peaks
        self._write()

    def _parts(self) -> list[tuple[float, float, float]]:
        """Each part: its last step, and the factors of max_lr it goes between."""
        low, last = 1 / self.div_factor, self.total_steps - 1
        least, up = low / self.final_div_factor, self.pct_start * self.total_steps - 1
        if self.three_phase:
            return [(up, low, 1.0), (2 * up, 1.0, low), (last, low, least)]
        return [(up, low, 1.0), (last, 1.0, least)]

    def _between(self, t: float, values: list[tuple[float, float, float]]) -> float:
        begin = 0.0
        for end, start, stop in values:
            if t <= end or (end, start, stop) == values[-1]:
                part = min((t - begin) / (end - begin), 1.0) if end > begin else 1.0
                if self.anneal_strategy == "linear":
                    return start + (stop - start) * part
                return stop + (start - stop) / 2 * (1 + math.cos(math.pi * part))
            begin = end
        raise AssertionError("a cycle has parts")

    def factor(self, t: int) -> float:
        """Of the largest rate."""
        return self._between(t, self._parts())

    def _write(self) -> None:
        super()._write()
        if self.t == self.total_steps + 1:
            warnings.warn(
                f"OneCycleLR: step {self.t} of a cycle of {self.total_steps}: the rate stays as it is; make "
                "it with as many total_steps as there are calls of step()",
                stacklevel=4,
            )
        if not self.cycle_momentum:
            return
        high, low = self.max_momentum, self.base_momentum
        ends = [(high, low), (low, high), (high, high)]
        parts = [(end, *pair) for (end, _, _), pair in zip(self._parts(), ends, strict=False)]
        momentum = self._between(self.t, parts)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The place and the length; PyTorch keeps the rest in the optimizer's groups, or not at all."""
        if "total_steps" not in state:
            return super().from_torch(state)
        return {**self.state_dict(), "t": state["last_epoch"], "total_steps": state["total_steps"]}

    def settings(self) -> dict[str, Any]:
        """With the strategy."""
        return {**super().settings(), "anneal_strategy": self.anneal_strategy}
