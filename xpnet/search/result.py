"""What a search found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from xpnet.search.space import Params
from xpnet.search.strategies import Round, ranked
from xpnet.search.trial import FAILED, Outcome


class SearchResult:
    """All trials of a search, by number.

    Attributes:
        trials: the outcomes.
        rounds: the rounds they were in, with the space of each.
        mode: "max" or "min".
        seed: of the search.
        missing: the error, if finished trials could not be written to the journal; else None.

    `bool(a.to_json() == b.to_json())` for two searches with one seed, whatever the workers.
    """

    def __init__(self, trials: Sequence[Outcome], rounds: Sequence[Round], mode: str, seed: int) -> None:
        self.trials = sorted(trials, key=lambda outcome: outcome.number)
        self.rounds, self.mode, self.seed = list(rounds), mode, seed
        self.missing: OSError | None = None

    @property
    def best(self) -> Outcome:
        """The trial with the best score; of several, the one trained longest, then the first.

        Raises:
            ValueError: no trial has a score.
        """
        top = self.top(1)
        if not top:
            reasons = [o.reason for o in self.trials if o.status == FAILED]
            first = f"; the first failed because {reasons[0]}" if reasons else ""
            raise ValueError(f"none of the {len(self.trials)} trials gave a score{first}")
        return top[0]

    @property
    def best_params(self) -> Params:
        """Its settings."""
        return self.best.params

    def top(self, count: int, round: str | None = None) -> list[Outcome]:
        """The best trials, of one round or of all."""
        return ranked(self.of(round), self.mode)[:count]

    def of(self, round: str | None) -> list[Outcome]:
        """The trials of one round, or of all."""
        return [o for o in self.trials if round is None or o.round == round]

    def warnings(self, round: str | None = None) -> list[str]:
        """What lies at the edge of its range: the best settings of a round; default: of each parameter that
        does so in the round of the best trial."""
        name = self.best.round if round is None else round
        best = self.top(1, name)
        space = next(r.space for r in self.rounds if r.name == name)
        return space.edges(best[0].params) if best else []

    def to_dict(self) -> dict[str, Any]:
        """Everything but the seconds, as JSON can hold it."""
        rows = [{k: v for k, v in o.to_dict().items() if k != "seconds"} for o in self.trials]
        rounds = [
            {"name": r.name, "trials": len(r.params), "budget": r.budget, "space": r.space.describe()}
            for r in self.rounds
        ]
        top = self.top(1)
        return {
            "seed": self.seed,
            "mode": self.mode,
            "best": top[0].number if top else None,
            "rounds": rounds,
            "trials": rows,
        }

    def to_json(self) -> str:
        """The same bytes for the same search."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def __repr__(self) -> str:
        top = self.top(1)
        best = f"best {top[0].score:.6g} in trial {top[0].number}" if top else "no score"
        return f"SearchResult({len(self.trials)} trials, {best})"
