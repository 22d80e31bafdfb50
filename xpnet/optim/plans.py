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

    by_hand = "formula"

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

    by_hand = "ratio"

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

    def onward(self, i: int, lr: float, t: int) -> float:
        """Times the function, whatever the product is."""
        return lr * self.function_of(i)(t)

    def take_over(self) -> None:
        """As in PyTorch: from the rates that are there, times the function of 0."""
        self.begin()
        self._write([lr * self.function_of(i)(0) for i, lr in enumerate(self.last_lr())])


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

    by_hand = "ratio"

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

    def onward(self, i: int, lr: float, t: int) -> float:
        """Without a division: the factors of many milestones underflow."""
        return lr * self.gamma ** self.milestones.count(t)

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

    by_hand = "ratio"

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

    by_hand = "ratio"

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

    by_hand = "ratio"

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = size("PolynomialLR", "total_iters", total_iters)
        self.power = number("PolynomialLR", "power", power)
        super().__init__(optimizer, last_epoch=last_epoch)

    def factor(self, t: int) -> float:
        """(1 - t / total_iters)^power."""
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


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
        super().__init__(optimizer, base=None if after is None else after.base)

    def rate_of(self, i: int, base: float, t: int) -> float:
        """The ramp, then the other schedule."""
        if t < self.steps:
            return base * (self.start_factor + (1 - self.start_factor) * t / self.steps)
        return base if self.after is None else self.after.rate_of(i, base, t - self.steps)

    def move_more(self, t: int) -> None:
        """What the other schedule moves."""
        if self.after is not None and t >= self.steps:
            self.after.move_more(t - self.steps)

    def settings(self) -> dict[str, Any]:
        """With those of the schedule that takes over."""
        return {**super().settings(), "after": None if self.after is None else self.after.settings()}


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
