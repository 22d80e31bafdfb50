"""`xpnet doctor`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from xpnet import get_backend
from xpnet.cli import output
from xpnet.cli.colour import painted
from xpnet.cli.data import SOURCES, choose
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.model import CODES, TEXT, versions
from xpnet.cli.options import add_dataset, add_network, updates
from xpnet.cli.settings import NetworkSettings
from xpnet.cli.setup import check_options, prepare, say_notes
from xpnet.diagnostics import worst
from xpnet.diagnostics.doctor import examine
from xpnet.io.writing import check_writable


@dataclass(frozen=True, kw_only=True)
class Settings(NetworkSettings):
    """The options of `xpnet doctor`."""

    steps: int = 200
    json: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet doctor`."""
    parser.description = (
        "Examine data, network and optimizer: a line for each diagnostic, and advice; "
        "exit code 1 if one fails."
    )
    add_dataset(parser)
    add_network(parser)
    parser.add_argument(
        "--steps", type=updates, metavar="N", help="updates of the short training run (default: 200)"
    )
    parser.add_argument("--json", metavar="FILE", help="the findings")


def run(settings: Settings) -> int:
    """Examine data, network and optimizer, print a line for each finding; the exit code, 1 if one fails."""
    name = choose(settings, "digits")
    kind = settings.model or SOURCES[name].model
    check_options(settings, name, kind)
    if kind in (*TEXT, *CODES):
        raise BadInputError(f"xpnet doctor examines networks of classes and numbers; this one is a {kind}")
    with bad_input():
        if settings.json is not None:
            check_writable(settings.json)
    setup = prepare(settings, name)
    say_notes(setup.table)
    rate = setup.optimizer.param_groups[0]["lr"]
    print(
        f"{name}, network {setup.describe()}, {settings.optimizer}, learning rate {rate:g}, "
        f"batch {setup.loader.batch_size}, seed {settings.seed}, on {get_backend()}\n"
    )
    findings = []
    data = setup.loader, setup.validation, setup.test
    for finding in examine(setup.model, setup.loss, *data, setup.optimizer, settings.steps):
        print(painted(str(finding)), flush=True)
        findings.append(finding)
    counts = {status: sum(f.status == status for f in findings) for status in ("PASS", "WARN", "FAIL")}
    print("\n" + painted(", ".join(f"{count} {status}" for status, count in counts.items())))
    if settings.json is not None:
        with bad_input():
            metadata = {
                "data": name,
                "network": setup.describe(),
                "seed": settings.seed,
                "versions": versions(),
            }
            output.write_json(
                settings.json,
                {**metadata, "status": worst(findings), "findings": [f.as_dict() for f in findings]},
            )
    return FAILED if worst(findings) == "FAIL" else OK
