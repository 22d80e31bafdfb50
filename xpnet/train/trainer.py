"""The training loop: epochs of forward, backward and step, with validation between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from os import PathLike
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet.core.backend import Array, following, namespace
from xpnet.core.notes import discard_errors
from xpnet.data import DataLoader, Dataset
from xpnet.functional.regularizers import l1, l2
from xpnet.functional.weighing import Weight, added_up, ratio, times, weighed
from xpnet.optim.gradients import gradients_of
from xpnet.parallel.communicator import Communicator
from xpnet.parallel.reducer import Reducer
from xpnet.parallel.start import same_buffers, same_start
from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.evaluation import Batches, as_dataset, evaluate, predict
from xpnet.train.history import History
from xpnet.train.lonely import check_last_batch
from xpnet.train.metrics import Mean, Metric, check_metrics
from xpnet.train.resume import (
    check_settings,
    load_checkpoint,
    restore,
    save_checkpoint,
    settings_of,
    state_of,
)
from xpnet.train.scaling import LossScaler

__all__ = ["Trainer", "TrainingDivergedError"]


class Trainer:
    """Train, evaluate and apply a model.

    Args:
        model: a Module.
        loss: `loss(output, target)`, a Tensor of one element, the mean over the batch.
        optimizer: over the model's parameters.
        callbacks: called in this order, a `Checkpoint` or `ModelCheckpoint` last.
        metrics: functions of (output, target) that give a mean over the batch on the device, recorded under
            their names, or `precision()`, `recall()`, `f1()`; default: `accuracy` if targets are integers.
        accumulate: batches whose gradients make one update, as one large batch would, with class weights and
            ignored rows, too: our losses say what each batch weighs; a loss of your own weighs as much as it
            has samples. Batch norm still sees the small batches.
        l1: strength of the penalty l1 * sum |W| on the weights, not on biases and norms (decks S1, S2).
        l2: strength of the penalty l2 * sum W^2, whose gradient is 2 l2 W. The objective is the loss plus
            both; `train_loss` is the loss alone, to compare with `val_loss`, and `train_penalty` the rest.
        scaler: a `LossScaler`, for models in float16.
        communicator: of the ranks that train this model together (`xpnet.parallel`); each takes its share of
            every batch of the DataLoader, whose batch size is that of all ranks together. Default: alone.

    Raises:
        ValueError: accumulate is below 1, a strength is negative, or the optimizer is of another model.
        TypeError: the loss, a metric or a callback is none.

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
        accumulate: int = 1,
        l1: float = 0.0,
        l2: float = 0.0,
        scaler: LossScaler | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        if accumulate < 1 or l1 < 0 or l2 < 0:
            raise ValueError(
                "Trainer: accumulate must be at least 1, l1 and l2 at least 0, "
                f"got {accumulate}, {l1} and {l2}"
            )
        check_metrics(metrics)
        _check_parts(model, loss, optimizer, callbacks)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.callbacks, self.metrics = list(callbacks), metrics
        self.accumulate, self.l1, self.l2, self.scaler = accumulate, l1, l2, scaler
        self.communicator = Communicator() if communicator is None else communicator
        self.history = History()
        self.data: Any = None
        self.validation: Any = None
        self.epoch = self.epochs = 0
        self.batches: int | None = None
        self.step = 0  # updates made in this fit
        self.batch: tuple[Any, Any] | None = None
        self.output: Any = None
        self.loss_value: Array = None
        self.loss_weight: float | Array = 0  # of the latest update: what its mean was divided by
        self.stop = False
        self._reducer: Reducer | None = None  # where there are several ranks
        self._reduced = False  # whether the gradients are sums over all ranks already
        self._trained: tuple[dict[str, Any], dict[str, Any]] | None = None  # see `show`
        self._begin()

    def _begin(self) -> None:
        """The state of a run that has not begun."""
        self.history, self.step, self.stop = History(), 0, False
        self._mean, self._taken = Mean(), 0  # of the running epoch: the losses, the batches taken
        self._settled = True  # between two updates: the state is one to resume from
        self._start_clock(0.0)

    # ---- training ----

    @following
    def fit(
        self,
        train: Dataset | Batches,
        validation: Dataset | Batches | None = None,
        epochs: int = 10,
        resume: str | PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs and return what was measured, which is also kept in `trainer.history`.

        Args:
            train: a DataLoader, or anything that gives (x, y) batches each time it is iterated over; a
                Dataset, or a pair of arrays (x, y), is loaded in shuffled batches of 32.
            validation: likewise; a Dataset is loaded in order. Default: no validation.
            epochs: how often to go through the training data at most, with those before a checkpoint.
            resume: a checkpoint of the same run (`save_checkpoint`, `Checkpoint`, `ModelCheckpoint`): go on
                from there, with the same bits as if it had not stopped. Model, optimizer, data and callbacks
                are made as they were for the first part.

        Returns:
            `train_loss`, `lr` and `seconds` of each epoch; with validation, `val_loss` and `val_accuracy`.

        Raises:
            ValueError: no epochs, no batches, a last batch of one sample for batch norm, or a checkpoint that
                is damaged or of another run.
            TrainingDivergedError: the mean loss of an epoch is NaN or infinite.

        The loss of each batch stays on the device; the host waits once an epoch.
        """
        if epochs < 1:
            raise ValueError(f"Trainer.fit: epochs must be at least 1, got {epochs}")
        train = as_dataset(train)
        if isinstance(train, Dataset):
            train = DataLoader(train)
        self._reducer = None
        if self.communicator.size > 1:
            _shard(train, self.communicator)
            self._reducer = Reducer(self.model.parameters(), self.communicator)
        saved, previous = None, (self.data, self.validation)
        self.data, self.validation = train, validation
        if resume is not None:
            try:
                saved = load_checkpoint(resume)
                check_settings(saved["settings"], settings_of(self), resume)
            except Exception:
                self.data, self.validation = previous
                raise
        check_last_batch(self.model, train)
        self._begin()
        self._trained = None
        self.epoch, self.epochs = 0, epochs
        self.batches = -(-len(train) // self.accumulate) if isinstance(train, Sized) else None
        try:
            same_start(self.model, self.communicator)
            self._call("on_fit_begin")
            if saved is not None:
                self._resume(saved["state"])
            while self.history.epochs < epochs and not self.stop:
                self._fit_epoch()
        except BaseException:
            discard_errors()  # what a device has noted belongs to the run that failed
            raise
        finally:
            self._call("on_fit_end")
            self.batch = self.output = None
            self.model.eval()
        return self.history

    def _resume(self, state: dict[str, Any]) -> None:
        self.epoch = len(next(iter(state["history"].values()), []))
        if state["batches"]:  # what callbacks set up at the beginning of an epoch; their state follows
            self._call("on_epoch_begin")
        restore(self, state)

    def _fit_epoch(self) -> None:
        """The rest of an epoch: training, validation, the row of the history."""
        self.epoch = self.history.epochs
        if not self._taken:
            self._call("on_epoch_begin")
            self._start_clock(0.0)
        self._train_epoch()
        same_buffers(self.model, self.communicator)
        row = self.communicator.share(self._measure())
        self.history.append(row)
        self._mean, self._taken, self._settled = Mean(), 0, True
        self._call("on_epoch_end")
        self.stop = self.communicator.share(self.stop)

    def _measure(self) -> dict[str, float] | None:
        """The row of the history, on rank 0."""
        row = {"train_loss": self._mean.result("training data")}
        if not math.isfinite(row["train_loss"]):
            rate = self.optimizer.param_groups[0]["lr"]
            raise TrainingDivergedError(
                f"the training loss is {row['train_loss']} in epoch {self.epoch + 1}; "
                f"lower the learning rate (now {rate:g}) or clip the gradients"
            )
        if not self.communicator.is_main:
            return None
        if self.l1 or self.l2:
            row["train_penalty"] = float(sum(penalty.item() for penalty in self._penalties()))
        if self.validation is not None:
            row |= {f"val_{name}": value for name, value in self.evaluate(self.validation).items()}
        return row | {"lr": self.optimizer.param_groups[0]["lr"], "seconds": self._elapsed()}

    def _train_epoch(self) -> None:
        """The batches of an epoch that are left."""
        self.model.train()
        backward_end, batch_end = self._hooks("on_backward_end"), self._hooks("on_batch_end")
        self._settled = False
        pending: list[Weight] = []  # of the batches that the next update is made of
        for x, y in self._rest():
            self._taken += 1
            self._backward(x, y, pending)
            if len(pending) == self.accumulate:
                self._update(pending, backward_end, batch_end)
                pending = []
        if pending:
            self._update(pending, backward_end, batch_end)

    def _rest(self) -> Iterator[tuple[Any, Any]]:
        """The batches of this epoch; a loader knows how many it has given, of others they are skipped."""
        batches = iter(self.data)
        if not hasattr(self.data, "state_dict"):
            for _ in range(self._taken):
                next(batches, None)
        return batches

    def _backward(self, x: Any, y: Any, pending: list[Weight]) -> None:
        """Add one batch's gradient, in units of the first batch of this update; weights are of all ranks."""
        if not pending:
            self.optimizer.zero_grad()
        self.batch = x, y
        self.output = output = self.model(x)
        value, mine = weighed(self.loss, output, y, x.shape[0])
        mine, weight = self._of_all_ranks(mine)
        unit = pending[0].losses if pending else weight.losses
        part = 1 if self._alone else mine.total / unit
        seed = part if self.scaler is None else part * self.scaler.scale
        plain = not hasattr(seed, "dtype") and seed == 1
        slope = None if plain else times(namespace(value.data).ones_like(value.data), seed)
        self._reduced = self._reducer is not None and len(pending) + 1 == self.accumulate
        with self._reducer.during_backward() if self._reduced else nullcontext():  # type: ignore[union-attr]
            value.backward(slope)
        loss = value.data
        if self.communicator.size > 1:
            loss = self.communicator.mean(times(loss, ratio(mine.total, weight.total)), 1.0)
        self._mean.add(loss, weight.total)
        share = loss if self._alone else times(loss, weight.total / unit)
        self.loss_value = share if not pending else self.loss_value + share
        self.loss_weight = weight.total if not pending else self.loss_weight + weight.total
        pending.append(weight)

    @property
    def _alone(self) -> bool:
        """Whether one batch makes one update: its mean is right whatever it weighs."""
        return self.accumulate == self.communicator.size == 1

    def _of_all_ranks(self, mine: Weight) -> tuple[Weight, Weight]:
        """This rank's weight of a batch, and that of all ranks together."""
        if self._alone:
            return mine, mine
        mine = Weight(added_up(mine.total), mine.losses)
        if self.communicator.size == 1:
            return mine, mine
        host = np.asarray([float(mine.total), mine.losses])  # on the host: ranks may differ in who has arrays
        total, count = self.communicator.total(host).tolist()
        return Weight(host[0].item(), mine.losses), Weight(total, int(count))

    def _update(
        self,
        pending: list[Weight],
        backward_end: list[Callable[..., None]],
        batch_end: list[Callable[..., None]],
    ) -> None:
        """One step from the gradients that have been added up."""
        if self._reducer is not None and not self._reduced:
            for gradient in gradients_of(self.model):
                self.communicator.all_reduce(gradient)
        # whatever else reads or adds to the gradients needs them divided already
        direct = None if self.l1 or self.l2 or backward_end else self.optimizer
        usable = self.scaler is None or self.scaler.unscale(gradients_of(self.model), optimizer=direct)
        if not self._alone:
            self._average(ratio(pending[0].losses, self.loss_weight))
        if usable:
            if self.l1 or self.l2:
                for penalty in self._penalties():
                    penalty.backward()
            for hook in backward_end:
                hook(self)
            self.optimizer.step()
        self.step += 1
        self._settled = True
        for hook in batch_end:
            hook(self)
        self._settled = False

    def _average(self, share: float | Array) -> None:
        """Make means of the gradients and the loss that have been added up."""
        if isinstance(share, float) and share == 1:
            return
        self.loss_value = times(self.loss_value, share)
        for gradient in gradients_of(self.model):
            gradient *= share if isinstance(share, float) else namespace(share).astype(share, gradient.dtype)

    def _penalties(self) -> list[Any]:
        terms = (l1, self.l1), (l2, self.l2)
        return [penalty(self.model, strength) for penalty, strength in terms if strength]

    def show(self, state: Mapping[str, Any]) -> None:
        """Put other weights in, the best or averaged ones, at the end of training; for `on_fit_end`.

        A checkpoint written after that still holds the trained ones, from which a resumed run goes on.

        Args:
            state: parameters and buffers by name, as `model.state_dict()` gives.
        """
        trained = self.model.state_dict() if self._trained is None else self._trained[1]
        self.model.load_state_dict(state)
        self._trained = self.model.state_dict(), trained

    # ---- saving ----

    def save_checkpoint(self, path: str | PathLike[str], facts: Mapping[str, Any] | None = None) -> None:
        """Write everything that `fit(..., resume=path)` needs, in one file, atomically.

        The file holds model, optimizer, schedules, random streams, the place in the data, history and what
        callbacks remember, in safetensors and JSON; arrays of any backend, to be read on any other. Within a
        hook, call it from the last callback (`Callback.last`), or what later ones do is not in it.

        Args:
            path: the file, replaced if it exists.
            facts: anything else JSON can hold, read with `load_checkpoint(path)["facts"]`.

        Raises:
            ImportError: safetensors is missing.
            OSError: the file cannot be written.
            RuntimeError: training was broken off within an update: there is no state to resume from.
        """
        save_checkpoint(self, path, facts)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds, in memory: copies, not changed by further training.

        Raises:
            RuntimeError: training was broken off within an update.
        """
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` gave. If that fails, nothing has changed."""
        restore(self, state)

    def settings(self) -> dict[str, Any]:
        """What a resumed run must share, beside model, optimizer, data and callbacks."""
        return {
            "accumulate": self.accumulate,
            "validation": self.validation is not None,
            "metrics": None if self.metrics is None else [metric.__name__ for metric in self.metrics],
            "l1": self.l1,
            "l2": self.l2,
            "scaler": None if self.scaler is None else self.scaler.settings(),
        }

    def _start_clock(self, seconds: float) -> None:
        self._started = time.perf_counter() - seconds

    def _elapsed(self) -> float:
        """Seconds spent on this epoch."""
        return time.perf_counter() - self._started

    # ---- applying the model ----

    def evaluate(self, data: Dataset | Batches, metrics: Sequence[Metric] | None = None) -> dict[str, float]:
        """The mean loss and metrics over the data, in evaluation mode and without gradients.

        Args:
            data: a Dataset, a DataLoader, or anything that gives (x, y) batches.
            metrics: instead of the trainer's own.

        Returns:
            `{"loss": ..., "accuracy": ...}`, or the metrics the trainer was given.
        """
        return evaluate(self.model, data, self.loss, self.metrics if metrics is None else metrics)

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
        mine = [c for c in self.callbacks if self.communicator.is_main or not c.main_only]
        in_order = sorted(mine, key=lambda callback: callback.last)
        methods = [getattr(callback, name) for callback in in_order]
        return [m for m in methods if getattr(m, "__func__", None) is not getattr(Callback, name)]

    def _call(self, name: str) -> None:
        for hook in self._hooks(name):
            hook(self)


def _check_parts(model: Any, loss: Any, optimizer: Any, callbacks: Any) -> None:
    """Refuse at once what would fail after an epoch, or train nothing."""
    if not callable(loss):
        hint = f"; pass xpnet.functional.{loss}" if isinstance(loss, str) and hasattr(F, loss) else ""
        raise TypeError(f"Trainer: loss must be a function of (output, target), got {loss!r}{hint}")
    if isinstance(callbacks, Callback | type):
        raise TypeError(f"Trainer: callbacks must be a list, got {callbacks!r}; pass [callback]")
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(
                f"Trainer: callbacks has the class {callback.__name__}; pass {callback.__name__}(...)"
            )
    if hasattr(model, "parameters"):
        own = {id(p) for p in model.parameters()}
        trained = [p for group in getattr(optimizer, "param_groups", []) for p in group["params"]]
        if trained and own and not any(id(p) in own for p in trained):
            raise ValueError(
                "Trainer: the optimizer has the parameters of another model, none of this one; make it of "
                "this model, as in optim.Adam(model)"
            )


def _shard(data: Any, communicator: Communicator) -> None:
    """This rank's part of the training data."""
    if not hasattr(data, "shard"):
        raise TypeError(
            f"Trainer.fit: {communicator.size} ranks share the batches of a DataLoader or a Dataset, "
            f"got {type(data).__name__}"
        )
    data.shard(communicator.rank, communicator.size)
