"""`xpnet runs`."""

from __future__ import annotations

import argparse
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.cli import output
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.help import nearest
from xpnet.cli.run_folder import CHECKPOINT, CONFIG, REPORT, RUNS
from xpnet.cli.settings import Settings as Base
from xpnet.core.reading import printable, read_file, reading
from xpnet.io.writing import atomic_write, check_writable
from xpnet.train import load_checkpoint


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """The options of `xpnet runs`."""

    names: tuple[str, ...] = ()
    folder: str = RUNS
    plot: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet runs`."""
    parser.description = (
        "Compare the runs of `xpnet train --run NAME`: a line each, by task "
        "and data, the best test first; unfinished ones, which were killed or are still training, last."
    )
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
    rows.sort(key=_order)  # scores of several tasks, or data, do not compare
    for row in rows:
        row["test"] = " ".join(_text(part) for part in (row.pop("measure"), row["test"]) if part is not None)
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
    known = sorted({path.parent.name for file in (REPORT, CONFIG) for path in folder.glob(f"*/{file}")})
    if not known:
        raise BadInputError(f"{folder}: no runs; xpnet train digits --run NAME makes one")
    gone = [name for name in names if name not in known]
    if gone:
        near = nearest(gone[0], known)
        raise BadInputError(f"{folder}: no run {gone[0]!r}{near}; there are {', '.join(known)}")
    reports = {}
    for name in names or known:
        path = folder / name / REPORT
        if not path.is_file():
            reports[name] = _unfinished(folder / name)
            continue
        with reading(path, "the report of a run"):
            report = json.loads(read_file(path))
            _row(name, report)
            reports[name] = report
    return reports


def _unfinished(folder: Path) -> dict[str, Any]:
    """What is known of a run that was killed, failed, or goes on: its options and its last checkpoint."""
    with reading(folder / CONFIG, "the options of a run"):
        options = tomllib.loads(read_file(folder / CONFIG).decode())
    history: dict[str, list[float]] = {}
    if (folder / CHECKPOINT).is_file():
        with reading(folder / CHECKPOINT, "a checkpoint of a run"):
            saved = load_checkpoint(folder / CHECKPOINT)
            command, history = saved["metadata"]["command"], saved["state"]["history"]
            options |= {key: value for key, value in command.items() if value is not None}
    losses = history.get("val_loss", [])
    finite = [loss for loss in losses if np.isfinite(loss)]
    return {
        "kind": options.get("model", "mlp"),
        "model": {"layers": options["layers"]}
        if "layers" in options
        else {"width": options.get("width", "")},
        "data": options["data"],
        "task": "unfinished",
        "training": {
            "optimizer": options.get("optimizer", "adam"),
            "lr": options.get("lr"),
            "epochs": len(losses),
            "best_epoch": losses.index(min(finite)) + 1 if finite else None,
        },
        "history": {"val_loss": losses},
    }


_MEASURES = {"classification": "accuracy", "regression": "r2", "reconstruction": "r2", "text": "bits"}
_SMALL = ("bits",)  # of which fewer are better


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """Runs of a task and data together, the best test first; those without one, and unfinished ones, last."""
    score = row["test"]
    better = None if score is None else score if row["measure"] in _SMALL else -score
    group = (row["measure"] == "unfinished", row["measure"] or "", row["data"])
    return (*group, better is None, better or 0.0, row["run"])


def _row(name: str, report: dict[str, Any]) -> dict[str, Any]:
    training, history, network = report["training"], report["history"], report["model"]
    best, test, lr = training["best_epoch"], report.get("test", {}), training["lr"]
    task = report.get("task", "classification")  # of which an older version's reports are
    measure = _MEASURES.get(task, task)
    score = test.get(measure)
    layers = "-".join(map(str, network["layers"])) if "layers" in network else f"width {network['width']}"
    return {
        "run": printable(name),
        "data": printable(report["data"]),
        "network": f"{report['kind']} {layers}".removesuffix(" width "),
        "optimizer": str(training["optimizer"]),
        "lr": None if lr is None else float(lr),
        "epochs": int(training["epochs"]),
        "best": None if best is None else int(best),
        "val loss": None if best is None else float(history["val_loss"][best - 1]),
        "test": None if score is None else float(score),
        "measure": printable(measure) if score is not None or task == "unfinished" else "not tested",
    }


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(path: str, reports: dict[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, report in reports.items():
        losses = report["history"].get("val_loss", [])
        axis.plot(np.arange(1, len(losses) + 1), losses, label=name.replace("$", r"\$"))
    axis.set(xlabel="epoch", ylabel="validation loss", yscale="log")
    axis.legend(fontsize=8)
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=120)
