"""`--parallel`: one run on all ranks of an mpiexec."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from xpnet.cli.errors import BAD_INPUT, BadInputError, bad_input
from xpnet.parallel import Communicator, connect

_FILES = {"save": "none", "plot": "none", "grid": "none", "preview": "none", "json": None, "report": None}


def on_ranks(options: argparse.Namespace, work: Callable[[Communicator], int]) -> int:
    """Call `work(communicator)` on every rank; rank 0 alone prints and writes. The exit code.

    Raises:
        BadInputError: MPI is missing, or the process was not started by mpiexec.
    """
    if not options.parallel:
        return work(Communicator())
    with bad_input():
        group = connect(options.backend)
    if group.size == 1:
        raise BadInputError(
            "--parallel: there is one process only; start several: "
            "mpiexec -n 2 python -m xpnet train digits --parallel"
        )
    try:
        if group.is_main:
            code = work(group)
        else:
            vars(options).update(_FILES)
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                code = work(group)
    except BadInputError as error:
        print(f"xpnet {options.command}: error: {error}", file=sys.stderr)
        group.abort(BAD_INPUT)
        raise
    if code and group.is_main:  # others may be waiting within a step
        group.abort(code)
    return code
