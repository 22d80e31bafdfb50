"""How ranks leave: all together, or one ends all, for the others would wait for it for ever."""

from __future__ import annotations

import atexit
import sys
import time
import traceback
from types import TracebackType
from typing import Any

import numpy as np

_GOODBYE = 32_001  # a tag that every MPI has and nobody else uses
_FORWARDING = 0.1  # seconds in which mpiexec passes on what a rank has written, before it kills the rank
_PATIENCE = 1.0  # seconds that a failed rank leaves to rank 0
_TOGETHER = 2.0  # seconds in which ranks that break off one training all come to their end


class RanksDifferError(ValueError):
    """Ranks that are to train one model would train different ones, or have done so."""


class Leaving:
    """Sees to it that no rank ends alone: neither by an error, nor by `sys.exit`, nor by its last line.

    Args:
        mpi: the module `mpi4py.MPI`.

    Attributes:
        busy: whether the ranks are within a training, where each waits for all.
    """

    def __init__(self, mpi: Any) -> None:
        self.mpi, self.world, self.busy = mpi, mpi.COMM_WORLD, False
        self.rank, self.size = self.world.rank, self.world.size
        self._sent: list[Any] = []
        if self.size > 1:
            sys.excepthook = self._fail
            atexit.register(self._leave)

    def abort(self, code: int = 1) -> None:
        """End every rank now."""
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_FORWARDING)
        self.world.Abort(code)

    def let_rank_0_speak(self) -> None:
        """Of a rank about to say why it failed: most likely rank 0 has failed alike, and ends all."""
        if self.rank:
            time.sleep(_PATIENCE)

    def wait(self, request: Any, what: str) -> None:
        """Until a request is done; if a rank has left by then, it never will be, and all end."""
        pause = 1e-5
        while not request.Test():
            self._abort_without_the_gone(what)
            time.sleep(pause)
            pause = min(2 * pause, 1e-3)

    def _abort_without_the_gone(self, what: str) -> None:
        gone = self._gone()
        if gone is not None and self.rank == min({*range(self.size)} - {gone}):
            self._say(f"rank {gone} has ended, and the others wait for it {what}: all ranks end")
            self.abort()

    def _gone(self) -> int | None:
        """A rank that has said goodbye."""
        status = self.mpi.Status()
        there = self.world.Iprobe(source=self.mpi.ANY_SOURCE, tag=_GOODBYE, status=status)
        return int(status.Get_source()) if there else None

    def _leave(self) -> None:
        """At the end of the process: say goodbye; after a training broken off, wait for the others' word."""
        if self.mpi.Is_finalized():
            return
        others = [r for r in range(self.size) if r != self.rank]
        self._sent = [self.world.Isend(np.zeros(0, np.uint8), dest=r, tag=_GOODBYE) for r in others]
        if not self.busy:
            return
        words = [self.world.Irecv(np.zeros(0, np.uint8), source=r, tag=_GOODBYE) for r in others]
        end = time.monotonic() + _TOGETHER
        while not self.mpi.Request.Testall(words):
            if time.monotonic() > end:
                self._say(f"rank {self.rank} of {self.size} ends within the training of all: all ranks end")
                self.abort()
            time.sleep(0.01)

    def _fail(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """End every rank when this one fails. What all of them find, rank 0 says."""
        if isinstance(error, RanksDifferError):
            self.let_rank_0_speak()
            self._say(f"{kind.__name__}: {error}")
        else:
            said = "".join(traceback.format_exception(kind, error, trace))
            self._say(f"rank {self.rank} of {self.size} failed, all ranks end:\n{said}")
        self.abort()

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


_leaving: Leaving | None = None


def end_together() -> Leaving:
    """Let no rank of this mpiexec end alone from here on; `connect` and `MPICommunicator` do it.

    Call it, or `connect()`, at the top of a program, before anything that can fail on one rank. It starts
    MPI: a rank that ends before that is waited for by all others. `mpiexec -n 2 python -m xpnet.parallel
    program.py` does likewise without a line in the program.

    Returns:
        One for the whole process.

    Raises:
        ImportError: mpi4py is missing.

    >>> from xpnet.parallel import end_together
    >>> end_together().busy  # doctest: +SKIP
    False
    """
    global _leaving
    if _leaving is None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError(f'parallel training needs MPI: pip install "xpnet[mpi]" ({error})') from None
        _leaving = Leaving(MPI)
    return _leaving
