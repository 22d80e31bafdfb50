"""Checkpoints written while training."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.core.renamed import renamed
from xpnet.io.background import Background
from xpnet.io.files import Content, require_safetensors
from xpnet.io.generations import keep_older, names, write_generation
from xpnet.io.writing import copy_file
from xpnet.train.callbacks import Callback
from xpnet.train.monitor import check_monitor, sign_of
from xpnet.train.resume import is_whole

if TYPE_CHECKING:
    from xpnet.train.run import Run


class Checkpoint(Callback):
    """Write the whole state of the run to one file, over and over; `fit(..., resume=path)` goes on from it.

    Args:
        path: the file. A write that is cut off leaves the one before it.
        every: epochs between two writes; None: none at the end of an epoch. The last epoch is always written.
        every_steps: updates between two writes; default: epochs alone count.
        metadata: anything JSON can hold, kept in the file and read with `load_checkpoint(path)["metadata"]`.
        every_minutes: minutes between two writes, likewise.
        keep: how many states there are, this one included: the one before is `PATH.1`, then `PATH.2`, ...
            Where the newest is damaged, `fit(..., resume=path)` and `load_checkpoint` take the one before.
        background: encode and write in a thread of its own, from a copy in memory, while training goes on.

    Attributes:
        missing: the error, while the latest state could not be written; else None.

    A state with a parameter or a loss that is not finite is not written: `TrainingDivergedError` ends the
    run, and the file holds an earlier one. A write that fails, on a full disk for instance, is tried again at
    once, whenever one is due, and when training ends; warnings name the file, and training goes on. While
    `fit` runs, another run that is to write the same file is refused.

    Raises:
        ValueError: every, every_steps or keep is below 1, or every_minutes not above 0.
        ImportError: safetensors is missing.

    >>> import os, tempfile
    >>> import numpy as np
    >>> from xpnet import nn, optim
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Checkpoint, Trainer
    >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
    >>> model = nn.Linear(2, 2)
    >>> trainer = Trainer(model, cross_entropy, optim.SGD(model), [Checkpoint(path, keep=2)])
    >>> history = trainer.fit((np.ones((4, 2), np.float32), np.zeros(4, np.int64)), epochs=3)
    >>> sorted(os.listdir(os.path.dirname(path)))
    ['run.safetensors', 'run.safetensors.1']
    """

    last = True
    main_only = True

    @renamed(facts="metadata")
    def __init__(
        self,
        path: str | PathLike[str],
        every: int | None = 1,
        every_steps: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        every_minutes: float | None = None,
        keep: int = 1,
        background: bool = False,
    ) -> None:
        for name, value in (("every", every), ("every_steps", every_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 1, got {value}")
        if every_minutes is not None and not every_minutes > 0:
            raise ValueError(f"{type(self).__name__}: every_minutes must be above 0, got {every_minutes}")
        require_safetensors()
        self.path, self.every, self.every_steps, self.metadata = Path(path), every, every_steps, metadata
        self.every_minutes, self.keep, self.background = every_minutes, keep, background
        self._begin()

    def _begin(self) -> None:
        self.missing = None
        self._unwritten: dict[Path, Content] = {}
        self._trusted: set[Path] = set()  # files that this run has written
        self._thread, self._under_way = Background(), False
        self._latest = time.monotonic()

    def outputs(self) -> Sequence[Path]:
        """The file and its older generations; their folder is made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return names(self.path, self.keep)

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        self._begin()

    def on_batch_end(self, trainer: Run) -> None:
        """Write, if it is time within an epoch."""
        steps, minutes = self.every_steps, self.every_minutes
        if (steps is not None and trainer.step % steps == 0) or (
            minutes is not None and time.monotonic() - self._latest >= 60 * minutes
        ):
            self.write(trainer, self.path)

    def asks_within(self) -> bool:
        """If it writes within an epoch."""
        return self.every_steps is not None or self.every_minutes is not None

    def on_epoch_end(self, trainer: Run) -> None:
        """Write, if it is time."""
        if self._is_time(trainer):
            self.write(trainer, self.path)

    def on_fit_end(self, trainer: Run) -> None:
        """Wait for what is under way, and try again what could not be written."""
        self._settle()
        if self._unwritten:
            self._attempt(self._store)

    def _is_time(self, trainer: Run) -> bool:
        done = trainer.epoch + 1
        by_epoch = self.every is not None and done % self.every == 0
        return by_epoch or done == trainer.epochs or trainer.stop

    def write(self, trainer: Run, *paths: Path) -> None:
        """Write the state that there is now, under one or several names; what failed before, too.

        Raises:
            TrainingDivergedError: it is not finite. Nothing is written.
        """
        self._settle()
        content, self._latest = trainer.checkpoint_content(self.path, self.metadata), time.monotonic()
        content = content.copy() if self.background else content
        self._unwritten |= dict.fromkeys(paths, content)
        if self.background:
            self._thread.start(self._store)
            self._under_way = True
        else:
            self._attempt(self._store)

    def _settle(self) -> None:
        """Wait for what is under way."""
        if self._under_way:
            self._under_way = False
            self._attempt(self._thread.wait)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.missing = error
            warnings.warn(f"{error}; training goes on, the next checkpoint tries again", stacklevel=4)
        else:
            self.missing = None

    def _store(self) -> None:
        """Write what is to be written; once more if that fails, for errors that pass at once."""
        try:
            self._store_once()
        except OSError:
            self._store_once()

    def _store_once(self) -> None:
        written: dict[int, Path] = {}
        for path, content in list(self._unwritten.items()):
            keep = self.keep if path == self.path else 1
            if keep > 1 and path not in self._trusted and not is_whole(path):
                keep = 1  # the one before it is whole, perhaps
            if id(content) in written:
                keep_older(path, keep)
                copy_file(written[id(content)], path)
            else:
                write_generation(path, content.encode(), keep)
            self._trusted.add(path)
            written[id(content)] = path
            del self._unwritten[path]


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
        metadata, every_minutes, keep, background: as in `Checkpoint`; `keep` is of the last state.

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
        every: int | None = 1,
        every_steps: int | None = None,
        best: bool = True,
        metadata: Mapping[str, Any] | None = None,
        *,
        every_minutes: float | None = None,
        keep: int = 1,
        background: bool = False,
    ) -> None:
        super().__init__(
            Path(folder) / "last.safetensors",
            every,
            every_steps,
            metadata,
            every_minutes=every_minutes,
            keep=keep,
            background=background,
        )
        self.best_path = Path(folder) / "best.safetensors"
        self.monitor, self.mode, self.keep_best = monitor, mode, best
        sign_of(monitor or "loss", mode)
        self.best_value: float | None = None

    def outputs(self) -> Sequence[Path]:
        """Both files; their folder is made."""
        return [*super().outputs(), self.best_path]

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
            self.write(trainer, self.best_path, *([self.path] if self._is_time(trainer) else []))
        else:
            super().on_epoch_end(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best_value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.best_value = state["best"]
