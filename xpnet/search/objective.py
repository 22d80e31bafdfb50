"""A ready-made objective: train a model, give its score on the validation data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import optim
from xpnet.data import DataLoader, Dataset
from xpnet.functional import cross_entropy
from xpnet.search.space import Params
from xpnet.search.trial import Trial
from xpnet.train import Callback, LearningRate, Run, StopOnDivergence, Trainer


class ReportScore(Callback):
    """Tell a trial the score of each epoch, so that it can be pruned.

    Args:
        trial: whom to tell.
        monitor: a key of the history.
    """

    def __init__(self, trial: Trial, monitor: str = "val_accuracy") -> None:
        self.trial, self.monitor = trial, monitor

    def on_epoch_end(self, trainer: Run) -> None:
        """Tell it; a pruned trial ends here."""
        self.trial.report(trainer.epoch, trainer.history[self.monitor][-1])


def adam(model: Any, params: Params) -> optim.Optimizer:
    """Adam with `params["lr"]`, and `params["weight_decay"]` if it is there."""
    return optim.Adam(model, lr=params["lr"], weight_decay=params.get("weight_decay", 0.0))


class TrainingObjective:
    """Train with the settings of a trial, for its budget of epochs; the score is that of the last epoch.

    Args:
        make_model: `make_model(params)` gives a Module; top level of a module, for worker processes.
        train: the training data, preprocessed.
        validation: the validation data; never the test set.
        make_optimizer: `make_optimizer(model, params)`; default: Adam with `lr` and `weight_decay`.
        loss: `loss(output, target)`.
        monitor: the key of the history that is the score: `"val_accuracy"` (mode "max"), `"val_loss"` (mode
            "min").
        epochs: if the strategy gives no budget.
        batch_size: if the settings have no `batch_size`.
        cosine: anneal the learning rate along half a cosine over the epochs.

    A trial whose cost explodes, above 3 times the first, ends at once as failed (deck S2).

    >>> from xpnet import nn
    >>> from xpnet.data import load_digits, split
    >>> from xpnet.search import RandomSearch, TrainingObjective, integer, loguniform, search
    >>> def make_model(params):
    ...     return nn.Sequential(nn.Linear(64, params["width"]), nn.ReLU(), nn.Linear(params["width"], 10))
    >>> train, validation, test = split(load_digits(), seed=0)
    >>> space = {"lr": loguniform(1e-4, 1e-1), "width": integer(8, 64, log=True)}
    >>> result = search(TrainingObjective(make_model, train, validation), space, RandomSearch(4, budget=2))
    >>> result.best.score > 0.7
    True
    """

    def __init__(
        self,
        make_model: Callable[[Params], Any],
        train: Dataset,
        validation: Dataset,
        make_optimizer: Callable[[Any, Params], optim.Optimizer] = adam,
        loss: Callable[[Any, Any], Any] = cross_entropy,
        monitor: str = "val_accuracy",
        epochs: int = 10,
        batch_size: int = 32,
        cosine: bool = True,
    ) -> None:
        self.make_model, self.train, self.validation = make_model, train, validation
        self.make_optimizer, self.loss, self.monitor = make_optimizer, loss, monitor
        self.epochs, self.batch_size, self.cosine = epochs, batch_size, cosine

    def __call__(self, params: Params, trial: Trial) -> float:
        """Train; the score of the last epoch."""
        epochs = trial.budget or self.epochs
        model = self.make_model(params)
        optimizer = self.make_optimizer(model, params)
        callbacks: list[Callback] = [StopOnDivergence(), ReportScore(trial, self.monitor)]
        if self.cosine:
            callbacks.append(LearningRate(optim.CosineAnnealingLR(optimizer, epochs)))
        loader = DataLoader(self.train, params.get("batch_size", self.batch_size))
        with np.errstate(all="ignore"):  # an explosion is a failed trial, not a page of warnings
            history = Trainer(model, self.loss, optimizer, callbacks, verbose=False).fit(
                loader, self.validation, epochs
            )
        return history[self.monitor][-1]
