"""`--parallel`: one run on all ranks of an mpiexec, which end together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from xpnet.cli.errors import FAILED, BadInputError, bad_input
from xpnet.cli.settings import TrainSettings
from xpnet.parallel import Communicator, connect, end_together
from xpnet.parallel.communicator import ranks_started
from xpnet.parallel.leaving import Leaving

_SAVING = 4.0  # seconds that an interrupted rank leaves to rank 0, which has most likely been so, too
_NO_FILES: dict[str, Any] = {
    "save": "none",
    "plot": "none",
    "grid": "none",
    "preview": "none",
    "json": None,
    "report": None,
    "run": None,
    "overwrite": False,
}


def joined() -> Leaving | None:
    """Join the other ranks before anything can fail on this one alone: they wait for all to join.

    Returns:
        What ends all ranks; None without mpiexec, or without MPI.
    """
    try:
        return end_together() if ranks_started() > 1 else None
    except ImportError:  # the command says so
        return None


def on_ranks(settings: TrainSettings, work: Callable[[TrainSettings, Communicator], int]) -> int:
    """Call `work(settings, communicator)` on every rank; rank 0 alone prints and writes. The exit code.

    Raises:
        BadInputError: MPI is missing, or the process was not started by mpiexec, or in several by mistake.
    """
    started = ranks_started()
    if not settings.parallel and started == 1:
        return work(settings, Communicator())
    if not settings.parallel:
        raise BadInputError(
            f"mpiexec has started {started} processes, which would all train and write the same; add "
            "--parallel, and they train one network together"
        )
    with bad_input():
        group = connect(settings.backend)
    if group.size == 1:
        raise BadInputError(
            "--parallel: there is one process only; start several: "
            "mpiexec -n 2 python -m xpnet train digits --parallel"
        )
    if group.is_main:
        return work(settings, group)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        code = work(replace(settings, **_NO_FILES), group)
    if code == FAILED:
        group.barrier()  # it failed on all of them: rank 0 still writes what there is, and then ends all
    elif code:
        time.sleep(_SAVING)
    return code
