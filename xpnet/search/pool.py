"""Worker processes of one thread each; they end with their parent, and tell which trial killed them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

# read by the libraries when they load: it must be set before a worker imports NumPy
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)

_IDLE = -1
_note: Callable[[int], None] | None = None  # in a worker: write down which trial it runs


class WorkerPool(ProcessPoolExecutor):
    """A process pool for trials: spawned, not forked, since a forked BLAS can hang.

    Args:
        workers: number of processes.

    Trials run side by side, so each has one BLAS thread: several would only fight for the cores. As with
    every spawned pool, a script that uses it needs `if __name__ == "__main__":`.
    """

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.workers = workers
        self._board = context.RawArray("q", 2 * workers)  # process id and trial of each worker
        self._children: dict[int | None, Any] = {}
        super().__init__(workers, context, _begin, (self._board, context.Value("i", 0)))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As in `Executor`; processes start here, so here the environment they read is set."""
        others = set(multiprocessing.active_children()) - set(self._children.values())
        with _environment(_ONE_THREAD):
            future = super().submit(fn, *args, **kwargs)
        mine = set(multiprocessing.active_children()) - others
        self._children |= {child.pid: child for child in mine}
        return future

    def died(self) -> dict[int, str]:
        """Trials whose worker is dead, and how it died; all that were running if that cannot be told."""
        running, crashed = {}, {}
        for i in range(self.workers):
            pid, trial = self._board[2 * i], self._board[2 * i + 1]
            child = self._children.get(pid)
            if child is None or trial == _IDLE:
                continue
            child.join(1)
            how = _how(child.exitcode)
            running[trial] = how
            if child.exitcode not in (None, 0, -signal.SIGTERM):  # the pool ends the others with SIGTERM
                crashed[trial] = how
        return crashed or running

    def __exit__(self, kind: Any, *error: Any) -> None:
        """Let idle workers end; after an exception end all of them without waiting for their trials."""
        if kind is not None:
            for child in self._children.values():  # all: one that is left could wait for a lock of another
                child.terminate()
        self.shutdown(wait=True, cancel_futures=True)


def note(trial: int) -> None:
    """In a worker of a `WorkerPool`: this trial is running now. Elsewhere nothing."""
    if _note is not None:
        _note(trial)


def done() -> None:
    """No trial is running now."""
    note(_IDLE)


def _begin(board: Any, counter: Any) -> None:
    """First thing in a worker."""
    global _note
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with counter.get_lock():
        slot, counter.value = counter.value, counter.value + 1
    board[2 * slot], board[2 * slot + 1] = os.getpid(), _IDLE

    def write(trial: int) -> None:
        board[2 * slot + 1] = trial

    _note = write
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _how(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"{name}, which the system sends when memory runs out" if name == "SIGKILL" else name
