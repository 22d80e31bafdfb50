"""The range test: which learning rates a model learns at (Smith, 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.nn.inference import keeping_modes
from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.gradients import GradientClipping
from xpnet.train.run import Run
from xpnet.train.trainer import Trainer


class _StopError(Exception):
    """The sweep has seen enough."""


class LRFinder:
    """Train for some updates while the learning rate grows exponentially, and watch the loss.

    Args:
        low: the first learning rate.
        high: the last one.
        steps: updates from one to the other.
        smoothing: of the loss, the decay of an exponential average.
        diverged: stop when the smoothed loss is this many times its smallest value.

    Attributes:
        rates: the learning rates, those of the first group.
        losses: the loss of each batch, before the update at that rate.

    Raises:
        ValueError: not 0 < low < high, fewer than 10 steps, or a smoothing outside [0, 1).

    Model, optimizer, random streams and the place in the data are afterwards what they were.

    >>> import xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.data import DataLoader, load_digits
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import LRFinder, Trainer
    >>> xpnet.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> trainer = Trainer(model, cross_entropy, optim.Adam(model))
    >>> finder = LRFinder(low=1e-5, high=1.0).run(trainer, DataLoader(load_digits()))
    >>> 1e-4 < finder.suggestion() < 0.1
    True
    """

    def __init__(
        self,
        low: float = 1e-6,
        high: float = 10.0,
        steps: int = 100,
        smoothing: float = 0.9,
        diverged: float = 4.0,
    ) -> None:
        if not 0 < low < high or steps < 10 or not 0 <= smoothing < 1:
            raise ValueError(
                "LRFinder: expected 0 < low < high, steps >= 10 and 0 <= smoothing < 1, got "
                f"{low}, {high}, {steps} and {smoothing}"
            )
        self.low, self.high, self.steps = low, high, steps
        self.smoothing, self.diverged = smoothing, diverged
        self.rates: list[float] = []
        self.losses: list[float] = []

    def run(self, trainer: Trainer, train: Any) -> LRFinder:
        """Sweep the rates with a trainer's model, step, optimizer, penalties and gradient clipping.

        Args:
            trainer: it need not have trained; what it has measured stays.
            train: as for `Trainer.fit`.

        Returns:
            This object.
        """
        self.rates, self.losses = [], []
        model, optimizer = trainer.model, trainer.optimizer
        clipping = [c for c in trainer.callbacks if isinstance(c, GradientClipping)]
        scratch = Trainer(
            model,
            trainer.loss,
            optimizer,
            [*clipping, _Sweep(self)],
            None if trainer.loss is None else [],
            trainer.accumulate,
            trainer.l1,
            trainer.l2,
            step=trainer.train_step,
            verbose=False,
        )
        before = model.state_dict(), optimizer.state_dict()
        position = train.state_dict() if hasattr(train, "state_dict") else None
        try:
            with keeping_modes(model), np.errstate(all="ignore"), random.forked():
                scratch.fit(train, epochs=self.steps)
        except (_StopError, TrainingDivergedError):
            pass
        finally:
            model.load_state_dict(before[0])
            optimizer.load_state_dict(before[1])
            if position is not None:
                train.load_state_dict(position)
        return self

    def smoothed(self) -> list[float]:
        """The losses as an exponential average without the bias towards its start."""
        average, result = 0.0, []
        for i, loss in enumerate(self.losses, 1):
            average = self.smoothing * average + (1 - self.smoothing) * loss
            result.append(average / (1 - self.smoothing**i))
        return result

    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply over the logarithm of the rate.

        Derivatives are taken over a tenth of the sweep, up to the lowest loss, without the first tenth: there
        the average still jumps with the batches.

        Raises:
            ValueError: there are no losses yet, or they did not fall.
        """
        losses = np.array(self.smoothed())
        if not len(losses):
            raise ValueError("LRFinder: no losses to suggest a rate from; call run first")
        half = max(1, self.steps // 20)
        last = int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0
        middles = np.arange(self.steps // 10 + half, last - half + 1)
        differences = losses[middles + half] - losses[middles - half]
        if not len(differences) or not differences.min() < 0:
            raise ValueError(
                f"LRFinder: the loss did not fall between {self.low:g} and {self.high:g}; begin lower, or "
                "look for a fault in the model or the data"
            )
        return self.rates[int(middles[differences.argmin()])]


class _Sweep(Callback):
    """Sets the rate of each update; stops when the sweep is done or the loss explodes."""

    def __init__(self, finder: LRFinder) -> None:
        self.finder, self.average, self.lowest = finder, 0.0, math.inf

    def on_fit_begin(self, trainer: Run) -> None:
        self.ratios = [g["lr"] for g in trainer.optimizer.param_groups]
        largest = max(self.ratios) or 1.0
        self.ratios = [lr / largest if lr else 1.0 for lr in self.ratios]
        self._set(trainer)

    def _set(self, trainer: Run) -> None:
        finder = self.finder
        self.rate = finder.low * (finder.high / finder.low) ** (len(finder.rates) / (finder.steps - 1))
        for group, ratio in zip(trainer.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = self.rate * ratio

    def on_batch_end(self, trainer: Run) -> None:
        finder, loss = self.finder, float(trainer.require_loss("LRFinder"))
        finder.rates.append(self.rate)
        finder.losses.append(loss)
        i = len(finder.losses)
        self.average = finder.smoothing * self.average + (1 - finder.smoothing) * loss
        smooth = self.average / (1 - finder.smoothing**i)
        self.lowest = min(self.lowest, smooth)
        if i == finder.steps or not math.isfinite(loss) or smooth > finder.diverged * self.lowest:
            raise _StopError
        self._set(trainer)
