"""Schedules that go up and down, and momenta that go the other way."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.core.checks import number, size
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.schedules import Schedule, each_group


def _has_momentum(name: str, optimizer: Optimizer, wanted: bool) -> bool:
    """Whether the momentum is to move; refuse a rule that has none."""
    groups = getattr(optimizer, "param_groups", [{}])
    if wanted and not all("momentum" in g or "betas" in g for g in groups):
        raise ValueError(f"{name}: cycle_momentum needs a rule with momentum or betas")
    return wanted


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class CyclicLR(Schedule):
    """Up and down between two rates, in straight lines, again and again (Smith, 2017).

    Args:
        optimizer: whose rates to set.
        base_lr: the smallest rate, or a list of one for each group.
        max_lr: the largest rate, likewise.
        step_size_up: steps up.
        step_size_down: steps down; default: as many.
        mode: "triangular"; "triangular2", where each cycle is half as high as the one before; or "exp_range",
            where the height is multiplied by `gamma` each step.
        gamma: of "exp_range".
        scale_fn: a function to multiply the height by, instead of a mode.
        scale_mode: whether `scale_fn` is of the "cycle", 1, 2, ..., or of the "iterations", 0, 1, ...
        cycle_momentum: move the momentum, or the first of `betas`, the other way.
        base_momentum: at the largest rate, or a list of one for each group.
        max_momentum: at the smallest rate, likewise.
        last_epoch: -1, the start; `load_state_dict` goes on from later.

    Raises:
        TypeError: a number is none.
        ValueError: a length is too small, another mode, a rule without momentum, or another number of rates
            than of groups.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule = xpnet.optim.CyclicLR(optimizer, base_lr=1.0, max_lr=3.0, step_size_up=2)
    >>> for _ in range(5):
    ...     print(schedule.last_lr()[0])
    ...     schedule.step()
    1.0
    2.0
    3.0
    2.0
    1.0
    """

    by_hand = "formula"

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        name = "CyclicLR"
        self.step_size_up = size(name, "step_size_up", step_size_up)
        down = step_size_up if step_size_down is None else step_size_down
        self.step_size_down = size(name, "step_size_down", down, 0)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f'{name}: mode must be "triangular", "triangular2" or "exp_range", got {mode!r}')
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f'{name}: scale_mode must be "cycle" or "iterations", got {scale_mode!r}')
        self.mode, self.gamma = mode, number(name, "gamma", gamma)
        self.scale_fn, self.scale_mode = scale_fn, scale_mode
        self.cycle_momentum = _has_momentum(name, optimizer, cycle_momentum)
        lowest = each_group(name, "base_lr", optimizer, base_lr)
        self.max_lrs = each_group(name, "max_lr", optimizer, max_lr)
        self.base_momentums = each_group(name, "base_momentum", optimizer, base_momentum)
        self.max_momentums = each_group(name, "max_momentum", optimizer, max_momentum)
        super().__init__(optimizer, last_epoch, lowest)
        if cycle_momentum:
            optimizer.scheduled |= {"momentum", "betas"}

    def _made(self) -> None:
        self.take_over()
        self._write(self.optimizer.initial_rates)  # those of an earlier schedule for a first step, in PyTorch

    def height(self, t: int) -> float:
        """How far up it is, 0 to 1, times the scale of the mode."""
        total = self.step_size_up + self.step_size_down
        cycle, ratio = math.floor(1 + t / total), self.step_size_up / total
        x = 1 + t / total - cycle
        part = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
        if self.scale_fn is not None:
            return part * self.scale_fn(cycle if self.scale_mode == "cycle" else t)
        return part * {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1)}.get(self.mode, self.gamma**t)

    def rate_of(self, i: int, base: float, t: int) -> float:
        """Of group number i; one that was added later moves as the last one does."""
        return base + (self.max_lrs[min(i, len(self.max_lrs) - 1)] - base) * self.height(t)

    def move_more(self, t: int) -> None:
        """The momentum."""
        if not self.cycle_momentum:
            return
        height = self.height(t)
        ends = list(zip(self.base_momentums, self.max_momentums, strict=True))
        for i, group in enumerate(self.optimizer.param_groups):
            low, high = ends[min(i, len(ends) - 1)]
            _set_momentum(group, high - (high - low) * height)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The lengths are in their sum and a ratio; the mode is this schedule's."""
        if "total_size" not in state:
            return super().from_torch(state)
        up = round(state["total_size"] * state["step_ratio"])
        lengths = {"step_size_up": up, "step_size_down": round(state["total_size"]) - up}
        own = self.state_dict()
        known = {k: state[k] for k in own if k in state}
        return {**own, **known, **lengths, "t": state["last_epoch"], "base": list(state["base_lrs"])}

    def settings(self) -> dict[str, Any]:
        """With the mode."""
        return {**super().settings(), "mode": self.mode, "scale_mode": self.scale_mode}


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
        last_epoch: -1, the start; `load_state_dict` goes on from later.

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

    by_hand = "formula"

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
        last_epoch: int = -1,
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
        self.cycle_momentum = _has_momentum(name, optimizer, cycle_momentum)
        super().__init__(optimizer, last_epoch, each_group(name, "max_lr", optimizer, max_lr))
        if cycle_momentum:
            optimizer.scheduled |= {"momentum", "betas"}
        optimizer.initial_rates[:] = self.base_lrs  # as in PyTorch, for whatever comes before or after it

    @property
    def base_lrs(self) -> list[float]:
        """The first rates, as in PyTorch; the base here are the largest."""
        return [base / self.div_factor for base in self.base]

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

    def _advance(self) -> None:
        super()._advance()
        if self.t == self.total_steps + 1:
            warnings.warn(
                f"OneCycleLR: step {self.t} of a cycle of {self.total_steps}: the rate stays as it is; make "
                "it with as many total_steps as there are calls of step()",
                stacklevel=4,
            )

    def move_more(self, t: int) -> None:
        """The momentum."""
        if not self.cycle_momentum:
            return
        high, low = self.max_momentum, self.base_momentum
        ends = [(high, low), (low, high), (high, high)]
        parts = [(end, *pair) for (end, _, _), pair in zip(self._parts(), ends, strict=False)]
        momentum = self._between(t, parts)
        for group in self.optimizer.param_groups:
            _set_momentum(group, momentum)

    def from_torch(self, state: dict[str, Any]) -> dict[str, Any]:
        """The place and the length; PyTorch keeps the rest in the optimizer's groups, or not at all."""
        if "total_steps" not in state:
            return super().from_torch(state)
        return {**self.state_dict(), "t": state["last_epoch"], "total_steps": state["total_steps"]}

    def settings(self) -> dict[str, Any]:
        """With the strategy."""
        return {**super().settings(), "anneal_strategy": self.anneal_strategy}
