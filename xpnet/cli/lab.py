"""`xpnet lab`."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from xpnet.cli import output
from xpnet.cli.data import choose_backend
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.help import nearest
from xpnet.cli.options import add_backend
from xpnet.cli.settings import BackendSettings
from xpnet.data import load_cifar10
from xpnet.io.writing import atomic_write, check_writable
from xpnet.lab import Experiment, Result, catalogue
from xpnet.lab.gallery import as_page, as_text


@dataclass(frozen=True, kw_only=True)
class Settings(BackendSettings):
    """The options of `xpnet lab`."""

    name: str | None = None
    data: str | None = None
    out: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet lab`."""
    parser.description = (
        "List the experiments, or run one of them, or all: the deck's figures, ours and the "
        "exact ones; exit code 1 if one differs."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an experiment, or all (default: list them)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="where CIFAR-10 is, for the experiments on it; without a NAME: run these",
    )
    parser.add_argument("--out", metavar="DIR", help="write a page with every picture and table")
    add_backend(parser)


def run(settings: Settings) -> int:
    """List the experiments, or run some; the exit code, 1 if a figure differs."""
    known = catalogue()
    if settings.name is None and settings.data is None:
        _list(known)
        return OK
    chosen = _chosen(settings, known)
    with bad_input():
        choose_backend(settings)
        _check_folder(settings.out)
        if settings.data is not None:
            load_cifar10(settings.data, dtype="uint8")  # whatever is wrong with it is said now
    found: dict[str, tuple[Experiment, Result]] = {}
    start = time.perf_counter()
    for name, experiment in chosen.items():
        begin = time.perf_counter()
        found[name] = experiment, experiment(settings.data)
        if len(chosen) == 1:
            print(as_text(*found[name]))
        else:
            print(f"{name:<32}{found[name][1].verdict:<14}{time.perf_counter() - begin:6.1f} s", flush=True)
    if settings.out is not None:
        with bad_input():
            _write(Path(settings.out), found)
    wrong = [name for name, (_, result) in found.items() if not result.ok]
    if len(chosen) > 1:
        print(f"{len(found)} experiments in {time.perf_counter() - start:.0f} s, {len(wrong)} differ")
    for name in wrong:
        for check in found[name][1].checks:
            if not check.ok:
                print(f"DIFFERS: {name}: {check.what}")
    return FAILED if wrong else OK


def _chosen(settings: Settings, known: dict[str, Experiment]) -> dict[str, Experiment]:
    """One, all that the data allow, or, if only the data are given, those on them."""
    if settings.name is None:
        return {name: e for name, e in known.items() if e.on_cifar10}
    if settings.name == "all":
        return {name: e for name, e in known.items() if settings.data is not None or not e.on_cifar10}
    if settings.name not in known:
        close = [name for name in known if settings.name in name]
        near = nearest(settings.name, known) or "; `xpnet lab` lists them"
        hint = f"; did you mean {' or '.join(close)}?" if close else near
        raise BadInputError(f"no experiment {settings.name!r}{hint}")
    if known[settings.name].on_cifar10 and settings.data is None:
        raise BadInputError(f"{settings.name} needs CIFAR-10; give the folder that has it with --data DIR")
    return {settings.name: known[settings.name]}


def _list(known: dict[str, Experiment]) -> None:
    width = max(map(len, known), default=0) + 2
    for name, experiment in known.items():
        needs = " (--data DIR)" if experiment.on_cifar10 else ""
        print(f"{experiment.deck:<12}{name:<{width}}{experiment.item}{needs}")


def _check_folder(folder: str | None) -> None:
    if folder is None:
        return
    if find_spec("matplotlib") is None:
        raise ImportError('--out draws pictures with matplotlib: pip install "xpnet[plot]"')
    Path(folder).mkdir(parents=True, exist_ok=True)
    check_writable(Path(folder) / "index.html")


def _write(folder: Path, found: dict[str, tuple[Experiment, Result]]) -> None:
    """The page, and the figures as JSON."""
    with atomic_write(folder / "index.html") as file:
        file.write(as_page(found).encode())
    content = {
        name: {
            "deck": experiment.deck,
            "item": experiment.item,
            "verdict": result.verdict,
            "says": result.says,
            "checks": [c.record() for c in result.checks],
        }
        for name, (experiment, result) in found.items()
    }
    output.write_json(str(folder / "lab.json"), content)
    print(f"wrote {folder / 'index.html'}")
