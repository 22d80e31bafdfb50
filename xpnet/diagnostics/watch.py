"""Diagnostics during training: a look inside every 100 updates, and the place where a NaN arose."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.core import random
from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.core.op import no_grad
from xpnet.core.places import backend_of, device, namespace
from xpnet.core.tensor import array_of
from xpnet.data.batch import call, parts_of
from xpnet.diagnostics.finding import Finding
from xpnet.diagnostics.layers import (
    activation_scale,
    dead_units,
    gradient_scale,
    saturation,
    update_ratio,
)
from xpnet.diagnostics.observe import Layer, Observation, Observer, Weight
from xpnet.diagnostics.probes import generalization_gap
from xpnet.train.callbacks import Callback, TrainingDivergedError

if TYPE_CHECKING:
    from xpnet.train.run import Run


class Diagnostics(Callback):
    """Look inside the training step now and then: activations, gradients, updates, dead and saturated units.

    Args:
        every: updates between two looks, the first of which is at the first update. In between, the callback
            costs two empty calls an update; a look samples every layer and waits for the device once.
        keep: how many looks are kept; when there are more, every second is forgotten and `every` doubles.

    Attributes:
        observations: what was seen, in order.

    Raises:
        ValueError: every is below 1, or keep below 2.

    >>> import xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import Diagnostics, Trainer
    >>> xpnet.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> diagnostics = Diagnostics(every=50)
    >>> trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=0.01), [diagnostics])
    >>> history = trainer.fit(load_digits(), epochs=2)
    >>> [seen.step for seen in diagnostics.observations]
    [1, 51, 101]
    >>> [finding.name for finding in diagnostics.findings()]
    ['dead units', 'saturation', 'activation scale', 'gradient scale', 'update ratio']
    """

    def __init__(self, every: int = 100, keep: int = 64) -> None:
        if every < 1 or keep < 2:
            raise ValueError(
                f"Diagnostics: every must be at least 1 and keep at least 2, got {every} and {keep}"
            )
        self.every, self.keep = every, keep
        self.observations: list[Observation] = []
        self._gap: Finding | None = None
        self._stride = every
        self._observer: Observer | None = None

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run; look at the first update."""
        self.observations, self._stride, self._gap = [], self.every, None
        self._observer = Observer(trainer.model)
        self._observer.start()

    def on_backward_end(self, trainer: Run) -> None:
        """Sample outputs and gradients, if this update is looked at."""
        if self._observer is not None and self._observer.active:
            self._observer.middle()

    def on_batch_end(self, trainer: Run) -> None:
        """Finish the look; prepare the next."""
        if self._observer is None:
            return
        if self._observer.ready:
            self.observations.append(self._observer.end(trainer.step))
            if len(self.observations) > self.keep:
                self.observations = self.observations[::2]
                self._stride *= 2
        if trainer.step % self._stride == 0:
            self._observer.start()

    def on_fit_end(self, trainer: Run) -> None:
        """Remove the hooks."""
        if self._observer is None:  # another callback would not let training begin
            return
        self._observer.stop()
        history = trainer.history
        if "val_loss" in history and "train_loss" in history:
            losses = ({"loss": history[f"{part}_loss"][-1]} for part in ("train", "val"))
            self._gap = generalization_gap(*losses)

    def findings(self) -> list[Finding]:
        """The judgement of what was seen; empty if there was no update."""
        if not self.observations:
            return []
        judges = (dead_units, saturation, activation_scale, gradient_scale, update_ratio)
        found = [judge(self.observations) for judge in judges]
        return found if self._gap is None else [*found, self._gap]

    def state_dict(self) -> dict[str, Any]:
        """The observations, and whether the next update is looked at."""
        return {
            "observations": [
                {
                    "step": seen.step,
                    "layers": [vars(layer) for layer in seen.layers],
                    "weights": [vars(weight) for weight in seen.weights],
                }
                for seen in self.observations
            ],
            "stride": self._stride,
            "looking": self._observer is not None and self._observer.active,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.observations = [
            Observation(
                seen["step"],
                [Layer(**x) for x in seen["layers"]],
                [Weight(**x) for x in seen["weights"]],
            )
            for seen in state["observations"]
        ]
        self._stride = state["stride"]
        if self._observer is not None:
            self._observer.stop()
            if state["looking"]:
                self._observer.start()


class LocateNonFinite(Callback):
    """End training at the first loss that is NaN or infinite, and say where that arose.

    Args:
        every: updates between two looks at the losses. Default: 1 where reading a number costs nothing (CPU),
            which finds the place: input, parameter, or layer; 100 on CUDA, where each look waits, which finds
            the update and the parameters that are not finite by then. With 1 it finds the place there too.

    Raises:
        ValueError: every is below 1.
        TrainingDivergedError: in training.
    """

    def __init__(self, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"LocateNonFinite: every must be at least 1, got {every}")
        self.every = every
        self._losses: list[Array] = []
        self._interval = every

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        self._losses, self._interval = [], self.every

    def on_backward_end(self, trainer: Run) -> None:
        """Keep the loss, before the update that would spread it; look if it is time, or the epoch ends."""
        if self._interval is None:
            self._interval = 100 if _is_on_cuda(trainer.loss_value) else 1
        if self._interval == 1 and math.isfinite(trainer.loss_value):
            return
        self._losses.append(trainer.loss_value)
        update = trainer.step + 1
        if len(self._losses) >= self._interval or (trainer.batches and update % trainer.batches == 0):
            self._look(trainer, update)

    def _look(self, trainer: Run, update: int) -> None:
        """Fetch the losses up to that of this update."""
        values = to_numpy(namespace(self._losses[0]).stack(self._losses))
        self._losses = []
        bad = np.flatnonzero(~np.isfinite(values))
        if not bad.size:
            return
        ago = len(values) - 1 - int(bad[0])
        place = _place(trainer)
        when = f"; {ago} updates later" if ago else ""
        raise TrainingDivergedError(
            f"the training loss is {values[bad[0]]} in update {update - ago}{when}, not finite: "
            f"{place or 'nothing any more'}; lower the learning rate "
            f"(now {trainer.optimizer.param_groups[0]['lr']:g}), clip the gradients, or keep logarithms and "
            "divisions away from 0"
        )


def _place(trainer: Run) -> str | None:
    if trainer.loss is None or trainer.train_step.name is not None:
        return "somewhere in the step"
    inputs, named, y = parts_of(trainer.batch)
    x = named or (inputs if len(inputs) > 1 else inputs[0])
    return first_non_finite(trainer.model, trainer.loss, x, y)


def _is_on_cuda(array: Array) -> bool:
    return backend_of(array).name == "cupy" or "cuda" in str(device(array))


def first_non_finite(model: Any, loss: Callable[[Any, Any], Any], x: Any, y: Any) -> str | None:
    """Where NaN or infinity first arises in a training step: input, parameter, layer, loss or gradient.

    Args:
        model: a Module; it is left unchanged.
        loss: `loss(output, target)`.
        x: (n, ...) a batch; a tuple or a dict of several inputs.
        y: its targets.

    Returns:
        In words, None if everything is finite.

    Raises:
        ValueError: the samples do not fit the model, or the targets its output.

    >>> import xpnet
    >>> from xpnet import nn
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import first_non_finite
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    >>> model[1].bias.data[0] = float("inf")
    >>> first_non_finite(model, cross_entropy, xpnet.asarray([[1.0, 2.0]]), xpnet.asarray([0]))
    'parameter 1.bias'
    """
    inputs, named, _ = parts_of((x, y))
    if not all(_finite(part) for part in (*inputs, *named.values())):
        return "the input"
    bad = [name for name, p in model.named_parameters() if not _finite(p.data)]
    if bad:
        return f"parameter {', '.join(bad[:5])}" + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if not found and not _finite(output):
                found.append(f"the output of layer {name or 'model'} ({type(module).__name__})")

        return hook

    with random.forked(), np.errstate(all="ignore"):
        copied = copy.deepcopy(model)
        for name, module in copied.named_modules():
            module.add_forward_hook(look(name))
        with no_grad():
            output = call(copied, (x, y))
        if found:
            return found[0]
        value = loss(output, y)
        if not _finite(value):
            return "the loss"
        loss(call(copied, (x, y)), y).backward()
    for name, p in reversed(copied.named_parameters()):  # backward goes from the last layer to the first
        if p.grad is not None and not _finite(p.grad):
            return f"the gradient of {name}"
    return None


def _finite(x: Any) -> bool:
    array = array_of(x)
    if "float" not in str(getattr(array, "dtype", "")):
        return True
    xp = namespace(array)
    return bool(to_numpy(xp.all(xp.isfinite(array))))
