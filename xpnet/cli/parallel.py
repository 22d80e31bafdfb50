"""`--parallel`: one run on all ranks of an mpiexec."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from xpnet.cli.errors import BAD_INPUT, BadInputError, bad_input
from xpnet.cli.settings import TrainSettings
from xpnet.parallel import Communicator, connect

_PATIENCE = 10.0  # seconds that a failed rank waits for rank 0 to end all of them
_NO_FILES: dict[str, Any] = {
    "save": "none",
    "plot": "none",
    "grid": "none",
    "preview": "none",
    "json": None,
    "report": None,
}


def on_ranks(settings: TrainSettings, work: Callable[[TrainSettings, Communicator], int]) -> int:
    """Call `work(settings, communicator)` on every rank; rank 0 alone prints and writes. The exit code.

    Raises:
        BadInputError: MPI is missing, or the process was not started by mpiexec.
    """
    if not settings.parallel:
        return work(settings, Communicator())
    with bad_input():
        group = connect(settings.backend)
    if group.size == 1:
        raise BadInputError(
            "--parallel: there is one process only; start several: "
            "mpiexec -n 2 python -m xpnet train digits --parallel"
        )
    try:
        if group.is_main:
            code = work(settings, group)
        else:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                code = work(replace(settings, **_NO_FILES), group)
    except BadInputError as error:
        print(f"xpnet train: error: {error}", file=sys.stderr)
        group.abort(BAD_INPUT)
        raise
    if code:
        if not group.is_main:
            time.sleep(_PATIENCE)  # mpiexec kills all once one rank ends with a code: rank 0 says why, first
        group.abort(code)  # others may be waiting within a step
    return code
