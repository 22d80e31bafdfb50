"""`xpnet lab`."""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

from xpnet.cli import output
from xpnet.cli.data import choose_backend
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.io.files import atomic_write, check_writable
from xpnet.lab import Experiment, Result, catalogue
from xpnet.lab.gallery import as_page, as_text


def lab(options: argparse.Namespace) -> int:
    """List the experiments, or run some; the exit code, 1 if a figure differs."""
    known = catalogue()
    if options.name is None:
        _list(known)
        return OK
    if options.name != "all" and options.name not in known:
        close = [name for name in known if options.name in name]
        hint = f"; did you mean {' or '.join(close)}?" if close else "; `xpnet lab` lists them"
        raise BadInputError(f"no experiment {options.name!r}{hint}")
    chosen = known if options.name == "all" else {options.name: known[options.name]}
    with bad_input():
        choose_backend(options)
        _check_folder(options.out)
    found: dict[str, tuple[Experiment, Result]] = {}
    start = time.perf_counter()
    for name, experiment in chosen.items():
        begin = time.perf_counter()
        found[name] = experiment, experiment()
        if len(chosen) == 1:
            print(as_text(*found[name]))
        else:
            print(f"{name:<32}{found[name][1].verdict:<14}{time.perf_counter() - begin:6.1f} s", flush=True)
    if options.out is not None:
        with bad_input():
            _write(Path(options.out), found)
    wrong = [name for name, (_, result) in found.items() if not result.ok]
    if len(chosen) > 1:
        print(f"{len(found)} experiments in {time.perf_counter() - start:.0f} s, {len(wrong)} differ")
    for name in wrong:
        for check in found[name][1].checks:
            if not check.ok:
                print(f"DIFFERS: {name}: {check.what}")
    return FAILED if wrong else OK


def _list(known: dict[str, Experiment]) -> None:
    width = max(map(len, known), default=0) + 2
    for name, experiment in known.items():
        print(f"{experiment.deck:<12}{name:<{width}}{experiment.item}")


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
    facts = {
        name: {
            "deck": experiment.deck,
            "item": experiment.item,
            "verdict": result.verdict,
            "says": result.says,
            "checks": [
                {"what": c.what, "ours": str(c.ours.tolist()), "verdict": c.verdict, "slip": c.slip}
                for c in result.checks
            ],
        }
        for name, (experiment, result) in found.items()
    }
    output.write_json(str(folder / "lab.json"), facts)
    print(f"wrote {folder / 'index.html'}")
