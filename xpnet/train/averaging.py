"""Averages of the weights along the path of training: better than the last ones, which still jump about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnet.core.arrays import widen
from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of, namespace, on_device
from xpnet.core.registry import fusable
from xpnet.nn.flat import Span, named_views, spans
from xpnet.optim.formula import piecewise
from xpnet.train.batch_norm import recompute_batch_norm, tracked
from xpnet.train.callbacks import Callback

if TYPE_CHECKING:
    from xpnet.nn import Module
    from xpnet.train.run import Run


@fusable
@piecewise
def average_step(average: Array, theta: Array, weight: float) -> None:
    """average += weight * (theta - average), in place."""
    difference = theta - average if theta.dtype == average.dtype else widen(theta) - average
    difference *= weight
    average += difference


class WeightAveraging(Callback):
    """Base class: a subclass calls `update` with the weight of the newest parameters.

    The average is one more vector like theta, in float32 for 16-bit types: an update of it is one operation.
    When training ends the model gets the averaged weights, and its batch norms, whose running statistics
    belong to other weights, those of the training data (see `recompute_batch_norm`).

    Attributes:
        count: how often parameters have been added.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.count = 0
        self._vectors: list[tuple[Span, Array]] = []
        self._loaded: dict[str, Any] = {}

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        self._forget()
        self._model = trainer.model

    def update(self, model: Module, weight: float) -> None:
        """average += weight * (theta - average); the first time, average = theta."""
        if not self._vectors or not all(span.current for span, _ in self._vectors):
            self._build(model)
        self.count += 1
        if self.count == 1:
            return
        for span, average in self._vectors:
            average_step(average, span.values, weight)

    def _build(self, model: Module) -> None:
        """Vectors over the parameters where they are now, with the averages so far or the values."""
        saved = self._saved()
        self._vectors = [(span, span.like()) for span in spans(model)]
        for span, average in self._vectors:
            with on_device(average):
                average += widen(span.values)
        for name, view in named_views(model, self._vectors).items():
            if name in saved:
                view[...] = asarray(saved[name], backend=backend_of(view))
        self._loaded = {}

    def _saved(self) -> dict[str, Any]:
        """The averages by parameter name."""
        return named_views(self._model, self._vectors) if self._vectors else self._loaded

    def averages(self) -> dict[str, Any]:
        """The averaged parameters by name, empty before the first update."""
        return {name: namespace(a).asarray(a, copy=True) for name, a in self._saved().items()}

    def on_fit_end(self, trainer: Run) -> None:
        """Put the averages in."""
        if not self.count:
            return
        model = trainer.model
        trainer.show({**model.state_dict(), **self._saved()})
        if tracked(model):
            recompute_batch_norm(model, trainer.data)
            trainer.show(model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The averages and their number."""
        return {"count": self.count, "average": {n: to_numpy(a).copy() for n, a in self._saved().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._forget()
        self.count, self._loaded = int(state["count"]), dict(state["average"])


class EMA(WeightAveraging):
    """Exponential moving average of the weights (Polyak & Juditsky, 1992).

    average <- decay * average + (1 - decay) * theta for each update, from the weights after the first one.

    Args:
        decay: in [0, 1); the average reaches back over about 1 / (1 - decay) updates.
        every: updates between two looks at the weights, which then count with 1 - decay^every; default: a
            hundredth of that reach, 10 for 0.999 and 1 up to 0.99.

    Raises:
        ValueError: decay is not in [0, 1), or every is below 1.
    """

    def __init__(self, decay: float = 0.999, every: int | None = None) -> None:
        if not 0 <= decay < 1 or (every is not None and every < 1):
            raise ValueError(f"EMA: decay must be in [0, 1) and every at least 1, got {decay} and {every}")
        super().__init__()
        self.decay = decay
        self.every = max(1, round(0.01 / (1 - decay))) if every is None else every

    def on_batch_end(self, trainer: Run) -> None:
        """Add the new weights."""
        if trainer.step % self.every == 0:
            self.update(trainer.model, 1 - self.decay**self.every)

    def settings(self) -> dict[str, Any]:
        """The decay and the updates between two looks."""
        return {"decay": self.decay, "every": self.every}


class SWA(WeightAveraging):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs (Izmailov et al., 2018).

    Args:
        start: the first epoch that counts, from 0: one from which the learning rate is constant or cycles;
            or, as a float below 1, a fraction of the epochs of `fit`.

    Raises:
        ValueError: start is negative, or a float that is not below 1.
    """

    def __init__(self, start: int | float = 0.75) -> None:
        if start < 0 or (isinstance(start, float) and start >= 1):
            raise ValueError(f"SWA: start is an epoch of at least 0, or a fraction below 1, got {start}")
        super().__init__()
        self.start = start

    def on_epoch_end(self, trainer: Run) -> None:
        """Add the new weights."""
        start = int(self.start * trainer.epochs) if isinstance(self.start, float) else self.start
        if trainer.epoch >= start:
            self.update(trainer.model, 1 / (self.count + 1))

    def settings(self) -> dict[str, Any]:
        """The first epoch."""
        return {"start": self.start}
