"""The training loop: epochs of steps, with validation between them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from os import PathLike
from typing import Any

from xpnet import functional as F
from xpnet.core import random
from xpnet.core.checks import nearest, number, size
from xpnet.core.notes import discard_errors
from xpnet.core.places import following
from xpnet.core.reading import reading
from xpnet.data import DataLoader
from xpnet.data.source import Samples, is_data_set
from xpnet.io.locks import claimed
from xpnet.parallel.communicator import Communicator
from xpnet.parallel.leaving import RanksDifferError
from xpnet.parallel.replicas import Replicas
from xpnet.parallel.start import same_buffers, same_start
from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.changes import Changes, check_resume
from xpnet.train.evaluation import Batches, as_dataset
from xpnet.train.finiteness import has_grown, remedy
from xpnet.train.history import History
from xpnet.train.identity import check_allowed
from xpnet.train.lonely import check_last_batch
from xpnet.train.metrics import Metrics, check_metrics, results
from xpnet.train.modes import asleep, rules_of, set_mode, train_but
from xpnet.train.optimizers import Optimizers
from xpnet.train.progress import Progress, is_read
from xpnet.train.ranks import check_ranks
from xpnet.train.resume import load_checkpoint
from xpnet.train.rounding import check_precision
from xpnet.train.run import Run
from xpnet.train.scaling import LossScaler
from xpnet.train.step import OF_A_STEP, Forward, Step, as_step

__all__ = ["Trainer", "TrainingDivergedError"]


class Trainer(Run):
    """Train, evaluate and apply a model.

    Args:
        model: a Module.
        loss: `loss(output, target)`, a Tensor of one element, the mean over the batch; None where the step
            has its own, which then measures the validation data, too.
        optimizer: over the model's parameters; or several by name, `{"generator": ..., ...}`, to be had as
            `run.optimizer["generator"]`.
        callbacks: called in this order, a `Checkpoint` or `ModelCheckpoint` last.
        metrics: functions of (output, target) that give a mean over the batch on the device, recorded under
            their names, or `precision()`, `roc_auc()` and others of all data; default: `accuracy` if targets
            are integers. Of several outputs, lists by name: `{"kind": [accuracy], "size": [r2()]}`.
        accumulate: batches whose gradients make one update, as one large batch would, with class weights and
            ignored rows, too: our losses say what each batch weighs; a loss of your own weighs as much as it
            has samples. Batch norm still sees the small batches.
        l1: strength of the penalty l1 * sum |W| on the weights, not on biases and norms (decks S1, S2).
        l2: strength of the penalty l2 * sum W^2, whose gradient is 2 l2 W. The objective is the loss plus
            both; `train_loss` is the loss alone, to compare with `val_loss`, and `train_penalty` the rest.
        scaler: a `LossScaler`, for models in float16.
        communicator: of the ranks that train this model together (`xpnet.parallel`); each takes its part of
            every batch of the DataLoader, whose batch size is that of all ranks together. Default: alone.
        step: what happens with a batch: a function `step(run, batch)` that gives the loss, a `ManualStep`
            that makes its own updates, or a `Step` with methods of yours. Default: the loss of the model's
            output.
        capture: make one launch of what the device does with a batch, or on NumPy calls without the tape
            (`xpnet.capture`), with the
            same bits; where that cannot be, a warning says why, and training goes on as without it.
        verbose: print a line an epoch, as `Progress` does. Default: if the process prints to a terminal, a
            pipe, a file or a notebook, unless `Progress`, or `Live` in the notebook's cell, is among the
            callbacks. False: print nothing.
        precision: of a float32 model, whose weights, gradients and moments stay so. "bf16": products in that
            type, what flows between layers with them, as `xpnet.autocast` says, with the error there.
            "float16": likewise, and with a `LossScaler`, if none is given. "tf32" or "float32": how exact
            float32 products on CUDA are (`xpnet.matmul_precision`; no effect on NumPy). The same holds for
            `evaluate` and `predict`. Default: float32 products as the context has them.

    Batches are `(x, y)`, or tuples and dicts of several inputs and targets: the last element of a tuple is
    the target, of a dict the entry called y, target, targets, label or labels. Several inputs become several
    arguments of the model, those of a dict by name. The output may be a tuple or a dict; the loss is given
    it as it is.

    Raises:
        ValueError: accumulate is below 1, a strength is negative, or the optimizer is of another model; no
            such precision, or not of this model or backend.
        TypeError: the loss, a metric, a callback or the step is none.

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
        loss: Callable[[Any, Any], Any] | None,
        optimizer: Any,
        callbacks: Sequence[Callback] = (),
        metrics: Metrics | None = None,
        accumulate: int = 1,
        l1: float = 0.0,
        l2: float = 0.0,
        scaler: LossScaler | None = None,
        communicator: Communicator | None = None,
        step: Step | Forward | None = None,
        capture: bool = False,
        verbose: bool | None = None,
        precision: str | None = None,
    ) -> None:
        if verbose is None:
            verbose = is_read() and not any(getattr(c, "shows_epochs", False) for c in _listed(callbacks))
        accumulate = size("Trainer", "accumulate", accumulate)
        l1, l2 = number("Trainer", "l1", l1, 0), number("Trainer", "l2", l2, 0)
        check_metrics(metrics)
        _check_shards(optimizer, communicator)
        precision = check_precision(precision, model)
        if precision == "float16" and scaler is None and getattr(step, "makes_updates", True):
            scaler = LossScaler()
        optimizer = Optimizers(optimizer) if isinstance(optimizer, Mapping) else optimizer
        _check_parts(model, loss, optimizer, callbacks, metrics, step)
        _check_closure(optimizer, accumulate, scaler, communicator, step)
        if verbose:
            callbacks = [*callbacks, Progress(False)]
        self.train_step: Step = as_step(step)
        self.asleep: list[Any] = []  # modules that stay in evaluation mode while the model trains
        super().__init__(
            model,
            loss,
            optimizer,
            callbacks,
            metrics,
            accumulate,
            l1,
            l2,
            scaler,
            communicator,
            step=self.train_step,
            capture=capture,
            precision=precision,
        )

    @following
    def fit(
        self,
        train: Samples | Batches,
        validation: Samples | Batches | None = None,
        epochs: int = 10,
        resume: str | PathLike[str] | None = None,
        allow: Sequence[str] = (),
    ) -> History:
        """Train for some epochs and return what was measured, which is also kept in `trainer.history`.

        Args:
            train: a DataLoader, or anything that gives batches each time it is iterated over; a Dataset, any
                other data set of numbered samples, arrays (x, y) or (x1, x2, y), or a dict of arrays is
                loaded in shuffled batches of 32.
            validation: likewise; a data set is loaded in order. Default: no validation.
            epochs: how often to go through the training data at most, with those before a checkpoint.
            resume: a checkpoint of the same run (`save_checkpoint`, `Checkpoint`, `ModelCheckpoint`): go on
                from there, with the same bits as if it had not stopped. Model, optimizer, data and callbacks
                are made as they were for the first part, or it is refused, and nothing has changed.
            allow: with `resume`, what is meant to be otherwise from there on: "loss", "step", "optimizer"
                (its hyperparameters; another rule begins anew), "data", "augmentation", "callbacks"
                (schedules go on with other constants, new ones begin), "accumulate", "l1", "l2". Without it,
                more epochs and other patience may be given, and whatever changes no bit.

        Returns:
            `train_loss`, `lr` and `seconds` of each epoch; with validation, `val_loss` and `val_accuracy`;
            `train_<name>` of what the step gives beside the loss.

        Raises:
            ValueError: no epochs, no batches, a last batch of one sample for batch norm, or a checkpoint that
                is damaged.
            AnotherRunError: a checkpoint of another run; the message names what differs.
            TrainingDivergedError: the mean loss of an epoch is NaN or infinite, or a parameter is.
            InUseError: another run writes a file that a callback is to write; an OSError that names both.
            RanksDifferError: several ranks were given different things to train, named with what each has; or
                their weights have become different ones.

        Warns:
            EnvironmentWarning: the checkpoint was written on another backend, device, version, number of
                threads or the like: what follows is equal up to rounding only.
            UserWarning: the loss is a million times the first one; see `StopOnDivergence` for less.

        The loss of each batch stays on the device; the host waits once an epoch. Parameters are looked at
        there every 50 updates, without waiting. Several models may train in several threads, each with the
        bits that it has alone: a thread beside the main one has random streams of its own, which begin where
        those of the process are, or where `xpnet.manual_seed` puts them there. A model may be applied in
        another thread while it trains.
        """
        epochs = size("Trainer.fit", "epochs", epochs)
        if self.optimizer is None:
            raise TypeError("Trainer.fit: the optimizer is None; pass one, such as optim.Adam(model)")
        random.own_streams()
        train = as_dataset(train)
        if not isinstance(train, Iterable) and not hasattr(train, "__getitem__"):
            raise TypeError(f"Trainer.fit: expected a data set or batches, got {train!r}")
        if is_data_set(train):
            train = DataLoader(train)
        if self.communicator.size > 1:
            _shard(train, self.communicator)
        mine = [c for c in self.callbacks if self.communicator.is_main or not c.main_only]
        with claimed(*(path for callback in mine for path in callback.outputs())):
            return self._fit(train, validation, epochs, resume, allow)

    def _fit(
        self,
        train: Any,
        validation: Any,
        epochs: int,
        resume: str | PathLike[str] | None,
        allow: Sequence[str],
    ) -> History:
        saved, changes, previous = None, Changes(), (self.data, self.validation)
        self.data, self.validation = train, validation
        if resume is not None:
            try:
                check_allowed(allow)
                saved = load_checkpoint(resume)
                self.meaning(renew=True)
                with reading(resume, "a checkpoint of this run"):
                    changes = check_resume(saved["settings"], self.identity(), resume, allow)
            except Exception:
                (self.data, self.validation), self._meaning = previous, None
                raise
        else:
            self.meaning(renew=True)
        if getattr(train, "prefetch", 0):
            self.content()  # before another thread reads the data, too
        if self.model.training:  # else everything is in evaluation mode, as after an earlier fit
            self.asleep = asleep(self.model)
        check_last_batch(self.model, train, self.asleep)
        if self.communicator.size > 1:
            check_ranks(self, epochs, 0 if saved is None else saved["state"]["step"])
            self.replicas = Replicas(self.model, self.communicator)
        self.reset()
        self.epoch, self.epochs, self._has_grown = 0, epochs, False
        self.batches = -(-len(train) // self.accumulate) if isinstance(train, Sized) else None
        try:
            same_start(self.model, self.communicator)
            self.call("on_fit_begin")
            if saved is not None:
                self._go_on(saved["state"], changes, resume)
            with self.communicator.together(alike=(TrainingDivergedError, RanksDifferError)):
                while self.history.epochs < epochs and not self.stop:
                    self._fit_epoch()
        except BaseException:
            discard_errors()  # what a device has noted belongs to the run that failed
            raise
        finally:
            set_mode(self.optimizer, training=False)
            self.call("on_fit_end")
            self.batch = self.output = None
            self.model.eval()
        return self.history

    def _go_on(self, state: dict[str, Any], changes: Changes, path: Any) -> None:
        with reading(path, "a checkpoint of this run"):
            self.epoch = len(next(iter(state["history"].values()), []))
        if state["batches"]:  # what callbacks set up at the beginning of an epoch; their state follows
            self.call("on_epoch_begin")
        with reading(path, "a checkpoint of this run"):
            self.load_state_dict(state, changes)

    def _fit_epoch(self) -> None:
        """The rest of an epoch: training, validation, the row of the history."""
        self.epoch = self.history.epochs
        if not self.taken:
            self.call("on_epoch_begin")
            self.seconds = 0.0
        self._train_epoch()
        set_mode(self.optimizer, training=False)
        if self.replicas is not None:
            self.replicas.send(self.step)
        same_buffers(self.model, self.communicator)
        row = self.communicator.broadcast_object(self._measure())
        if self.replicas is not None:  # the host has waited for the means: it is there
            self.replicas.check()
        self.history.append(row)
        self.next_epoch()
        self.between_updates = True
        with self.asking():
            self.call("on_epoch_end")
        self.stop = self.communicator.broadcast_object(self.stop)

    def _train_epoch(self) -> None:
        """The batches of an epoch that are left."""
        train_but(self.model, self.asleep)
        set_mode(self.optimizer, training=True)
        self.between_updates, step = False, self.train_step
        step.begin(self)
        self.begin_epoch()
        for batch in self.rest():
            self.taken += 1
            step(self, batch)
        step.end(self)

    def _measure(self) -> dict[str, float] | None:
        """The row of the history, on rank 0."""
        if not self.taken:
            raise ValueError("the training data gave no batches; a generator can be used only once")
        row = {f"train_{name}": value for name, value in results(self.means, "training data").items()}
        self._check_finite(row)
        if not self.communicator.is_main:
            return None
        penalties = self.train_step.penalties(self)
        if penalties:
            row["train_penalty"] = float(sum(penalty.item() for penalty in penalties))
        if self.validation is not None:
            row |= {f"val_{name}": value for name, value in self.evaluate(self.validation).items()}
        return row | {"lr": self.optimizer.param_groups[0]["lr"], "seconds": self.seconds}

    def _check_finite(self, row: Mapping[str, float]) -> None:
        """Of the loss; where a step makes its own updates, of all that it gives."""
        for name in ["train_loss"] if "train_loss" in row else row:
            if not math.isfinite(row[name]):
                raise TrainingDivergedError(
                    f"the training {name.removeprefix('train_')} is {row[name]} in epoch {self.epoch + 1}; "
                    f"{remedy(self)}"
                )
        if "train_loss" in row:
            self._check_growth(row["train_loss"])

    def _check_growth(self, loss: float) -> None:
        """A loss beyond all reason is said, when it is first seen."""
        first, *_ = self.history.get("train_loss") or [self.means["loss"].first()]
        if not self._has_grown and has_grown(first, loss):
            self._has_grown = True
            warnings.warn(
                f"the training loss is {loss:g} in epoch {self.epoch + 1}, it began at {first:g}; "
                f"{remedy(self)}. StopOnDivergence (--divergence 3) ends such a run",
                stacklevel=4,
            )


LOSSES = [name for name in F.__all__ if name == "cross_entropy" or name.endswith(("_loss", "_logits"))]


def _listed(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, Iterable) and not isinstance(callbacks, str) else []


def _check_parts(model: Any, loss: Any, optimizer: Any, callbacks: Any, metrics: Any, step: Any) -> None:
    """Refuse at once what would fail after an epoch, or train nothing."""
    if loss is None and step is None:
        raise TypeError("Trainer: loss is None; pass a function of (output, target), or step=")
    if loss is None and not (metrics is None or isinstance(metrics, Mapping)):
        raise TypeError(f"Trainer: {OF_A_STEP}")
    if getattr(loss, "is_step", False):
        raise TypeError(f"Trainer: {type(loss).__name__} is a step: pass it as step=, and None as the loss")
    if isinstance(model, type):
        raise TypeError(f"Trainer: model is the class {model.__name__}; pass {model.__name__}(...)")
    if isinstance(loss, type):
        raise TypeError(f"Trainer: loss is the class {loss.__name__}; pass {loss.__name__}(...)")
    if isinstance(optimizer, type) or not (optimizer is None or hasattr(optimizer, "step")):
        raise TypeError(f"Trainer: expected an optimizer, such as optim.Adam(model), got {optimizer!r}")
    if loss is not None and not callable(loss):
        near = nearest(loss, LOSSES)
        hint = f"; pass xpnet.functional.{near}" if near else ""
        raise TypeError(f"Trainer: loss must be a function of (output, target), got {loss!r}{hint}")
    if isinstance(callbacks, Callback | type | str) or not isinstance(callbacks, Iterable):
        raise TypeError(f"Trainer: callbacks must be a list, got {callbacks!r}; pass [callback]")
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(
                f"Trainer: callbacks has the class {callback.__name__}; pass {callback.__name__}(...)"
            )
        if not isinstance(callback, Callback):
            raise TypeError(f"Trainer: callbacks must be Callbacks, got {callback!r}")
    if hasattr(model, "parameters"):
        own = {id(p) for p in model.parameters()}
        trained = [p for group in getattr(optimizer, "param_groups", []) for p in group["params"]]
        if trained and own and not any(id(p) in own for p in trained):
            raise ValueError(
                "Trainer: the optimizer has the parameters of another model, none of this one; make it of "
                "this model, as in optim.Adam(model)"
            )


def _check_shards(optimizer: Any, communicator: Communicator | None) -> None:
    """Refuse moments that other ranks have than those that train."""
    several = isinstance(optimizer, Mapping)
    for one in optimizer.values() if several else [optimizer]:
        shards = getattr(one, "shards", None)
        if shards is not None and several:
            raise ValueError("Trainer: a dict of optimizers cannot be shared among ranks; pass one optimizer")
        if shards is not None and shards.communicator is not communicator:
            raise ValueError(
                "Trainer: the optimizer is shared among ranks; pass their group, communicator=..., too"
            )


def _check_closure(
    optimizer: Any, accumulate: int, scaler: Any, communicator: Communicator | None, step: Any
) -> None:
    """Refuse what a rule that computes the gradients several times cannot have."""
    needing = [rule for rule in rules_of(optimizer) if getattr(rule, "needs_closure", False)]
    if not needing or not getattr(step, "makes_updates", True):
        return
    found = {
        "accumulate": accumulate > 1,
        "a scaler": scaler is not None,
        "several ranks": communicator is not None and communicator.size > 1,
        "several optimizers": isinstance(optimizer, Mapping),
    }
    for name in (name for name, given in found.items() if given):
        raise ValueError(
            f"Trainer: {type(needing[0]).__name__} computes the gradients of a batch several times, which "
            f"goes not with {name}; leave that out, or call its step(closure) in a ManualStep"
        )


def _shard(data: Any, communicator: Communicator) -> None:
    """This rank's part of the training data."""
    if not hasattr(data, "shard"):
        raise TypeError(
            f"Trainer.fit: {communicator.size} ranks share the batches of a DataLoader or a Dataset, "
            f"got {type(data).__name__}"
        )
    data.shard(communicator.rank, communicator.size)
