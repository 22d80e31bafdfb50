"""Cross-validation: the mean accuracy of k models, each on the part of the data it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet import functional as F
from xpnet import optim
from xpnet.core import random
from xpnet.data import DataLoader, Dataset, k_fold
from xpnet.data.preprocessing import Preprocessing
from xpnet.train.callbacks import Callback
from xpnet.train.history import History
from xpnet.train.trainer import Trainer


@dataclass(frozen=True)
class CrossValidation:
    """The scores of the folds.

    Attributes:
        scores: one a fold.
        histories: of the training runs.
    """

    scores: list[float]
    histories: list[History] = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean score."""
        return sum(self.scores) / len(self.scores)

    @property
    def std(self) -> float:
        """The standard deviation of the scores, an estimate from k of them (divided by k - 1)."""
        return math.sqrt(sum((s - self.mean) ** 2 for s in self.scores) / (len(self.scores) - 1))

    def __str__(self) -> str:
        return f"{self.mean:.4f} +- {self.std:.4f} ({len(self.scores)} folds)"


def cross_validate(
    make_model: Callable[[], Any],
    data: Dataset,
    k: int = 5,
    *,
    make_optimizer: Callable[[Any], Any] = lambda model: optim.Adam(model, lr=0.003),
    epochs: int = 10,
    batch_size: int = 32,
    loss: Callable[[Any, Any], Any] = F.cross_entropy,
    preprocessing: Callable[[], Preprocessing] | None = None,
    make_callbacks: Callable[[Any], Sequence[Callback]] = lambda optimizer: (),
    monitor: str = "val_accuracy",
    stratify: bool = True,
    seed: int = 0,
) -> CrossValidation:
    """Train k models, each on k - 1 parts of the data, and score each on the part left out.

    Args:
        make_model: gives a new model.
        data: the data; never the test set.
        k: number of parts.
        make_optimizer: `make_optimizer(model)`; default: Adam with rate 0.003.
        epochs: of each model.
        batch_size: of each model.
        loss: `loss(output, target)`.
        preprocessing: gives new preprocessing, such as `Standardize`; it is fitted inside each fold, to the
            training part alone: fitted to all data it would have seen what it is scored on.
        make_callbacks: `make_callbacks(optimizer)`, for each fold anew.
        monitor: the key of the history that is the score, taken after the last epoch.
        stratify: keep each class's fraction in every part; needs integer labels.
        seed: of the parts and of each fold's random streams; these are put back afterwards.

    Returns:
        The k scores, with `mean` and `std`, and the k histories.

    Raises:
        ValueError: k is below 2 or above the number of samples.
        TypeError: stratify without integer labels.

    >>> from xpnet import nn
    >>> from xpnet.data import Standardize, load_digits
    >>> from xpnet.train import cross_validate
    >>> def make_model():
    ...     return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> found = cross_validate(make_model, load_digits(), 3, epochs=3, preprocessing=Standardize)
    >>> len(found.scores), found.mean > 0.9, found.std < 0.05
    (3, True, True)
    """
    scores, histories = [], []
    for train, validation in k_fold(data, k, stratify=stratify, seed=seed):
        with random.forked(seed):
            if preprocessing is not None:
                scaler = preprocessing().fit(train.x)
                train, validation = train.map(scaler.transform), validation.map(scaler.transform)
            model = make_model()
            optimizer = make_optimizer(model)
            trainer = Trainer(model, loss, optimizer, make_callbacks(optimizer), verbose=False)
            history = trainer.fit(DataLoader(train, batch_size), validation, epochs)
        histories.append(history)
        scores.append(history[monitor][-1])
    return CrossValidation(scores, histories)
