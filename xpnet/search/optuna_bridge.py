"""Optuna's samplers and pruners (Akiba et al., 2019) as a strategy."""

from __future__ import annotations

from typing import Any

from xpnet.search.space import Choice, Distribution, Params, Space
from xpnet.search.strategies import Round, Rounds
from xpnet.search.trial import COMPLETE, PRUNED


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ImportError('OptunaSearch needs Optuna: pip install "xpnet[optuna]"') from None
    return optuna


class OptunaSearch:
    """Let an Optuna sampler choose the settings, and an Optuna pruner break off trials.

    Args:
        sampler: such as `optuna.samplers.TPESampler(seed=0)`; give it a seed, or a journal cannot be resumed.
            Default: TPE with the search's seed.
        trials: how many.
        batch: trials that are chosen together and run side by side; the sampler and the pruner learn from one
            batch for the next. The results depend on it, but not on the number of workers.
        pruner: such as `optuna.pruners.MedianPruner()`; looks at what the objective gives `trial.report`.
        budget: of each trial, usually in epochs.

    Raises:
        ImportError: Optuna is missing (extra `optuna`).
        ValueError: a number below 1.
    """

    def __init__(
        self,
        sampler: Any = None,
        trials: int = 60,
        batch: int = 4,
        pruner: Any = None,
        budget: int | None = None,
    ) -> None:
        _optuna()
        if trials < 1 or batch < 1:
            raise ValueError(f"OptunaSearch: trials and batch must be at least 1, got {trials} and {batch}")
        self.sampler, self.trials, self.batch = sampler, trials, batch
        self.pruner, self.budget = pruner, budget

    def rounds(self, space: Space, seed: int, mode: str) -> Rounds:
        """A round a batch."""
        optuna = _optuna()
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line a trial is the caller's affair
        try:
            yield from self._batches(optuna, space, seed, mode)
        finally:
            optuna.logging.set_verbosity(verbosity)

    def _batches(self, optuna: Any, space: Space, seed: int, mode: str) -> Rounds:
        study = optuna.create_study(
            direction="maximize" if mode == "max" else "minimize",
            sampler=self.sampler or optuna.samplers.TPESampler(seed=seed),
        )
        choices = {name: _distribution(optuna, d) for name, d in space.distributions.items()}
        states = {COMPLETE: optuna.trial.TrialState.COMPLETE, PRUNED: optuna.trial.TrialState.PRUNED}
        for first in range(0, self.trials, self.batch):
            asked = [study.ask(choices) for _ in range(min(self.batch, self.trials - first))]
            params = [_params(space, trial.params) for trial in asked]
            pruner = None if self.pruner is None else StudyPruner(self.pruner, _finished(optuna, study))
            outcomes = yield Round(f"batch {first // self.batch}", space, params, self.budget, pruner)
            for trial, outcome in zip(asked, outcomes, strict=True):
                for step, value in outcome.values:
                    trial.report(value, step)
                state = states.get(outcome.status, optuna.trial.TrialState.FAIL)
                study.tell(trial, outcome.score if outcome.status == COMPLETE else None, state)


class StudyPruner:
    """Asks an Optuna pruner, with the trials of the batches before this one; travels to workers.

    Args:
        pruner: Optuna's.
        study: the finished trials.
    """

    def __init__(self, pruner: Any, study: Any) -> None:
        self.pruner, self.study = pruner, study

    def __call__(self, values: list[tuple[int, float]]) -> bool:
        """True: break off."""
        optuna = _optuna()
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(values)
        )
        trial.number = len(self.study.trials)
        return bool(self.pruner.prune(self.study, trial))


def _finished(optuna: Any, study: Any) -> Any:
    """A study of its own with the finished trials."""
    copy = optuna.create_study(direction=study.direction.name.lower())
    for trial in study.get_trials(deepcopy=True):
        if trial.state.is_finished():
            copy.add_trial(trial)
    return copy


def _distribution(optuna: Any, d: Distribution) -> Any:
    if isinstance(d, Choice):  # by number: Optuna's categories are single values, ours may be lists
        return optuna.distributions.CategoricalDistribution(range(len(d.values)))
    if d.whole:
        return optuna.distributions.IntDistribution(int(d.low), int(d.high), log=d.log)
    return optuna.distributions.FloatDistribution(d.low, d.high, log=d.log)


def _params(space: Space, chosen: dict[str, Any]) -> Params:
    values = {
        name: d.values[chosen[name]] if isinstance(d, Choice) else chosen[name]
        for name, d in space.distributions.items()
    }
    return space.params(values)
