"""Hooks into the training loop, and the ones most runs want."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer


class Callback:
    """Base class: override the hooks you need; a hook that nobody overrides costs nothing.

    Each one gets the trainer, and through it `model`, `optimizer`, `history`, `epoch` (from 0), `epochs`,
    `batches` (in an epoch, None if unknown), `step` (updates so far), `batch` (the latest (x, y)), `output`
    (the model's, for that batch), `loss_value` (of the latest batch, on the device), `stop` (set it to end
    training after this epoch).
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch."""

    def on_backward_end(self, trainer: Trainer) -> None:
        """Between `backward` and `step`: the place for gradient clipping and noise."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each update. Reading a number from the device here waits for it."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After validation; `trainer.history.last()` has the numbers of this epoch."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when training was interrupted or diverged."""

    def state_dict(self) -> dict[str, Any]:
        """What this callback must remember in a checkpoint: arrays, and whatever JSON can hold."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; called after `on_fit_begin`."""


def _sign(monitor: str, mode: str | None) -> int:
    """1 if less of a quantity is better, -1 if more is; judged by its name if `mode` is not given."""
    mode = mode or ("min" if "loss" in monitor else "max")
    if mode not in ("min", "max"):
        raise ValueError(f'mode is "min" or "max", got {mode!r}')
    return 1 if mode == "min" else -1


class EarlyStopping(Callback):
    """Stop when a validation quantity has not improved for `patience` epochs; keep the best weights.

    Args:
        patience: epochs without improvement that are let pass.
        monitor: a key of the history.
        mode: "min" or "max"; default: "min" if the key names a loss.
        min_delta: an improvement must be larger than this.
        restore_best: put parameters and buffers of the best epoch back when training ends, however it ends.

    Attributes:
        best: the best value so far.
        best_epoch: its epoch, from 0; None before the first.

    Raises:
        ValueError: patience is below 1, or the mode is unknown.
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "val_loss",
        mode: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        self.patience, self.monitor = patience, monitor
        self.sign = _sign(monitor, mode)
        self.min_delta, self.restore_best = min_delta, restore_best
        self._reset()

    def _reset(self) -> None:
        self.best = self.sign * math.inf
        self.best_epoch: int | None = None
        self._waited = 0
        self._state: dict[str, Any] | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget an earlier run."""
        self._reset()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Compare, remember the weights if they are the best, stop if patience is used up."""
        value = trainer.history[self.monitor][-1]
        if self.sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self._waited = value, trainer.epoch, 0
            self._state = trainer.model.state_dict() if self.restore_best else None
        else:
            self._waited += 1
            trainer.stop = trainer.stop or self._waited >= self.patience

    def on_fit_end(self, trainer: Trainer) -> None:
        """Put the best weights back."""
        if self._state is not None:
            trainer.model.load_state_dict(self._state)


class LearningRate(Callback):
    """Step a learning-rate schedule.

    Args:
        schedule: one of `xpnet.optim`; a `ReduceLROnPlateau` is given the monitored quantity.
        every: "epoch" or "batch", the unit that the schedule counts in.
        monitor: a key of the history, for `ReduceLROnPlateau`.

    Raises:
        ValueError: another unit, or `ReduceLROnPlateau` by batch.
    """

    def __init__(self, schedule: Any, every: str = "epoch", monitor: str = "val_loss") -> None:
        from xpnet.optim import ReduceLROnPlateau

        self.schedule, self.monitor = schedule, monitor
        self.needs_metric = isinstance(schedule, ReduceLROnPlateau)
        if every not in ("epoch", "batch"):
            raise ValueError(f'LearningRate: every is "epoch" or "batch", got {every!r}')
        if every == "batch":
            if self.needs_metric:
                raise ValueError("LearningRate: ReduceLROnPlateau looks at a quantity measured once an epoch")
            self.on_batch_end = self._step  # type: ignore[method-assign]
        else:
            self.on_epoch_end = self._step  # type: ignore[method-assign]

    def _step(self, trainer: Trainer) -> None:
        if self.needs_metric:
            self.schedule.step(trainer.history[self.monitor][-1])
        else:
            self.schedule.step()
