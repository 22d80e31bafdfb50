"""`xpnet runs`."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.cli import output
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.run_folder import REPORT, RUNS
from xpnet.cli.settings import Settings as Base
from xpnet.core.reading import printable, read_file, reading
from xpnet.io.writing import atomic_write, check_writable


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """The options of `xpnet runs`."""

    names: tuple[str, ...] = ()
    folder: str = RUNS
    plot: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet runs`."""
    parser.description = "Compare the runs of `xpnet train --run NAME`: a line each, the best test first."
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--folder", metavar="DIR", help="where they are (default: runs)")
    parser.add_argument("--plot", metavar="FILE", help="their validation losses, .png .svg or .pdf")


def run(settings: Settings) -> int:
    """Print a table, and write a picture; the exit code."""
    picture = output.picture_path(settings.plot, "", "--plot", False)
    with bad_input():
        if picture is not None:
            check_writable(picture)
        found = _reports(Path(settings.folder), tuple(settings.names))
    rows = [_row(name, report) for name, report in found.items()]
    rows.sort(key=lambda row: (row["test"] is None, -(row["test"] or 0.0)))
    header = ("run", "data", "network", "optimizer", "lr", "epochs", "best", "val loss", "test")
    cells = [header, *(tuple(map(_text, row.values())) for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(header))]
    for line in cells:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    if picture is not None:
        with bad_input():
            _plot(picture, found)
        print(f"saved the curves in {picture}")
    return OK


def _reports(folder: Path, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """By the names of their folders.

    Raises:
        BadInputError: there are none, or not such.
    """
    known = sorted(path.parent.name for path in folder.glob(f"*/{REPORT}"))
    if not known:
        raise BadInputError(f"{folder}: no runs; xpnet train digits --run NAME makes one")
    gone = [name for name in names if name not in known]
    if gone:
        raise BadInputError(f"{folder}: no run {gone[0]!r}; there are {', '.join(known)}")
    reports = {}
    for name in names or known:
        path = folder / name / REPORT
        with reading(path, "the report of a run"):
            report = json.loads(read_file(path))
            _row(name, report)
            reports[name] = report
    return reports


def _row(name: str, report: dict[str, Any]) -> dict[str, Any]:
    training, history, network = report["training"], report["history"], report["model"]
    best = training["best_epoch"]
    test = report.get("test", {})
    score = test.get("accuracy", test.get("r2"))
    layers = "-".join(map(str, network["layers"])) if "layers" in network else f"width {network['width']}"
    return {
        "run": printable(name),
        "data": printable(report["data"]),
        "network": f"{report['kind']} {layers}",
        "optimizer": str(training["optimizer"]),
        "lr": float(training["lr"]),
        "epochs": int(training["epochs"]),
        "best": int(best),
        "val loss": float(history["val_loss"][best - 1]),
        "test": None if score is None else float(score),
    }


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(path: str, reports: dict[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, report in reports.items():
        losses = report["history"]["val_loss"]
        axis.plot(np.arange(1, len(losses) + 1), losses, label=name.replace("$", r"\$"))
    axis.set(xlabel="epoch", ylabel="validation loss", yscale="log")
    axis.legend(fontsize=8)
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=120)
