"""Which settings to try: grid, random, coarse-to-fine, successive halving.

A strategy is a generator of rounds. It gets all outcomes of a round, ordered by number, before it makes the
next one: so a search does not depend on how many workers there are or which of them is fastest.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

from xpnet.search.space import Distribution, Params, Space
from xpnet.search.trial import COMPLETE, Outcome, Pruner


@dataclass(frozen=True)
class Round:
    """Trials that can run at the same time.

    Attributes:
        name: such as "coarse".
        space: what the settings were drawn from.
        params: the settings of each trial.
        budget: how long each is trained, usually in epochs; None: the objective decides.
        pruner: may end them early.
    """

    name: str
    space: Space
    params: list[Params]
    budget: int | None = None
    pruner: Pruner | None = None


Rounds = Generator[Round, list[Outcome], None]


class Strategy(Protocol):
    """What `search` needs."""

    def rounds(self, space: Space, seed: int, mode: str) -> Rounds:
        """The rounds; each `yield` gives the outcomes of the one before."""


def ranked(outcomes: Sequence[Outcome], mode: str) -> list[Outcome]:
    """Those with a score, the best first; equal scores by the longer training, then by number."""
    sign = -1 if mode == "max" else 1
    complete = [o for o in outcomes if o.status == COMPLETE and o.score is not None]
    return sorted(complete, key=lambda o: (sign * (o.score or 0.0), -(o.budget or 0), o.number))


@dataclass(frozen=True)
class GridSearch:
    """Every combination of evenly spaced values.

    Args:
        points: how many of each parameter, or a dict by name (`"net.width"`); of a choice all values.
        budget: of each trial, usually in epochs.

    The last parameter varies fastest. Bergstra & Bengio, 2012: with few parameters that matter, random search
    tries more values of those for the same cost.

    >>> from xpnet.search import GridSearch, Space, loguniform, uniform
    >>> space = Space({"lr": loguniform(1e-3, 1), "decay": loguniform(1e-5, 1), "drop": uniform(0, 0.6)})
    >>> len(GridSearch({"lr": 3, "decay": 3, "drop": 4}).settings(space))  # the 3x3x4 of deck S1
    36
    """

    points: int | Mapping[str, int] = 3
    budget: int | None = None

    def settings(self, space: Space) -> list[Params]:
        """All combinations.

        Raises:
            ValueError: a number of points below 1, or for a name that is not in the space.
        """
        named = self.points if isinstance(self.points, Mapping) else dict.fromkeys(space.names, self.points)
        unknown = sorted(set(named) - set(space.names))
        if unknown:
            raise ValueError(
                f"GridSearch: no {', '.join(unknown)} in the space; it has {', '.join(space.names)}"
            )
        if any(n < 1 for n in named.values()):
            raise ValueError(f"GridSearch: at least one point of each parameter, got {dict(named)}")
        axes = [d.grid(named.get(name, 3)) for name, d in space.distributions.items()]
        return [space.params(dict(zip(space.names, values, strict=True))) for values in product(*axes)]

    def rounds(self, space: Space, seed: int, mode: str) -> Rounds:
        """One round."""
        yield Round("grid", space, self.settings(space), self.budget)


@dataclass(frozen=True)
class RandomSearch:
    """Settings drawn at random: evenly, in log space where the space says so.

    Args:
        trials: how many.
        budget: of each trial, usually in epochs.

    Raises:
        ValueError: no trials.
    """

    trials: int = 60
    budget: int | None = None

    def __post_init__(self) -> None:
        _at_least("RandomSearch: trials", self.trials, 1)

    def rounds(self, space: Space, seed: int, mode: str) -> Rounds:
        """One round."""
        yield Round("random", space, [space.sample(seed, i) for i in range(self.trials)], self.budget)


@dataclass(frozen=True)
class CoarseToFine:
    """Random search with many short trials, then in a narrower space with fewer and longer ones (deck S2).

    Args:
        trials: of each round.
        budgets: of each trial in each round, usually in epochs.
        keep: the fraction of the trials, the best ones, that the next space spans.
        margin: how much wider than those it is on either side, as a fraction of the range before.

    Raises:
        ValueError: the lengths differ, or a number is out of range.
    """

    trials: Sequence[int] = (60, 30)
    budgets: Sequence[int | None] = (5, 20)
    keep: float = 0.2
    margin: float = 0.05

    def __post_init__(self) -> None:
        if len(self.trials) != len(self.budgets) or not self.trials:
            raise ValueError(
                f"CoarseToFine: a number of trials and a budget a round, got {list(self.trials)} and "
                f"{list(self.budgets)}"
            )
        for n in self.trials:
            _at_least("CoarseToFine: trials", n, 1)
        if not 0 < self.keep <= 1 or self.margin < 0:
            raise ValueError(
                f"CoarseToFine: keep is a fraction above 0 and margin at least 0, got {self.keep} and "
                f"{self.margin}"
            )

    def rounds(self, space: Space, seed: int, mode: str) -> Rounds:
        """One after the other; none after a round in which every trial failed."""
        first = 0
        for i, (count, budget) in enumerate(zip(self.trials, self.budgets, strict=True)):
            name = ("coarse", "fine")[i] if len(self.trials) == 2 else f"round {i + 1}"
            numbers = range(first, first + count)
            outcomes = yield Round(name, space, [space.sample(seed, n) for n in numbers], budget)
            first += count
            best = ranked(outcomes, mode)[: max(2, math.ceil(self.keep * count))]
            if not best:
                return
            space = narrow(space, [o.params for o in best], self.margin)


def narrow(space: Space, params: Sequence[Params], margin: float = 0.05) -> Space:
    """The part of a space that these settings span, and `margin` of each range more on either side.

    Args:
        space: what to narrow.
        params: settings in it, such as those of the best trials.
        margin: as a fraction of each range.

    Returns:
        A space of the same names.

    Raises:
        KeyError: settings that lack a name of the space.
        ValueError: no settings.

    >>> from xpnet.search import Space, narrow, uniform
    >>> space = narrow(Space({"x": uniform(0.0, 1.0)}), [{"x": 0.25}, {"x": 0.5}], margin=0.125)
    >>> space.at([0.0]), space.at([1.0])
    ({'x': 0.125}, {'x': 0.625})
    """
    values = [space.values(p) for p in params]
    found: dict[str, Distribution] = {
        name: d.narrowed([v[name] for v in values], margin) for name, d in space.distributions.items()
    }
    return space.replaced(found)


@dataclass(frozen=True)
class SuccessiveHalving:
    """Many short trials; the best of them again with more training, and so on (Jamieson & Talwalkar, 2016).

    Args:
        trials: in the first round.
        budget: of each trial in the first round, usually in epochs.
        max_budget: of the last round at most.
        eta: each round keeps 1/eta of the trials and trains eta times as long, so all cost about the same.

    Each round trains anew: learning-rate schedules fit the budget.

    Raises:
        ValueError: a number is out of range.
    """

    trials: int = 27
    budget: int = 1
    max_budget: int = 27
    eta: int = 3

    def __post_init__(self) -> None:
        _at_least("SuccessiveHalving: trials", self.trials, 1)
        _at_least("SuccessiveHalving: budget", self.budget, 1)
        _at_least("SuccessiveHalving: max_budget", self.max_budget, self.budget)
        _at_least("SuccessiveHalving: eta", self.eta, 2)

    def rounds(self, space: Space, seed: int, mode: str) -> Rounds:
        """Until one trial is left, or the budget is reached."""
        params, budget, rung = [space.sample(seed, i) for i in range(self.trials)], self.budget, 0
        while True:
            outcomes = yield Round(f"rung {rung}", space, params, budget)
            params = [o.params for o in ranked(outcomes, mode)[: len(params) // self.eta]]
            budget, rung = budget * self.eta, rung + 1
            if not params or budget > self.max_budget:
                return


def _at_least(what: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise ValueError(f"{what} must be at least {minimum}, got {value}")
