"""`--run NAME`: everything about a run in one folder, runs/NAME."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xpnet.cli.config import as_toml
from xpnet.cli.errors import BadInputError, bad_input
from xpnet.cli.help import nearest
from xpnet.cli.log import LOG, logged
from xpnet.cli.run_page import LIVE
from xpnet.cli.settings import TrainSettings
from xpnet.io.model import Saved, load
from xpnet.io.writing import atomic_write

RUNS, CONFIG, REPORT, CHECKPOINT = "runs", "config.toml", "report.json", "checkpoint.safetensors"
MODEL = "model.safetensors"


def checkpoint_of(text: str) -> str:
    """What `--resume` names: the checkpoint in the folder of a run, by the run's name, or a file."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file, got an empty one, or of a run")
    for folder in (Path(text), Path(RUNS) / text):
        if folder.is_dir() and not (folder / CHECKPOINT).is_file():
            raise argparse.ArgumentTypeError(f"{folder} holds no {CHECKPOINT}, so there is nothing to resume")
        if folder.is_dir():
            return str(folder / CHECKPOINT)
    if not Path(text).exists():
        runs = sorted(path.parent.name for path in Path(RUNS).glob(f"*/{CHECKPOINT}"))
        there = f"{nearest(text, runs)}; runs are {', '.join(runs)}" if runs else f", and {RUNS} has none"
        raise argparse.ArgumentTypeError(f"{text}: no such file, nor such a run{there}")
    return text


def read_model(path: str) -> Saved:
    """The model in a file.

    Raises:
        BadInputError: it is the name of a run, saying which file is its model.
    """
    for folder in (Path(path), Path(RUNS) / path):
        if (folder / MODEL).is_file() and not Path(path).is_file():
            raise BadInputError(f"{path}: the model of that run is {folder / MODEL}")
    return load(path)


def _resumed(settings: TrainSettings) -> str | None:
    """The run that goes on in its own folder."""
    path = None if settings.resume is None else Path(settings.resume)
    own = path is not None and settings.run is None and path.name == CHECKPOINT
    return path.parent.name if path is not None and own and path.parent.parent == Path(RUNS) else None


@contextmanager
def run_folder(settings: TrainSettings, data: str, main: bool) -> Iterator[TrainSettings]:
    """The settings with the files of the run in its folder, but for those that are named.

    Args:
        settings: with the name of the run, or None.
        data: the name of the data.
        main: whether this rank writes.

    Raises:
        BadInputError: there is such a run already, and it is not to be overwritten.
    """
    resumed = _resumed(settings)
    if resumed is not None:
        settings = replace(settings, run=resumed, overwrite=True)
    if settings.run is None:
        if settings.overwrite:
            raise BadInputError("--overwrite is for --run NAME")
        yield settings
        return
    folder = Path(RUNS) / settings.run
    if not settings.run or Path(settings.run).name != settings.run or settings.run in (".", ".."):
        raise BadInputError(f"--run {settings.run!r}: expected the name of a folder in {RUNS}")
    if main and folder.exists() and any(folder.iterdir()) and not settings.overwrite:
        raise BadInputError(f"{folder} holds an earlier run: choose another name, or add --overwrite")
    if main:
        with bad_input():
            folder.mkdir(parents=True, exist_ok=True)
    drawable = find_spec("matplotlib") is not None
    chosen = {
        "save": MODEL,
        "plot": "curves.png" if drawable else "curves.csv",
        "json": REPORT,
        "report": "report.html" if drawable else None,
        "checkpoint": CHECKPOINT if find_spec("safetensors") is not None else None,
    }
    files: dict[str, Any] = {key: str(folder / name) for key, name in chosen.items() if name is not None}
    files |= {"grid": "none", "preview": "none"}
    if settings.live == LIVE:
        settings = replace(settings, live=str(folder / LIVE))
    # what a resumed run was given is no choice of the user: another run has files of its own
    given: dict[str, Any] = {key: None for key, path in files.items() if getattr(settings, key) == path}
    described = as_toml(replace(settings, **given), data).encode()
    files = {key: path for key, path in files.items() if getattr(settings, key) is None}
    config = folder / CONFIG
    with bad_input():
        before = config.read_bytes() if main and config.is_file() else None
    try:
        if main:
            _write(config, described)
        with logged(folder / LOG, resumed is not None) if main else nullcontext():
            yield replace(settings, **files)
    except BadInputError:
        if main and before is not None:  # that of the earlier run, which is still there
            _write(config, before)
        elif main and resumed is None:  # nothing was trained
            config.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
                folder.parent.rmdir()
        raise


def _write(path: Path, content: bytes) -> None:
    with bad_input(), atomic_write(path) as file:
        file.write(content)
