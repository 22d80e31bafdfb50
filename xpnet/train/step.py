"""One step of training: what happens with a batch, from the forward pass to the update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.operators import add
from xpnet.core.tensor import Tensor, array_of
from xpnet.data.batch import parts_of, size_of
from xpnet.functional.regularizers import l1, l2
from xpnet.functional.weighing import Weight, weighed
from xpnet.nn.inference import evaluating
from xpnet.optim import Optimizer
from xpnet.optim.gradients import gradients_of
from xpnet.parallel.communicator import Communicator
from xpnet.train.accumulation import Accumulation
from xpnet.train.captured import CapturedWork, Outcome, is_capturable
from xpnet.train.evaluation import to_measure
from xpnet.train.measures import described, over_ranks, record, taken_apart, warn_of_accumulation
from xpnet.train.measuring import Measuring, measuring
from xpnet.train.metrics import Mean, Metrics, results
from xpnet.train.rounding import forward_in, products_in
from xpnet.train.run import Run

Forward = Callable[[Run, Any], Any]
"""(run, batch) -> the loss; or a dict of it under "loss" and of other numbers to record."""

ALONE = Communicator()
"""Measured is on one rank."""

Hook = Callable[[Run], None]

OF_A_STEP = (
    "metrics need a loss; a step without one returns them in a dict, or sets run.output, of which they name "
    'a part: metrics={"kind": [accuracy]}'
)


class Step:
    """A step of training: forward, loss, backward, penalties, update.

    Args:
        forward: `forward(run, batch)` gives the loss, a Tensor of one element, the mean over the batch; or a
            dict with it under `"loss"`, whose other entries, numbers or arrays of one element, are recorded
            as `train_<name>`. Default: `run.loss(run.model(x), y)`; see `xpnet.data.batch` for what x and y
            are in tuples and dicts.

    What a step knows of the training it belongs to is in the run, such as `run.model`, `run.accumulate` and
    `run.scaler`. Override one method to change one thing.

    >>> import xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.functional import mse_loss
    >>> from xpnet.train import Trainer
    >>> def reconstruct(run, batch):
    ...     x, y = batch
    ...     return mse_loss(run.model(x), x)
    >>> model = nn.Sequential(nn.Linear(64, 16), nn.Linear(16, 64))
    >>> trainer = Trainer(model, None, optim.Adam(model, lr=0.01), step=reconstruct)
    >>> history = trainer.fit(load_digits(), load_digits(), epochs=3)
    >>> history["val_loss"][-1] < 0.5 * history["train_loss"][0]
    True
    """

    makes_updates = True  # of what `forward` gives; False of a step that makes its own

    def __init__(self, forward: Forward | None = None) -> None:
        if forward is not None and not callable(forward):
            raise TypeError(f"step: expected a function of (run, batch), got {forward!r}")
        self.own_forward = forward
        self.sum: Any = None  # while an epoch runs: the gradients of the next update
        self.backward_end: list[Hook] = []
        self.batch_end: list[Hook] = []
        self.captured: CapturedWork | None = None  # `work` as one launch

    @property
    def name(self) -> str | None:
        """What settings call it; None for the usual one."""
        if self.own_forward is not None:
            return getattr(self.own_forward, "__name__", type(self.own_forward).__name__)
        return None if type(self) is Step else type(self).__name__

    def begin(self, run: Run) -> None:
        """Before the first batch of an epoch, or of what is left of it."""
        self.backward_end, self.batch_end = run.hooks("on_backward_end"), run.hooks("on_batch_end")
        read = bool(self.backward_end or run.l1 or run.l2 or run.scaler)
        self.sum = Accumulation(run, read)
        self._look(run)

    def __call__(self, run: Run, batch: Any) -> None:
        """Take one batch; make an update if it is the last one of it."""
        run.batch = batch
        self._look(run)
        outcome = self.work(run, batch) if self.captured is None else self.captured(run, batch)
        run.means["loss"].add(outcome.value, outcome.total)
        if outcome.measures:
            record(run.means, outcome.measures, size_of(batch), run.communicator)
        if not self.sum.weights:
            run.count_update(self.batch_end)

    def _look(self, run: Run) -> None:
        """Have the work of this run captured, as it is now."""
        if not run.capture:
            self.captured = None
        elif self.captured is None or not self.captured.is_of(run):
            self.captured = CapturedWork(self, run)

    def work(self, run: Run, batch: Any) -> Outcome:
        """What one batch asks of the device: forward, backward, and if it is the last of an update, that."""
        with products_in(run.precision):
            return self._work(run, batch)

    def _work(self, run: Run, batch: Any) -> Outcome:
        if getattr(run.optimizer, "needs_closure", False):
            return self._by_closure(run, batch)
        if not self.sum.weights:
            run.optimizer.zero_grad()
        samples = size_of(batch)
        alone = run.scaler if self.sum.alone else None
        expected = nullcontext() if alone is None else alone.expected(run.model)
        with expected, forward_in(run.precision):
            found, weight = weighed(self.forward, run, batch, samples)
        found, measures = (found, {}) if type(found) is Tensor else taken_apart(found)
        found, measures = over_ranks(run.communicator, found, measures, samples)
        if run.accumulate > 1:
            warn_of_accumulation(measures)
        if not getattr(found, "requires_grad", False):
            raise TypeError(
                f"the loss of a step must be a Tensor with a gradient, got {described(found)}; a step that "
                "makes its own updates is passed as ManualStep(step)"
            )
        value, total = self.backward(run, found, weight)
        if len(self.sum.weights) == run.accumulate:
            self.update(run)
        return Outcome(value, total, measures)

    def _by_closure(self, run: Run, batch: Any) -> Outcome:
        """One update by a rule that computes loss and gradients of a batch several times."""
        made: list[Outcome] = []

        def closure() -> Any:
            run.optimizer.zero_grad()
            with forward_in(run.precision):
                found, weight = weighed(self.forward, run, batch, size_of(batch))
            loss, measures = (found, {}) if isinstance(found, Tensor) else taken_apart(found)
            _, numbers = over_ranks(run.communicator, loss, measures, size_of(batch))
            made.append(Outcome(loss.data, weight.total, numbers))
            for penalty in self.penalties(run):
                loss = add(loss, penalty)
            loss.backward()
            for hook in self.backward_end:
                hook(run)
            return loss

        run.optimizer.step(closure)
        first, *_ = made
        run.loss_value, run.loss_weight = first.value, first.total
        return first

    def end(self, run: Run) -> None:
        """After the last batch of an epoch: make an update of those that are left."""
        if self.sum.weights:
            self.update(run)
            run.count_update(self.batch_end)
        self.sum, self.backward_end, self.batch_end = None, [], []

    # ---- the parts ----

    def forward(self, run: Run, batch: Any) -> Any:
        """The loss of a batch, and `run.output`."""
        if self.own_forward is not None:
            return self.own_forward(run, batch)
        inputs, named, target = parts_of(batch)
        if target is None:
            raise ValueError(
                "Trainer: the batch has no target: give (x, y), or a dict with y, or pass step=, a function "
                "of (run, batch) that gives the loss"
            )
        run.output = output = run.model(*inputs, **named)
        return run.loss(output, target)  # type: ignore[misc]  # the Trainer has seen to it

    def backward(self, run: Run, loss: Tensor, weight: Weight) -> tuple[Array, Any]:
        """Add the gradient of one batch's loss to those of the update; the loss, and its weight."""
        return self.sum.add(run, loss, weight)

    def update(self, run: Run) -> None:
        """One update from the gradients that have been added up."""
        self.sum.reduce(run)
        self.sum.average(run)
        penalties, scaler = self.penalties(run), run.scaler
        if scaler is not None:
            one, read = isinstance(run.optimizer, Optimizer), bool(penalties or self.backward_end)
            if one and not read:
                scaler.step(run.optimizer, run.model)
                return
            # what reads or adds to the gradients needs them divided; what may look at values, finite, too
            direct = run.optimizer if one and all(map(is_capturable, self.backward_end)) else None
            if not scaler.unscale(gradients_of(run.model), optimizer=direct, read=read):
                return
        for penalty in penalties:
            penalty.backward()
        for hook in self.backward_end:
            hook(run)
        run.optimizer.step()

    def penalties(self, run: Run) -> list[Tensor]:
        """What is added to the loss for the size of the weights."""
        if not run.l1 and not run.l2:
            return []
        return [norm(run.model, strength) for norm, strength in ((l1, run.l1), (l2, run.l2)) if strength]

    # ---- what is measured ----

    def evaluate(self, run: Run, data: Any, metrics: Metrics | None = None) -> dict[str, float]:
        """The means over data of what `forward` gives, in evaluation mode and without gradients.

        Args:
            run: whose model.
            data: batches, or a data set.
            metrics: by names of outputs, of the `run.output` that `forward` leaves and the batch's target.
        """
        means: defaultdict[str, Mean] = defaultdict(Mean)
        measured = measuring({} if metrics is None else metrics)
        if isinstance(measured, Measuring):
            raise TypeError(f"Trainer: {OF_A_STEP}")
        run.output = None
        named = getattr(self.own_forward, "named", lambda output, target: (output, target))
        with evaluating(run.model):
            for batch in to_measure(data):
                samples = size_of(batch)
                found, weight = weighed(self.forward, run, batch, samples)
                loss, measures = (found, {}) if isinstance(found, Tensor) else taken_apart(found)
                means["loss"].add(array_of(loss), weight.total)
                record(means, measures, samples, ALONE)
                if metrics and run.output is None:
                    raise TypeError(f"Trainer: {OF_A_STEP}")
                if metrics:
                    outputs, targets = named(run.output, parts_of(batch)[2])
                    measured.add(outputs, targets, samples)
        if not means:
            raise ValueError("the evaluation data gave no batches; a generator can be used only once")
        found, of_outputs = results(means, "evaluation data"), measured.results()
        for name in found.keys() & of_outputs:
            raise ValueError(f"metrics: {name!r} is a number of the step, too; give it another __name__")
        return found | of_outputs


def as_step(step: Step | Forward | None) -> Step:
    """A step from a function of (run, batch)."""
    return step if isinstance(step, Step) else Step(step)
