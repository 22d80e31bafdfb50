"""Trials on any `concurrent.futures.Executor`; the objective and its data are sent to each worker once."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Any

from xpnet.search import pool
from xpnet.search.pool import WorkerPool
from xpnet.search.trial import Outcome, Proposal, Task


class TrialError(RuntimeError):
    """The objective raised an exception that is no failed trial: a mistake in it, most likely."""


class WorkerDiedError(RuntimeError):
    """A worker process ended in the middle of a trial."""


def serial(task: Task, proposals: Iterable[Proposal]) -> Iterator[Outcome]:
    """Run the trials here, one after the other.

    Raises:
        TrialError: naming the trial.
    """
    for proposal in proposals:
        try:
            outcome = task(proposal)
        except Exception as error:
            raise _trial_error(proposal, error) from error
        yield outcome


class Runner:
    """Runs trials of one search on an executor.

    Args:
        executor: any; a thread pool works, but runs one trial at a time, for they share the random streams.
        task: what the workers need.
        workers: how many there are, if the executor does not tell.

    Raises:
        TypeError: the objective cannot be sent to another process.

    The objective, with its data, is pickled once. A trial is sent without it; a worker that has not seen it
    asks for it, and keeps it. So it travels about once to each worker, on every kind of executor.
    """

    def __init__(self, executor: Executor, task: Task, workers: int | None = None) -> None:
        self.executor = executor
        try:
            self._content = pickle.dumps(task)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"the objective cannot be sent to a worker process ({error}); make it a function or an "
                "object of a class at the top level of a module, or search without workers"
            ) from error
        self._digest = hashlib.sha256(self._content).hexdigest()
        # MPIPoolExecutor has num_workers; those of concurrent.futures and Dask _max_workers
        told = getattr(executor, "num_workers", None) or getattr(executor, "_max_workers", None)
        self._window = workers or told or os.cpu_count() or 1

    def __call__(self, proposals: Iterable[Proposal]) -> Iterator[Outcome]:
        """Outcomes in the order in which the trials finish.

        Raises:
            TrialError: the objective raised; names the trial.
            WorkerDiedError: a process died; names the trial.
        """
        waiting = iter(proposals)
        running: dict[Future[Any], Proposal] = {}
        try:
            while True:
                # no more trials at once than workers: a queue of them would ask for the objective in vain
                while len(running) < self._window and (proposal := next(waiting, None)) is not None:
                    running[self._submit(proposal, None)] = proposal
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    outcome = self._result(future, running)
                    proposal = running.pop(future)
                    if outcome is None:
                        running[self._submit(proposal, self._content)] = proposal
                    else:
                        yield outcome
        except BrokenExecutor as error:
            raise self._died(running.values()) from error
        finally:
            for future in running:
                future.cancel()

    def _submit(self, proposal: Proposal, content: bytes | None) -> Future[Any]:
        return self.executor.submit(run_trial, self._digest, proposal, content)

    def _result(self, future: Future[Any], running: dict[Future[Any], Proposal]) -> Outcome | None:
        try:
            return future.result()
        except BrokenExecutor:
            raise
        except Exception as error:
            raise _trial_error(running[future], error) from error

    def _died(self, running: Iterable[Proposal]) -> WorkerDiedError:
        settings = {p.number: p.params for p in running}
        how = self.executor.died() if isinstance(self.executor, WorkerPool) else dict.fromkeys(settings, "")
        how = {number: text for number, text in how.items() if number in settings}
        if not how:
            return WorkerDiedError(
                "a worker process died before it began a trial; a script that searches with workers needs "
                'if __name__ == "__main__":'
            )
        trials = " or ".join(
            f"trial {number} {settings[number]}" + (f" ({text})" if text else "")
            for number, text in sorted(how.items())
        )
        return WorkerDiedError(f"the worker process died that ran {trials}")


_lock = threading.Lock()  # trials of one process share its random streams, also on a pool of threads
_kept: tuple[str, Task] | None = None  # the task of the latest search, in a worker


def run_trial(digest: str, proposal: Proposal, content: bytes | None = None) -> Outcome | None:
    """In a worker: run a trial; None if the task is needed first."""
    global _kept
    with _lock:
        if content is not None:
            _kept = digest, pickle.loads(content)
        if _kept is None or _kept[0] != digest:
            return None
        pool.note(proposal.number)
        try:
            return _kept[1](proposal)
        finally:
            pool.done()


def _trial_error(proposal: Proposal, error: Exception) -> TrialError:
    text = str(error) or "no message"
    return TrialError(f"trial {proposal.number} {proposal.params} raised {type(error).__name__}: {text}")
