"""`xpnet doctor`."""

from __future__ import annotations

import argparse

from xpnet import functional as F
from xpnet import get_backend
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose
from xpnet.cli.errors import FAILED, OK, bad_input
from xpnet.cli.model import versions
from xpnet.cli.setup import check_options, prepare
from xpnet.diagnostics import worst
from xpnet.diagnostics.doctor import examine
from xpnet.io.files import check_writable


def doctor(options: argparse.Namespace) -> int:
    """Examine data, network and optimizer, print a line for each finding; the exit code, 1 if one fails."""
    name = choose(options, "digits")
    check_options(options, name, options.model or SOURCES[name].model)
    with bad_input():
        if options.json is not None:
            check_writable(options.json)
    setup = prepare(options, name)
    rate = setup.optimizer.param_groups[0]["lr"]
    print(
        f"{name}, network {setup.describe()}, {options.optimizer}, learning rate {rate:g}, "
        f"batch {setup.loader.batch_size}, seed {options.seed}, on {get_backend()}\n"
    )
    findings = []
    data = setup.loader, setup.validation, setup.test
    for finding in examine(setup.model, F.cross_entropy, *data, setup.optimizer, options.steps):
        print(finding, flush=True)
        findings.append(finding)
    counts = {status: sum(f.status == status for f in findings) for status in ("PASS", "WARN", "FAIL")}
    print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if options.json is not None:
        with bad_input():
            facts = {"data": name, "network": setup.describe(), "seed": options.seed, "versions": versions()}
            output.write_json(
                options.json,
                {**facts, "status": worst(findings), "findings": [f.as_dict() for f in findings]},
            )
    return FAILED if worst(findings) == "FAIL" else OK
