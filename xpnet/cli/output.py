"""Files that the commands write: checked before the work, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.cli.errors import FAILED, OK, BadInputError
from xpnet.data.table import is_number
from xpnet.io.writing import atomic_write
from xpnet.train import History

_PICTURES = (".png", ".svg", ".pdf")
_PAUSES = (0.5, 2.0)  # seconds before a write is tried again


class Writes:
    """What is written at the end of a run: one that fails is tried again, and does not keep others from it.

    Attributes:
        missing: what is not there, and why.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []

    def attempt(self, write: Callable[[], object]) -> bool:
        """Call what writes a file; whether it is there."""
        for pause in (*_PAUSES, None):
            try:
                write()
            except OSError as error:
                if pause is None:
                    self.missing.append(str(error))
                else:
                    time.sleep(pause)
            else:
                return True
        return False

    def finish(self, command: str, code: int) -> int:
        """Say what is missing; the exit code."""
        for error in self.missing:
            print(f"xpnet {command}: error: {error}", file=sys.stderr)
        return code or (FAILED if self.missing else OK)


def plot_path(asked: str | None, default: str) -> str | None:
    """Where the curves go: a picture if matplotlib is there, otherwise numbers.

    Raises:
        BadInputError: a picture was asked for without matplotlib, or in an unknown format.
    """
    if asked == "none":
        return None
    drawable = find_spec("matplotlib") is not None
    if asked is None:
        return default + (".png" if drawable else ".csv")
    ending = Path(asked).suffix.lower()
    if ending not in (*_PICTURES, ".csv"):
        raise BadInputError(f"--plot {asked}: expected a name that ends in .png, .svg, .pdf or .csv")
    if ending != ".csv" and not drawable:
        raise BadInputError(
            f'--plot {asked} needs matplotlib: pip install "xpnet[plot]", or name a .csv file'
        )
    return asked


def write_curves(path: str, history: History, title: str) -> None:
    """Losses, and the validation accuracy, by epoch."""
    if Path(path).suffix.lower() == ".csv":
        keys = list(history)
        rows = ([epoch, *row.values()] for epoch, row in enumerate(history.rows(), 1))
        write_csv(path, ["epoch", *keys], rows)
        return
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    epochs = np.arange(1, history.epochs + 1)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    measured = "val_accuracy" in history
    loss, *others = figure.subplots(1, 1 + measured, squeeze=False)[0]
    loss.plot(epochs, history["train_loss"], label="training")
    loss.plot(epochs, history["val_loss"], label="validation")
    loss.set(xlabel="epoch", ylabel="cross-entropy" if measured else "mean squared error", ylim=(0, None))
    loss.legend()
    for accuracy in others:
        accuracy.plot(epochs, history["val_accuracy"], color="C1")
        accuracy.set(xlabel="epoch", ylabel="validation accuracy")
    figure.suptitle(title)
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=150)


def picture_path(asked: str | None, default: str, option: str, wanted: bool) -> str | None:
    """Where a picture goes; by default nowhere without matplotlib, or if `wanted` is false.

    Raises:
        BadInputError: it was asked for without matplotlib, or in an unknown format.
    """
    drawable = find_spec("matplotlib") is not None
    if asked == "none" or (asked is None and not (wanted and drawable)):
        return None
    if asked is None:
        return default
    if Path(asked).suffix.lower() not in _PICTURES:
        raise BadInputError(f"{option} {asked}: expected a name that ends in .png, .svg or .pdf")
    if not drawable:
        raise BadInputError(f'{option} {asked} needs matplotlib: pip install "xpnet[plot]"')
    return asked


def write_pictures(
    path: str, rows: Sequence[Sequence[np.ndarray] | np.ndarray], titles: Sequence[Sequence[str]]
) -> None:
    """A grid of pictures, (C, H, W) of one or three channels with values 0 to 1, each with its title."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.2 * columns, 1.4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            shown = np.clip(picture, 0, 1).transpose(1, 2, 0)
            axes[i, j].imshow(shown[..., 0] if shown.shape[2] == 1 else shown, cmap="gray", vmin=0, vmax=1)
            axes[i, j].set_title(titles[i][j], fontsize=8)
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=120)


def write_csv(path: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str | None:
    """A table with a header; a text that a spreadsheet would compute gets an apostrophe, which it hides.

    Returns:
        The first such text; None if there is none.
    """
    text, first = io.StringIO(), None
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        first = first or next((field for field in row if _is_formula(field)), None)
        writer.writerow([f"'{field}" if _is_formula(field) else field for field in row])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
    return first


def _is_formula(field: Any) -> bool:
    """Whether a spreadsheet would compute it; a sign alone is a text there, too."""
    starts = isinstance(field, str) and field.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return starts and len(field) > 1 and not is_number(field)


def write_json(path: str, value: Any) -> None:
    """JSON that every reader accepts: no NaN, no infinity."""
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def confusion_table(matrix: np.ndarray) -> str:
    """The matrix with its labels; a dot is a zero."""
    width = max(len(str(matrix.max())), len(str(len(matrix)))) + 2
    lines = [" " * 6 + "".join(f"{k:{width}d}" for k in range(len(matrix)))]
    for k, row in enumerate(matrix):
        lines.append(f"{k:6d}" + "".join(f"{n if n else '.':>{width}}" for n in row.tolist()))
    return "\n".join(lines)
