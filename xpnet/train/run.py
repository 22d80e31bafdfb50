"""A run: everything that changes while a model is trained, which a checkpoint holds and callbacks see.

That is parameters and buffers, the optimizer's moments and rates, the random streams, the place in the
training data, the history, the running means of the epoch, what callbacks remember. Training goes on from it
bit for bit.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from typing import Any, Protocol

import numpy as np

from xpnet.core import random
from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.core.places import following
from xpnet.core.renamed import renamed
from xpnet.io.files import Content
from xpnet.io.generations import write_generation
from xpnet.parallel.communicator import Communicator
from xpnet.parallel.replicas import Replicas
from xpnet.train.callbacks import Callback
from xpnet.train.changes import Changes
from xpnet.train.environment import environment
from xpnet.train.evaluation import evaluate, predict
from xpnet.train.finiteness import FinitenessCheck, check_finite
from xpnet.train.history import History
from xpnet.train.identity import content_of, identity_of, meaning_of
from xpnet.train.metrics import Mean, Metrics, names_of
from xpnet.train.modes import used
from xpnet.train.resume import checkpoint_content
from xpnet.train.rounding import forward_in, products_in
from xpnet.train.scaling import LossScaler


class Stepping(Protocol):
    """What a run asks of its step (`xpnet.train.step.Step`)."""

    own_forward: Callable[..., Any] | None

    @property
    def name(self) -> str | None:
        """What the settings call it."""

    def evaluate(self, run: Run, data: Any, metrics: Metrics | None = None) -> dict[str, float]:
        """What it measures of data that are not trained on."""


class Run:
    """A model in training. `Trainer` makes one, and is one; hooks and steps are given it.

    Attributes:
        model: the Module.
        loss: `loss(output, target)`; None if the step has its own.
        optimizer: over the model's parameters; a mapping of several by name, if several were given.
        callbacks, metrics, accumulate, l1, l2, scaler, communicator: as the Trainer was given them.
        train_step: what happens with a batch, a `Step`.
        capture: whether its work is one launch.
        history: what was measured, epoch by epoch.
        data, validation: what `fit` was given, as batches.
        epoch: from 0; epochs: how many there are to be.
        batches: updates in an epoch, None if unknown; taken: batches of this epoch so far.
        step: updates so far.
        batch, output, loss_value: of the latest batch, on the device; the loss without penalties.
        loss_weight: what the mean `loss_value` was divided by.
        means: of the epoch so far, by name.
        between_updates: whether this is a state to resume from.
        stop: set it to end training after this epoch.
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
        *,
        step: Stepping,
        capture: bool = False,
        precision: str | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.callbacks, self.metrics = list(callbacks), metrics
        self.accumulate, self.l1, self.l2, self.scaler = accumulate, l1, l2, scaler
        self.communicator = Communicator() if communicator is None else communicator
        self.train_step, self.capture, self.precision = step, capture, precision
        self._asks_within = False  # whether rank 0 may ask for the state within an epoch
        self.replicas: Replicas | None = None  # the ranks' models, where there are several
        self.data: Any = None
        self.validation: Any = None
        self.epoch = self.epochs = 0
        self.batches: int | None = None
        self.batch: Any = None
        self.output: Any = None
        self.loss_value: Array = None
        self.loss_weight: float | Array = 0
        self._trained: tuple[dict[str, Any], dict[str, Any]] | None = None  # see `show`
        self._meaning: dict[str, Any] | None = None  # before training, which may change what is counted in it
        self._content: tuple[Any, Any, dict[str, Any]] | None = None  # of these data and validation data
        self._finiteness = FinitenessCheck()
        self.reset()

    def reset(self) -> None:
        """Become a run that has not begun, of the same parts."""
        self.history, self.step, self.stop, self.between_updates = History(), 0, False, True
        self._trained = None
        self._finiteness.reset()
        self.next_epoch()
        self.seconds = 0.0

    def next_epoch(self) -> None:
        """Forget what was measured in the epoch that has ended."""
        self.means: defaultdict[str, Mean] = defaultdict(Mean)
        self.taken = 0

    def rest(self) -> Iterator[Any]:
        """The batches of this epoch that are left; a loader knows how many it has given."""
        batches = iter(self.data)
        if not hasattr(self.data, "state_dict"):
            for _ in range(self.taken):
                next(batches, None)
        return batches

    def count_update(self, hooks: Sequence[Callable[[Run], None]] = ()) -> None:
        """An update has been made: tell the hooks, which may save what there is now."""
        self.step += 1
        if self.replicas is not None:
            self.replicas.look(self.step)
        self._finiteness.look(self)
        self.between_updates = True
        with self.asking() if self._asks_within else nullcontext():
            for hook in hooks:
                hook(self)
        self.between_updates = False

    def begin_epoch(self) -> None:
        """Before the first batch, or what is left of it: see whether rank 0 may write a state within it."""
        asks = any(
            c.main_only and type(c).on_batch_end is not Callback.on_batch_end and c.asks_within()
            for c in self.callbacks
        )
        self._asks_within = self.shards is not None and bool(self.communicator.broadcast_object(asks))

    @property
    def shards(self) -> Any:
        """How ranks share the moments of the optimizer; None if they do not."""
        return getattr(self.optimizer, "shards", None)

    def asking(self) -> AbstractContextManager[object]:
        """Around hooks that rank 0 alone may call, and that may ask for the state: the others give theirs."""
        return nullcontext() if self.shards is None else self.shards.serving(self.optimizer)

    def require_loss(self, name: str) -> Array:
        """`loss_value`, for whoever is called `name` and needs it.

        Raises:
            ValueError: the step gives none.
        """
        if self.loss_value is None:
            raise ValueError(f"{name} needs a loss: let the step return one, in a dict under 'loss'")
        return self.loss_value

    @property
    def seconds(self) -> float:
        """Spent on this epoch."""
        return time.perf_counter() - self._started

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._started = time.perf_counter() - seconds

    def hooks(self, name: str) -> list[Callable[[Run], None]]:
        """The callbacks' methods of this name that are not the empty ones of the base class, in order."""
        mine = [c for c in self.callbacks if self.communicator.is_main or not c.main_only]
        in_order = sorted(mine, key=lambda callback: callback.last)
        methods = [getattr(callback, name) for callback in in_order]
        return [m for m in methods if getattr(m, "__func__", None) is not getattr(Callback, name)]

    def call(self, name: str) -> None:
        """Call the hooks of this name."""
        for hook in self.hooks(name):
            hook(self)

    # ---- applying the model ----

    @following
    def evaluate(self, data: Any, metrics: Metrics | None = None) -> dict[str, float]:
        """The mean loss and metrics over the data, in evaluation mode and without gradients.

        Args:
            data: a Dataset, a DataLoader, or anything that gives batches.
            metrics: instead of the run's own.

        Returns:
            `{"loss": ..., "accuracy": ...}`, or the metrics the trainer was given; without a loss, what the
            step gives for these batches, and metrics that name an output.
        """
        with products_in(self.precision), forward_in(self.precision), used(self.optimizer):
            chosen = self.metrics if metrics is None else metrics
            if self.loss is not None:
                return evaluate(self.model, data, self.loss, chosen)
            if chosen is None:
                return self.train_step.evaluate(self, data)
            return self.train_step.evaluate(self, data, chosen)

    def predict(self, data: Any) -> Any:
        """The model's output for each sample, in evaluation mode and without gradients.

        Args:
            data: (n, ...) samples of any backend, a Dataset (its targets are not used) or a DataLoader.

        Returns:
            (n, ...) on the model's backend; class scores become labels with `argmax`. Tuples and dicts of
            such, if the model gives them.

        Raises:
            ValueError: no samples.
        """
        with products_in(self.precision), forward_in(self.precision), used(self.optimizer):
            return predict(self.model, data)

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

    @renamed(facts="metadata")
    def save_checkpoint(self, path: str | PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Write everything that `fit(..., resume=path)` needs, in one file, atomically.

        The file holds model, optimizer, schedules, random streams, the place in the data, history and what
        callbacks remember, in safetensors and JSON; arrays of any backend, to be read on any other. Within a
        hook, call it from the last callback (`Callback.last`), or what later ones do is not in it.

        Args:
            path: the file, replaced if it exists.
            metadata: anything else JSON can hold, read with `load_checkpoint(path)["metadata"]`.

        Raises:
            ImportError: safetensors is missing.
            OSError: the file cannot be written.
            RuntimeError: training was broken off within an update: there is no state to resume from.
            TrainingDivergedError: a parameter or the loss is not finite: what the file holds is better.
        """
        write_generation(path, self.checkpoint_content(path, metadata).encode(), keep=1)

    def checkpoint_content(
        self, path: str | PathLike[str], metadata: Mapping[str, Any] | None = None
    ) -> Content:
        """What `save_checkpoint` writes, on the host.

        Raises:
            RuntimeError, TrainingDivergedError: as there; the path is for the message.
        """
        state = self.state_dict()
        check_finite(self, path)
        return checkpoint_content(self.identity(), state, metadata)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds, in memory: copies, not changed by further training.

        Raises:
            RuntimeError: training was broken off within an update.
        """
        if not self.between_updates:
            raise RuntimeError(
                "training was broken off within an update: there is nothing exact to save; "
                "resume from the checkpoint written before"
            )
        return {
            "model": self._trained_weights(),
            "optimizer": self.optimizer.state_dict(),
            "random": random.generator_state(),
            "data": _position(self.data),
            "validation": _position(self.validation),
            "history": dict(self.history),
            "means": {name: mean.state_dict() for name, mean in self.means.items()},
            "batches": self.taken,
            "step": self.step,
            "stop": self.stop,
            "seconds": self.seconds,
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "callbacks": [callback.state_dict() for callback in self._stateful()],
        }

    def load_state_dict(self, state: Mapping[str, Any], changed: Changes | None = None) -> None:
        """Go back to what `state_dict` gave. If that fails, nothing has changed.

        Args:
            state: what `state_dict` gave.
            changed: what is not loaded as it is, since this run has it otherwise.
        """
        before = self.state_dict()
        try:
            self._load(state, changed or Changes())
        except Exception:
            self._load(before, Changes())
            raise

    def _load(self, state: Mapping[str, Any], changed: Changes) -> None:
        self.model.load_state_dict(state["model"])
        changed.load_optimizer(self.optimizer, state["optimizer"])
        changed.load_callbacks(self._stateful(), state["callbacks"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        for data, position in ((self.data, state["data"]), (self.validation, state["validation"])):
            if position is not None and hasattr(data, "load_state_dict"):
                data.load_state_dict(position)
        self.history.replace(state["history"])
        # a checkpoint of version 0.1.0 has the loss alone, as "mean"
        means = state["means"] if "means" in state else {"loss": state["mean"]}
        self.means = defaultdict(Mean)
        for name, mean in means.items():
            self.means[name].load_state_dict(mean)
        self.taken, self.step, self.stop = state["batches"], state["step"], state["stop"]
        if any(c.goes_on for c in self.callbacks) and not any(c.stopped for c in self.callbacks):
            self.stop = False  # whoever ended the run would not have, with the patience it has now
        self.seconds = state["seconds"]
        self._trained = None
        random.set_generator_state(state["random"])
        random.split_by_rank(self.communicator.rank)

    def settings(self) -> dict[str, Any]:
        """What a resumed run must share, beside model, optimizer, data and callbacks."""
        return {
            "accumulate": self.accumulate,
            "validation": self.validation is not None,
            "metrics": None if self.metrics is None else names_of(self.metrics),
            "l1": self.l1,
            "l2": self.l2,
            "scaler": None if self.scaler is None else self.scaler.settings(),
            "step": self.train_step.name,
            "precision": self.precision,
        }

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to go on as if it had not stopped, in terms of JSON."""
        stateful = self._stateful()
        named = {id(c): {"name": type(c).__name__, **c.settings()} for c in self.callbacks}
        callbacks = [
            named[id(c)] for c in self.callbacks if c in stateful or type(c).settings is not Callback.settings
        ]
        found = identity_of(self.model, self.optimizer, self.data, self.settings(), callbacks)
        found["stateful"] = [named[id(c)] for c in stateful]
        found["meaning"] = {**self.meaning(), **self.content()}
        found["environment"] = environment(self.model, self.communicator.size)
        return found

    def meaning(self, renew: bool = False) -> dict[str, Any]:
        """What loss, step, augmentation and transform are, as they were when `fit` began."""
        if self._meaning is None or renew:
            self._meaning = meaning_of(self.loss, self.train_step.own_forward, self.data)
        return self._meaning

    def content(self) -> dict[str, Any]:
        """Hashes of samples and targets, made once, when they are first asked for."""
        if (
            self._content is None
            or self._content[0] is not self.data
            or self._content[1] is not self.validation
        ):
            self._content = self.data, self.validation, content_of(self.data, self.validation)
        return self._content[2]

    def _stateful(self) -> list[Callback]:
        return [c for c in self.callbacks if type(c).state_dict is not Callback.state_dict]

    def _trained_weights(self) -> dict[str, Any]:
        """The weights that training would go on with: not the best or averaged ones put in at its end."""
        current = self.model.state_dict()
        if self._trained is None:
            return current
        shown, trained = self._trained
        same = all(
            np.array_equal(_host(shown[name]), _host(value), equal_nan=True)
            for name, value in current.items()
        )
        return trained if same else current


def _position(data: Any) -> Any:
    """Where a loader is; None for data that always begin at their beginning."""
    return data.state_dict() if hasattr(data, "state_dict") else None


def _host(array: Any) -> np.ndarray:
    return np.asarray(to_numpy(array), dtype=np.float64)
