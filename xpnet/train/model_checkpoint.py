"""Checkpoints written while training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.core.renamed import renamed
from xpnet.io.files import require_safetensors
from xpnet.io.writing import check_writable, copy_file
from xpnet.train.callbacks import Callback
from xpnet.train.monitor import check_monitor, sign_of

if TYPE_CHECKING:
    from xpnet.train.run import Run


class Checkpoint(Callback):
    """Write the whole state of the run to one file, over and over; `fit(..., resume=path)` goes on from it.

    Args:
        path: the file. A write that is cut off leaves the one before it.
        every: epochs between two writes; the last epoch is always written.
        every_steps: updates between two writes within an epoch; default: none within one.
        metadata: anything JSON can hold, kept in the file and read with `load_checkpoint(path)["metadata"]`.

    Raises:
        ValueError: every or every_steps is below 1.
        ImportError: safetensors is missing.
    """

    last = True
    main_only = True

    @renamed(facts="metadata")
    def __init__(
        self,
        path: str | PathLike[str],
        every: int = 1,
        every_steps: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if every < 1 or (every_steps is not None and every_steps < 1):
            raise ValueError(
                f"{type(self).__name__}: every and every_steps must be at least 1, "
                f"got {every} and {every_steps}"
            )
        require_safetensors()
        self.path, self.every, self.every_steps, self.metadata = Path(path), every, every_steps, metadata
        if every_steps is not None:
            self.on_batch_end = self._by_step  # type: ignore[method-assign]

    def on_fit_begin(self, trainer: Run) -> None:
        """Refuse a path that cannot be written, before the work."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(self.path)

    def _by_step(self, trainer: Run) -> None:
        if trainer.step % self.every_steps == 0:  # type: ignore[operator]
            trainer.save_checkpoint(self.path, self.metadata)

    def on_epoch_end(self, trainer: Run) -> None:
        """Write, if it is time."""
        if self._is_time(trainer):
            trainer.save_checkpoint(self.path, self.metadata)

    def _is_time(self, trainer: Run) -> bool:
        done = trainer.epoch + 1
        return done % self.every == 0 or done == trainer.epochs or trainer.stop


class ModelCheckpoint(Checkpoint):
    """Keep `last.safetensors` and `best.safetensors` in a folder, each a checkpoint to resume from.

    Args:
        folder: made if it is missing.
        monitor: a key of the history that says which epoch is best; default: `val_loss`, or `train_loss`
            without validation.
        mode: "min" or "max"; default: what the name says, of losses and errors, accuracies and scores.
        every: epochs between two writes of the last state; the best one is written whenever it is new.
        every_steps: updates between two writes of the last state within an epoch; default: none within one.
        best: False for the last state alone.
        metadata: as in `Checkpoint`.

    Attributes:
        best_value: the best value so far.

    Raises:
        ValueError: every or every_steps is below 1, or the mode is unknown; in training, no validation data.
        ImportError: safetensors is missing.

    `load_checkpoint(folder / "best.safetensors")["state"]["model"]` are the best weights, for
    `model.load_state_dict`.
    """

    @renamed(facts="metadata")
    def __init__(
        self,
        folder: str | PathLike[str] = "checkpoints",
        monitor: str | None = None,
        mode: str | None = None,
        every: int = 1,
        every_steps: int | None = None,
        best: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(Path(folder) / "last.safetensors", every, every_steps, metadata)
        self.best_path = Path(folder) / "best.safetensors"
        self.monitor, self.mode, self.keep_best = monitor, mode, best
        sign_of(monitor or "loss", mode)
        self.best_value: float | None = None

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run; its files are overwritten."""
        if self.keep_best:
            check_monitor(trainer, self.monitor or "", type(self).__name__)
        super().on_fit_begin(trainer)
        self.best_value = None

    def on_epoch_end(self, trainer: Run) -> None:
        """Write the best state if this is it, then the last one if it is time."""
        better = False
        if self.keep_best:
            row = trainer.history.last()
            key = self.monitor or ("val_loss" if "val_loss" in row else "train_loss")
            value, sign = trainer.history[key][-1], sign_of(key, self.mode)
            best = sign * math.inf if self.best_value is None else self.best_value
            better = sign * (best - value) > 0
        if better:
            self.best_value = value
            trainer.save_checkpoint(self.best_path, self.metadata)
            if self._is_time(trainer):
                copy_file(self.best_path, self.path)
        else:
            super().on_epoch_end(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best_value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.best_value = state["best"]
