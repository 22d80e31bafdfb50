"""A line an epoch, and a bar over its batches where there is a terminal and tqdm."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.train.callbacks import Callback

if TYPE_CHECKING:
    from xpnet.train.run import Run


class Progress(Callback):
    """Print the history epoch by epoch.

    Args:
        bar: show a bar over the batches of the running epoch; default: if standard error is a terminal and
            tqdm is there (`pip install "xpnet[progress]"`).

    Raises:
        ImportError: a bar was asked for and tqdm is missing.
    """

    main_only = True
    shows_epochs = True

    def __init__(self, bar: bool | None = None) -> None:
        found = find_spec("tqdm") is not None
        if bar and not found:
            raise ImportError('the progress bar needs tqdm: pip install "xpnet[progress]"')
        self.bar = (found and _on_a_terminal()) if bar is None else bar
        self._bar: Any = None
        self._printing = True

    def on_epoch_begin(self, trainer: Run) -> None:
        """Start the bar."""
        if self.bar:
            if in_notebook():
                from tqdm.auto import tqdm
            else:
                from tqdm import tqdm

            self._seen, self._stride = 0, max(1, (trainer.batches or 100) // 50)
            title = f"epoch {trainer.epoch + 1}/{trainer.epochs}"
            self._bar = tqdm(total=trainer.batches, desc=title, unit="batch", leave=False)

    def on_batch_end(self, trainer: Run) -> None:
        """Move the bar, about fifty times an epoch."""
        if self._bar is not None:
            self._seen += 1
            if self._seen % self._stride == 0:
                self._bar.update(self._stride)
                loss = trainer.loss_value
                if isinstance(loss, np.ndarray | np.generic) and hasattr(self._bar, "set_postfix"):
                    self._bar.set_postfix(loss=f"{float(loss):.4f}")  # of others, the host would wait

    def on_epoch_end(self, trainer: Run) -> None:
        """Print the line."""
        self._close()
        row = trainer.history.last()
        numbers = "  ".join(
            f"{key.replace('_', ' ')} {row[key]:.4f}" for key in row if key not in ("lr", "seconds")
        )
        end = f"lr {row['lr']:.2g}  {row['seconds']:.2f} s"
        try:
            if self._printing:
                print(f"epoch {trainer.epoch + 1:3d}/{trainer.epochs}  {numbers}  {end}", flush=True)
        except (OSError, ValueError) as error:  # closed, full, or in an encoding without these letters
            self._printing = False
            warnings.warn(f"Progress: nothing more is printed: {error}", stacklevel=2)

    def on_fit_end(self, trainer: Run) -> None:
        """Remove a bar that an interruption left."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


_silent: ContextVar[bool] = ContextVar("xpnet_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, trainers print nothing that they were not asked for.

    >>> from xpnet.train.progress import quiet
    >>> with quiet():
    ...     pass
    """
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def is_read() -> bool:
    """Whether what is printed goes to someone: a notebook, a terminal, a pipe or a file, outside of `quiet`.

    An object that the program has put in the place of its standard output collects what it prints itself.
    """
    if _silent.get():
        return False
    try:
        return in_notebook() or sys.stdout.fileno() >= 0
    except (AttributeError, OSError, ValueError):  # none, closed, or such an object
        return False


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook; a program that only starts one has its packages, too."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _on_a_terminal() -> bool:
    """Whether standard error is one; services and notebooks have none, a closed one, or another object."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, OSError, ValueError):
        return False
