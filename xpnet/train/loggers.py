"""The history as it grows, in files that other programs read."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.io.writing import as_written_to, atomic_write
from xpnet.train.callbacks import Callback

if TYPE_CHECKING:
    from xpnet.train.history import History
    from xpnet.train.run import Run


class CSVLogger(Callback):
    """Write a row for each epoch: its number from 1, then the columns of the history.

    Args:
        path: the file. A new run replaces it when its first epoch ends; a resumed run first writes the epochs
            of its checkpoint again, so that no row is missing or there twice, then appends.

    A row is on the disk when its epoch has ended. Numbers are written exactly. If a write fails, on a full
    disk for instance, it is tried again; then a warning says so, training goes on, and the next epoch writes
    all rows. `missing` is the error for as long as some are not there.
    """

    last = True
    main_only = True

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path, self._begun = Path(path), False

    def outputs(self) -> Sequence[Path]:
        """The file."""
        return [self.path]

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        self._begun, self.missing = False, None

    def on_epoch_end(self, trainer: Run) -> None:
        """Write the row."""
        try:
            try:
                self._write(trainer.history, whole=not self._begun)
            except OSError:  # which may have left half a row
                self._write(trainer.history, whole=True)
        except OSError as error:
            self._begun, self.missing = False, as_written_to(self.path, error)
            warnings.warn(f"{self.missing}; training goes on, the next epoch writes all rows", stacklevel=2)
        else:
            self._begun, self.missing = True, None

    def on_fit_end(self, trainer: Run) -> None:
        """Try once more, if the last epoch could not be written."""
        if self.missing is not None:
            self.on_epoch_end(trainer)

    def _write(self, history: History, whole: bool) -> None:
        if whole:
            with atomic_write(self.path) as file:
                rows = [[epoch, *row.values()] for epoch, row in enumerate(history.rows(), 1)]
                file.write(_lines(["epoch", *history], *rows))
            return
        with self.path.open("ab") as file:
            file.write(_lines([history.epochs, *history.last().values()]))
            file.flush()
            os.fsync(file.fileno())


def _lines(*rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class TensorBoard(Callback):
    """Write the history for TensorBoard, one point an epoch: `tensorboard --logdir FOLDER`.

    Args:
        folder: made if it is missing. A resumed run hides the points of epochs that are done again.

    Raises:
        ImportError: tensorboardX is missing (`pip install "xpnet[tensorboard]"`).
    """

    last = True
    main_only = True

    def __init__(self, folder: str | PathLike[str] = "runs") -> None:
        if find_spec("tensorboardX") is None:
            raise ImportError('writing for TensorBoard needs tensorboardX: pip install "xpnet[tensorboard]"')
        self.folder = Path(folder)
        self._writer: Any = None

    def on_epoch_end(self, trainer: Run) -> None:
        """Write the numbers of the epoch, to the disk."""
        epoch = trainer.history.epochs
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=epoch)
        for key, value in trainer.history.last().items():
            self._writer.add_scalar(key, value, epoch)
        self._writer.flush()

    def on_fit_end(self, trainer: Run) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
