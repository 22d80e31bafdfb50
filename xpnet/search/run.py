"""The search itself: rounds of a strategy, run on workers, written to a journal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from typing import Any

from xpnet.core import registry as dispatch
from xpnet.core.backend import get_backend
from xpnet.core.renamed import renamed
from xpnet.search.executor import Runner, serial
from xpnet.search.journal import Journal
from xpnet.search.pool import WorkerPool
from xpnet.search.result import SearchResult
from xpnet.search.space import Space
from xpnet.search.strategies import RandomSearch, Round, Strategy
from xpnet.search.trial import Objective, Outcome, Proposal, Task
from xpnet.train.monitor import mode_of


@renamed(facts="metadata")
def search(
    objective: Objective,
    space: Space | Mapping[str, Any],
    strategy: Strategy | None = None,
    *,
    seed: int = 0,
    mode: str | None = None,
    workers: int = 0,
    executor: Executor | None = None,
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    catch: tuple[type[Exception], ...] = (),
    metadata: Mapping[str, Any] | None = None,
    on_round: Callable[[Round, list[Outcome]], None] | None = None,
    on_trial: Callable[[Outcome], None] | None = None,
) -> SearchResult:
    """Look for the settings with the best score.

    Args:
        objective: `objective(params, trial)` gives the score; `trial` has `number`, `budget`, `seed`,
            `report(step, value)`, `info`. The random streams are seeded before each trial. For worker
            processes it must be picklable: a function or an object of a class at the top level of a module.
        space: a Space, or the dict that makes one.
        strategy: `GridSearch`, `RandomSearch`, `CoarseToFine`, `SuccessiveHalving`, `OptunaSearch`; default:
            60 random trials.
        seed: of the settings, and of every trial's random streams.
        mode: "max" or "min", which score is better; default: what the name of the objective's `monitor` says,
            else "max".
        workers: processes that run trials side by side, each with one thread; 0: run them here.
        executor: runs the trials instead: a ProcessPoolExecutor, an `mpi4py.futures.MPIPoolExecutor`, Dask's
            `client.get_executor()`. With `workers` too, that many trials are on their way at a time.
        journal: a file that gets every finished trial at once, and survives a kill.
        resume: go on with the trials in the journal.
        catch: further exceptions that make a trial fail and let the search go on.
        metadata: what else the results depend on, such as the data's name; a journal with another is refused.
        on_round: called with each round before it runs, and the outcomes so far.
        on_trial: called with each outcome, in the order in which trials finish.

    Returns:
        The outcomes; the same for any number of workers, and after any number of interruptions.

    Raises:
        ValueError: an unknown mode; or a journal of another search.
        TypeError: the space or the objective cannot be written down or sent.
        FileExistsError: the journal exists, without `resume`.
        InUseError: another search writes the journal; an OSError that names it.
        TrialError: the objective raised something that is not a failed trial; it names the trial.
        WorkerDiedError: a worker process died; it names the trial. The journal has the finished ones.

    A trial fails, without ending the search, if its score is not finite or it raises `TrialFailedError`,
    `TrainingDivergedError` or `FloatingPointError`.

    >>> from xpnet.search import RandomSearch, loguniform, search
    >>> import math
    >>> def objective(params, trial):
    ...     return -(math.log10(params["lr"]) + 2) ** 2  # best at 0.01
    >>> result = search(objective, {"lr": loguniform(1e-4, 1e-1)}, RandomSearch(50), seed=0)
    >>> 0.005 < result.best_params["lr"] < 0.02
    True
    """
    if mode is None:
        mode = mode_of(objective.monitor) if hasattr(objective, "monitor") else "max"
    if mode not in ("max", "min"):
        raise ValueError(f'search: mode is "max" or "min", got {mode!r}')
    space = space if isinstance(space, Space) else Space(space)
    strategy = strategy or RandomSearch()
    described = space.describe()
    try:
        json.dumps(described, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"search: choices and constants must be what JSON can hold ({error})") from None
    backend = get_backend()
    task = Task(objective, seed, str(backend), backend.device, dispatch.is_enabled(), catch)
    with ExitStack() as stack:
        book = None
        if journal is not None:
            fixed = {"seed": seed, "mode": mode, "backend": str(backend), "space": described}
            book = Journal(journal, {**fixed, "facts": dict(metadata or {})}, resume)
            stack.callback(book.close)
        if executor is None and workers:
            executor = stack.enter_context(WorkerPool(workers))
        run: Callable[[Iterable[Proposal]], Iterator[Outcome]]
        run = (lambda p: serial(task, p)) if executor is None else Runner(executor, task, workers or None)
        result = _rounds(strategy, space, seed, mode, run, book, on_round, on_trial)
    result.missing = book.missing if book is not None else None
    return result


def _rounds(
    strategy: Strategy,
    space: Space,
    seed: int,
    mode: str,
    run: Callable[[Iterable[Proposal]], Iterator[Outcome]],
    journal: Journal | None,
    on_round: Callable[[Round, list[Outcome]], None] | None,
    on_trial: Callable[[Outcome], None] | None,
) -> SearchResult:
    trials: list[Outcome] = []
    rounds: list[Round] = []
    steps = strategy.rounds(space, seed, mode)
    current = next(steps, None)
    while current is not None:
        rounds.append(current)
        if on_round is not None:
            on_round(current, trials)
        proposals = [
            Proposal(len(trials) + i, current.name, params, current.budget, current.pruner)
            for i, params in enumerate(current.params)
        ]
        found = {p.number: journal.find(p) if journal is not None else None for p in proposals}
        done = {number: outcome for number, outcome in found.items() if outcome is not None}
        for outcome in run([p for p in proposals if p.number not in done]):
            if journal is not None:
                journal.add(outcome)
            done[outcome.number] = outcome
            if on_trial is not None:
                on_trial(outcome)
        outcomes = [done[p.number] for p in proposals]
        trials += outcomes
        try:
            current = steps.send(outcomes)
        except StopIteration:
            current = None
    return SearchResult(trials, rounds, mode, seed)
