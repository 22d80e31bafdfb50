"""`xpnet train --report`: what the page says about a run of the command line."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import to_numpy
from xpnet.cli.errors import BadInputError
from xpnet.cli.pictures import visible
from xpnet.cli.settings import TrainSettings
from xpnet.cli.setup import Setup
from xpnet.report.report import check_report
from xpnet.train import Diagnostics, Trainer, write_report
from xpnet.train.panel import SHOWN

LIVE = "live.html"
"""The page of a run that goes on, unless another is named."""


def show(path: str) -> None:
    """Say where a page is, and open it, if a person is at the terminal."""
    address = Path(path).resolve().as_uri()
    print(f"live: {address}")
    if sys.stdout.isatty():
        webbrowser.open(address)


def live_samples(setup: Setup) -> dict[str, Any]:
    """Some of the validation set, to be shown with what the network says; nothing of other data."""
    if setup.task != "classification" or setup.table is not None:
        return {}
    whole = len(setup.validation)
    some = setup.validation.subset(np.linspace(0, whole - 1, min(SHOWN, whole)).astype(int))  # of all classes
    pictures = to_numpy(some.x).reshape(-1, *setup.pictures.x.shape[1:])
    return {"samples": some, "pictures": visible(pictures, setup.scaler)}


def report_path(asked: str | None, option: str = "--report", check: bool = True) -> str | None:
    """Where the page goes, if it is wanted and can be written; `check`: whether it needs matplotlib.

    Raises:
        BadInputError: the name does not end in .html.
        ImportError: matplotlib is missing.
        OSError: the path cannot be written.
    """
    if asked is None:
        return None
    if Path(asked).suffix.lower() not in (".html", ".htm"):
        raise BadInputError(f"{option} {asked}: expected a name that ends in .html")
    if check:
        check_report(asked)
    return asked


def write_page(
    path: str | None,
    settings: TrainSettings,
    setup: Setup,
    trainer: Trainer,
    diagnostics: Diagnostics,
    scores: np.ndarray | None,
    failure: str,
) -> None:
    """The run as a page; with the scores of the test set, if it was used."""
    if path is None:
        return
    result: dict[str, Any] = {}
    if scores is not None:
        result = {
            "scores": scores,
            "targets": setup.targets(setup.test),
            "class_names": setup.training.class_names,
        }
        if setup.table is None:
            pictures = to_numpy(setup.test.x).reshape(-1, *setup.pictures.x.shape[1:])
            result["pictures"] = visible(pictures, setup.scaler)
    parts = {"training": setup.training, "validation": setup.validation, "test": setup.test}
    write_report(
        path,
        trainer.history,
        title=f"{setup.name}, network {setup.describe()}",
        metadata={
            "command": "xpnet " + shlex.join(settings.argv),
            "seed": settings.seed,
            "samples": ", ".join(f"{len(part)} {name}" for name, part in parts.items()),
            "optimizer": f"{settings.optimizer}, schedule {settings.schedule}, "
            f"batch {setup.loader.batch_size}",
            "ended": failure or "as planned",
        },
        observations=diagnostics.observations,
        findings=diagnostics.findings(),
        **result,
    )
    print(f"saved the page about this run in {path}")
