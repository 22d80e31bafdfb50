"""One trial: what the objective is given, how it may end, and what is kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import Any, Protocol

from xpnet.core import random
from xpnet.core import registry as dispatch
from xpnet.core.backend import use_backend
from xpnet.search.space import Params
from xpnet.train import TrainingDivergedError

COMPLETE, FAILED, PRUNED = "complete", "failed", "pruned"


class TrialFailedError(Exception):
    """Raised in an objective to end the trial without a score; the search goes on."""


class TrialPrunedError(Exception):
    """Raised by `Trial.report` when the trial is not worth going on with; let it pass."""


class Pruner(Protocol):
    """Decides whether to break off a trial, from the values it has reported."""

    def __call__(self, values: list[tuple[int, float]]) -> bool:
        """True: break off."""


@dataclass(frozen=True)
class Proposal:
    """A trial to be run.

    Attributes:
        number: counts from 0 through the whole search.
        round: what part of the strategy it belongs to, such as "coarse".
        params: its settings.
        budget: how long to train, usually in epochs; None: the objective's own affair.
        pruner: may end it early.
    """

    number: int
    round: str
    params: Params
    budget: int | None = None
    pruner: Pruner | None = None


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        number: of the trial.
        round: its part of the search.
        params: its settings.
        budget: what it was given.
        status: "complete", "failed" (diverged, or a score that is not finite) or "pruned".
        score: what the objective returned; of a pruned trial the last reported value; None if it failed.
        reason: why it failed or was pruned, else "".
        values: the (step, value) pairs it reported.
        info: what the objective put into `trial.info`.
        seconds: how long it took; differs from run to run and is left out of comparisons.
    """

    number: int
    round: str
    params: Params
    budget: int | None
    status: str
    score: float | None
    reason: str = ""
    values: list[tuple[int, float]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "values": [list(pair) for pair in self.values]}

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a part is not of its type.
        """
        outcome = Outcome(**{**row, "values": [(int(s), float(v)) for s, v in row["values"]]})
        number, whole = (int, float), (int, NoneType)
        kinds: dict[str, Any] = {
            "number": int, "round": str, "params": dict, "budget": whole, "status": str,
            "score": (*number, NoneType), "reason": str, "info": dict, "seconds": number,
        }  # fmt: skip
        for name, kind in kinds.items():
            value = getattr(outcome, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{name} is {value!r}")
        if outcome.status not in (COMPLETE, FAILED, PRUNED) or (outcome.score is None) > (
            outcome.status == FAILED
        ):
            raise ValueError(f"a trial that is {outcome.status!r} has the score {outcome.score}")
        return outcome


class Trial:
    """What an objective knows about its trial, besides the settings.

    Attributes:
        number: counts from 0; settings are a function of seed and number.
        round: the part of the search, such as "coarse".
        budget: how long to train, usually in epochs; None if the strategy does not say.
        seed: the search's; the default streams were seeded with it, the same for every trial, so that trials
            differ by their settings and not by their initial weights.
        info: put further results here (whatever JSON can hold); they are kept with the score.
    """

    def __init__(self, proposal: Proposal, seed: int) -> None:
        self.number, self.round, self.budget = proposal.number, proposal.round, proposal.budget
        self.seed = seed
        self.info: dict[str, Any] = {}
        self.values: list[tuple[int, float]] = []
        self._pruner = proposal.pruner

    def report(self, step: int, value: float) -> None:
        """Note a score on the way, such as the validation accuracy after an epoch.

        Raises:
            TrialPrunedError: the trial is not worth going on with.
        """
        value = float(value)
        if not math.isfinite(value):
            raise TrialFailedError(f"the value reported at step {step} is {value}")
        self.values.append((int(step), value))
        if self._pruner is not None and self._pruner(self.values):
            raise TrialPrunedError(f"pruned at step {step}")


_FAILURES: tuple[type[Exception], ...] = (TrialFailedError, TrainingDivergedError, FloatingPointError)

Objective = Callable[[Params, Trial], float]


@dataclass(frozen=True)
class Task:
    """Everything a worker needs to run any trial of a search; sent to each worker once."""

    objective: Objective
    seed: int
    backend: str
    device: Any
    fused: bool
    catch: tuple[type[Exception], ...] = ()

    def __call__(self, proposal: Proposal) -> Outcome:
        """Run a trial. Its result depends on the task and the proposal alone, not on what ran here before."""
        trial, start = Trial(proposal, self.seed), time.perf_counter()
        score: float | None = None
        status, reason = COMPLETE, ""
        try:
            with (
                use_backend(self.backend, self.device),
                dispatch.fused_kernels(self.fused),
                random.forked(),
            ):
                random.manual_seed(self.seed)
                score = float(self.objective(proposal.params, trial))
            if not math.isfinite(score):
                score, status, reason = None, FAILED, f"the score is {score}"
        except TrialPrunedError as error:
            score, status, reason = trial.values[-1][1], PRUNED, str(error)
        except _FAILURES + self.catch as error:
            status, reason = FAILED, str(error) or type(error).__name__
        return Outcome(
            proposal.number,
            proposal.round,
            proposal.params,
            proposal.budget,
            status,
            score,
            reason,
            trial.values,
            trial.info,
            time.perf_counter() - start,
        )
