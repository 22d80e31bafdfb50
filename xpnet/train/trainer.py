"""The training loop: epochs of forward, backward and step, with validation between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence, Sized
from typing import Any

from xpnet.backend import Array
from xpnet.data import DataLoader, Dataset
from xpnet.train.callbacks import Callback
from xpnet.train.evaluation import Batches, as_dataset, evaluate, predict
from xpnet.train.history import History
from xpnet.train.metrics import Mean, Metric


class TrainingDivergedError(RuntimeError):
    """The training loss is not a finite number any more."""


class Trainer:
    """Train, evaluate and apply a model.

    Args:
        model: a Module.
        loss: `loss(output, target)`, a Tensor of one element, the mean over the batch.
        optimizer: over the model's parameters.
        callbacks: called in this order.
        metrics: functions of (output, target) that give a mean over the batch on the device, recorded under
            their names; default: `accuracy` if the targets are integers.

    >>> import xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.data import DataLoader, load_digits, split
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Trainer
    >>> xpnet.manual_seed(0)
    >>> train, validation, test = split(load_digits())
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> trainer = Trainer(model, cross_entropy, optim.Adam(model, lr=0.003))
    >>> history = trainer.fit(DataLoader(train, 32), validation, epochs=5)
    >>> history["val_accuracy"][-1] > 0.9
    True
    """

    def __init__(
        self,
        model: Any,
        loss: Callable[[Any, Any], Any],
        optimizer: Any,
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[Metric] | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.callbacks, self.metrics = list(callbacks), metrics
        self.history = History()
        self.epoch = self.epochs = 0
        self.batches: int | None = None
        self.step = 0  # updates made in this fit
        self.batch: tuple[Any, Any] | None = None
        self.output: Any = None
        self.loss_value: Array = None
        self.stop = False

    # ---- training ----

    def fit(
        self, train: Dataset | Batches, validation: Dataset | Batches | None = None, epochs: int = 10
    ) -> History:
        """Train for some epochs and return what was measured, which is also kept in `trainer.history`.

        Args:
            train: a DataLoader, or anything that gives (x, y) batches each time it is iterated over; a
                Dataset, or a pair of arrays (x, y), is loaded in shuffled batches of 32.
            validation: likewise; a Dataset is loaded in order. Default: no validation.
            epochs: how often to go through the training data at most.

        Returns:
            `train_loss`, `lr` and `seconds` of each epoch; with validation, `val_loss` and `val_accuracy`.

        Raises:
            ValueError: no epochs, or no batches.
            TrainingDivergedError: the mean loss of an epoch is NaN or infinite.

        The loss of each batch stays on the device; the host waits once an epoch.
        """
        if epochs < 1:
            raise ValueError(f"Trainer.fit: epochs must be at least 1, got {epochs}")
        train = as_dataset(train)
        if isinstance(train, Dataset):
            train = DataLoader(train)
        self.history, self.epochs, self.step, self.stop = History(), epochs, 0, False
        self.batches = len(train) if isinstance(train, Sized) else None
        try:
            self._call("on_fit_begin")
            for self.epoch in range(epochs):
                self._call("on_epoch_begin")
                start = time.perf_counter()
                row = {"train_loss": self._train_epoch(train)}
                if validation is not None:
                    row |= {f"val_{name}": value for name, value in self.evaluate(validation).items()}
                row |= {"lr": self.optimizer.param_groups[0]["lr"], "seconds": time.perf_counter() - start}
                self.history.append(row)
                self._call("on_epoch_end")
                if self.stop:
                    break
        finally:
            self._call("on_fit_end")
            self.batch = self.output = None
            self.model.eval()
        return self.history

    def _train_epoch(self, batches: Batches) -> float:
        """One pass over the training data; the mean loss."""
        model, loss, optimizer, mean = self.model.train(), self.loss, self.optimizer, Mean()
        backward_end, batch_end = self._hooks("on_backward_end"), self._hooks("on_batch_end")
        for x, y in batches:
            self.batch = x, y
            optimizer.zero_grad()
            self.output = output = model(x)
            value = loss(output, y)
            value.backward()
            for hook in backward_end:
                hook(self)
            optimizer.step()
            self.step += 1
            self.loss_value = value.data
            mean.add(value.data, x.shape[0])
            for hook in batch_end:
                hook(self)
        result = mean.result("training data")
        if not math.isfinite(result):
            rate = optimizer.param_groups[0]["lr"]
            raise TrainingDivergedError(
                f"the training loss is {result} in epoch {self.epoch + 1}; "
                f"lower the learning rate (now {rate:g}) or clip the gradients"
            )
        return result

    # ---- applying the model ----

    def evaluate(self, data: Dataset | Batches) -> dict[str, float]:
        """The mean loss and metrics over the data, in evaluation mode and without gradients.

        Args:
            data: a Dataset, a DataLoader, or anything that gives (x, y) batches.

        Returns:
            `{"loss": ..., "accuracy": ...}`, or the metrics the trainer was given.
        """
        return evaluate(self.model, data, self.loss, self.metrics)

    def predict(self, data: Any) -> Array:
        """The model's output for each sample, in evaluation mode and without gradients.

        Args:
            data: (n, ...) samples of any backend, a Dataset (its targets are not used) or a DataLoader.

        Returns:
            (n, ...) on the model's backend; class scores become labels with `argmax`.

        Raises:
            ValueError: no samples.
        """
        return predict(self.model, data)

    # ---- parts ----

    def _hooks(self, name: str) -> list[Callable[[Trainer], None]]:
        """The callbacks' methods of this name that are not the empty ones of the base class."""
        methods = [getattr(callback, name) for callback in self.callbacks]
        return [m for m in methods if getattr(m, "__func__", None) is not getattr(Callback, name)]

    def _call(self, name: str) -> None:
        for hook in self._hooks(name):
            hook(self)
