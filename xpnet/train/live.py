"""A page about a run while it goes on: a file that the browser reads again and again, or a cell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.io.writing import atomic_write, check_writable
from xpnet.train.callbacks import Callback
from xpnet.train.evaluation import predict
from xpnet.train.panel import SHOWN, STYLE, Samples, panel
from xpnet.train.progress import in_notebook

if TYPE_CHECKING:
    from xpnet.data import Dataset
    from xpnet.train.run import Run

_SECONDS = 2.0  # between two looks of the browser, and two pages within an epoch


class Live(Callback):
    """Show a run while it goes on: curves, learning rate, update ratios, histograms, verdicts, samples.

    Args:
        path: a file, replaced after each epoch and every two seconds. It needs no server and nothing from
            elsewhere; open it in a browser, which reads it again until the run has ended. Default: the cell
            of the notebook that the run goes on in.
        title: of the page.
        diagnostics: what looks inside (`xpnet.train.Diagnostics`), a callback of the same run before this
            one; default: none.
        samples: a `Dataset` of classes as the model takes it, such as the validation data: the first twelve
            are shown with what the network says of them after each epoch.
        pictures: those samples to look at, (n, H, W) or (n, C, H, W); default: as they are in `samples`.

    A file that cannot be written any more does not end the run. The run's results are the same as without.

    Raises:
        OSError: the file cannot be written, at the beginning.
        ValueError: there are samples without pictures.
        RuntimeError: there is no path, and no notebook, when training begins.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Live, Trainer
    >>> model, path = nn.Linear(64, 10), tempfile.mkdtemp() + "/live.html"
    >>> trainer = Trainer(model, cross_entropy, optim.Adam(model), [Live(path)])
    >>> history = trainer.fit(load_digits(), epochs=2)
    >>> Path(path).read_text().count("<svg")
    2
    """

    main_only = True
    last = True

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        title: str = "training",
        diagnostics: Any = None,
        samples: Dataset | None = None,
        pictures: Any = None,
    ) -> None:
        self.path, self.title, self.diagnostics = None if path is None else fspath(path), title, diagnostics
        self.shows_epochs = path is None
        self._asked: Any = None
        self._handle: Any = None
        self._samples: Samples | None = None
        self._said = ""
        if samples is not None:
            self._asked = samples.x[:SHOWN, ...]
            looks = self._asked if pictures is None else pictures[:SHOWN]
            if looks.ndim not in (3, 4):
                raise ValueError(
                    f"Live: samples of shape {tuple(looks.shape[1:])} are no pictures: give `pictures`"
                )
            self._samples = Samples(looks, samples.y[:SHOWN], samples.class_names)
        if self.path is not None:
            check_writable(self.path)

    def outputs(self) -> Sequence[str]:
        """The page."""
        return [] if self.path is None else [self.path]

    def on_fit_begin(self, trainer: Run) -> None:
        """Show the first page."""
        self._handle = None if self.path is not None else _cell()
        self._said = ""
        self._show(trainer, f"epoch 1 of {trainer.epochs}", True)

    def on_batch_end(self, trainer: Run) -> None:
        """Show it anew, if two seconds have gone."""
        if time.monotonic() - self._shown >= _SECONDS:
            at = f"epoch {trainer.epoch + 1} of {trainer.epochs}, update {trainer.step}"
            loss = trainer.loss_value
            if isinstance(loss, np.ndarray | np.generic):  # of others, the host would wait
                at += f", loss {float(loss):.4g}"
            self._show(trainer, at, True)

    def on_epoch_end(self, trainer: Run) -> None:
        """Ask the network about the samples, and show it anew."""
        if self._samples is not None:
            self._said = self._samples.html(predict(trainer.model, self._asked))
        self._show(trainer, f"{trainer.history.epochs} of {trainer.epochs} epochs", True)

    def on_fit_end(self, trainer: Run) -> None:
        """Show the last one, which is not read again."""
        if self.path is None and self._handle is None:  # training did not begin
            return
        self._show(trainer, f"ended after {trainer.history.epochs} epochs", False)

    def _show(self, trainer: Run, state: str, again: bool) -> None:
        observations = self.diagnostics.observations if self.diagnostics is not None else ()
        findings = self.diagnostics.findings() if self.diagnostics is not None else ()
        shown = panel(self.title, state, trainer.history, observations, findings, self._said)
        self._shown = time.monotonic()
        if self.path is None:
            from IPython.display import HTML

            self._handle.update(HTML(f"<style>{STYLE}</style>{shown}"))
            return
        try:
            with atomic_write(self.path) as file:
                file.write(_page(self.title, shown, again).encode())
            self.missing = None
        except OSError as error:
            self.missing = error


def _page(title: str, shown: str, again: bool) -> str:
    """The panel as a page; `again`: whether the browser is to read it again."""
    refresh = f'<meta http-equiv="refresh" content="{_SECONDS:g}">' if again else ""
    refresh += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{refresh}<link rel="icon" href="data:,"><title>{escape(title)}</title>'
    style = f"<style>body {{ margin: 1.5rem }}{STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}{style}</head>\n<body>{shown}</body></html>\n'


def _cell() -> Any:
    """A place in the cell of the notebook that runs, to be updated.

    Raises:
        RuntimeError: this is no notebook.
    """
    if in_notebook():
        from IPython.display import HTML, display

        handle = display(HTML(""), display_id=True)
        if handle is not None:
            return handle
    raise RuntimeError("Live without a path is for notebooks: give it one, such as Live('live.html')")
