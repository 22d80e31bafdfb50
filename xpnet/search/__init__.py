"""Hyperparameter search: spaces, strategies, workers, a journal, plots."""

from xpnet.search.executor import TrialError, WorkerDiedError
from xpnet.search.named import make, named
from xpnet.search.objective import TrainingObjective
from xpnet.search.optuna_bridge import OptunaSearch
from xpnet.search.pool import WorkerPool
from xpnet.search.result import SearchResult
from xpnet.search.run import search
from xpnet.search.space import Space, choice, integer, loguniform, uniform
from xpnet.search.strategies import CoarseToFine, GridSearch, RandomSearch, SuccessiveHalving, narrow
from xpnet.search.trial import Outcome, Trial, TrialFailedError, TrialPrunedError

int = integer  # `search.int(1, 10)`, as the other distributions; not in `__all__`

__all__ = [
    "CoarseToFine",
    "GridSearch",
    "OptunaSearch",
    "Outcome",
    "RandomSearch",
    "SearchResult",
    "Space",
    "SuccessiveHalving",
    "TrainingObjective",
    "Trial",
    "TrialError",
    "TrialFailedError",
    "TrialPrunedError",
    "WorkerDiedError",
    "WorkerPool",
    "choice",
    "integer",
    "loguniform",
    "make",
    "named",
    "narrow",
    "search",
    "uniform",
]
