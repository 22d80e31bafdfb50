"""A rate that falls when a measure no longer improves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet.core.checks import number, size
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.schedules import each_group


class ReduceLROnPlateau:
    """Multiply the rate by `factor` when a metric has not improved for more than `patience` calls (deck S3).

    Args:
        optimizer: whose rates to set.
        mode: "min" for a loss, "max" for an accuracy; default: "min", or as the name of the measure says that
            `LearningRate` gives it.
        factor: the decks divide by 10, one to three times.
        patience: calls without improvement that are let pass.
        threshold: an improvement must exceed this fraction of the best value ("rel") or amount ("abs").
        threshold_mode: "rel" or "abs".
        cooldown: calls to wait after a reduction.
        min_lr: never below this; or a list of one for each group.
        eps: smaller changes of the rate are not made.

    Raises:
        ValueError: mode or threshold_mode is unknown, or a number is out of range.
        TypeError: a number is none.

    >>> import xpnet
    >>> optimizer = xpnet.optim.SGD([xpnet.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = xpnet.optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (2.0, 2.0, 2.0):  # no improvement, twice
    ...     schedule.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        given, mode = mode, mode or "min"
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f'ReduceLROnPlateau: mode is "min" or "max", threshold_mode "rel" or "abs"; '
                f"got {mode!r}, {threshold_mode!r}"
            )
        if number(name, "factor", factor, 0) >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        self.optimizer = optimizer
        self.mode, self.threshold_mode, self.factor, self.min_lr = mode, threshold_mode, factor, min_lr
        self.least = tuple(each_group(name, "min_lr", optimizer, min_lr))
        self.threshold, self.eps = number(name, "threshold", threshold), number(name, "eps", eps, 0)
        self.patience = size(name, "patience", patience, 0)
        self.cooldown = size(name, "cooldown", cooldown, 0)
        self.given_mode = given
        self._rates = [group["lr"] for group in optimizer.param_groups]  # as written here last
        self._first = list(self._rates)
        self.suit(mode)

    def suit(self, mode: str) -> None:
        """Take "min" or "max" for the mode, before the first step."""
        self.mode = mode
        self.best = math.inf if mode == "min" else -math.inf
        self.bad, self.waiting = 0, 0

    def restart(self) -> None:
        """Begin again, at the rates it began with; one that was set by hand stays."""
        for group, written, first in zip(self.optimizer.param_groups, self._rates, self._first, strict=False):
            if group["lr"] == written:
                group["lr"] = first
        self.suit(self.mode)

    def _better(self, metric: float) -> bool:
        if math.isinf(self.best):
            return metric < self.best if self.mode == "min" else metric > self.best
        sign = -1 if self.mode == "min" else 1
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1)
        target = self.best + sign * margin
        return metric < target if self.mode == "min" else metric > target

    def step(self, metric: float, epoch: int | None = None) -> None:
        """Report the metric of one epoch, whose number PyTorch takes, too; it changes nothing."""
        metric = float(metric)
        if self._better(metric):
            self.best, self.bad = metric, 0
        else:
            self.bad += 1
        if self.waiting > 0:
            self.waiting -= 1
            self.bad = 0
        if self.bad > self.patience:
            for i, group in enumerate(self.optimizer.param_groups):
                lower = max(group["lr"] * self.factor, self.least[min(i, len(self.least) - 1)])
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self._rates = [group["lr"] for group in self.optimizer.param_groups]
            self.waiting, self.bad = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group now, by PyTorch's name."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def settings(self) -> dict[str, Any]:
        """The rule and its constants, as JSON can hold them."""
        position = self.state_dict()
        own = {k: v for k, v in vars(self).items() if isinstance(v, int | float | str | list) and k[0] != "_"}
        return {
            "rule": type(self).__name__,
            **{k: v for k, v in own.items() if k not in position and k != "given_mode"},
        }

    def state_dict(self) -> dict[str, Any]:
        """The numbers needed to resume."""
        return {"best": self.best, "bad": self.bad, "waiting": self.waiting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict`, or that of PyTorch's, gave.

        Raises:
            ValueError: the state of another schedule. Nothing has changed then.
        """
        names = {"best": "best", "num_bad_epochs": "bad", "cooldown_counter": "waiting"}
        if "num_bad_epochs" in state:
            state = {ours: state[theirs] for theirs, ours in names.items()}
        if state.keys() != self.state_dict().keys():
            raise ValueError(
                f"ReduceLROnPlateau: the state is {', '.join(state) or 'empty'}; expected "
                f"{', '.join(self.state_dict())}"
            )
        vars(self).update(state)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
