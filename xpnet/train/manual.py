"""Steps that make their own updates: alternating training, say, or anything written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet.core.autocast import TYPES
from xpnet.data.batch import size_of
from xpnet.train.measures import as_number, record
from xpnet.train.metrics import Metrics
from xpnet.train.rounding import products_in
from xpnet.train.run import Run
from xpnet.train.step import Forward, Step


class ManualStep(Step):
    """A step that makes its own updates, as in a loop written by hand: alternating training, say.

    Args:
        forward: `forward(run, batch)` calls `backward()` and the optimizer's `step()` itself; it gives the
            numbers to record: nothing, one number (the loss), or a dict of them, kept as `train_<name>`.

    It is one step of the run, however many updates it makes. What happens between `backward` and the update
    is its own business: accumulation, loss scaling, penalties, several ranks and callbacks that change
    gradients are refused.

    >>> from xpnet.train import ManualStep
    >>> @ManualStep
    ... def step(run, batch):
    ...     x, y = batch
    ...     run.optimizer.zero_grad()
    ...     loss = run.loss(run.model(x), y)
    ...     loss.backward()
    ...     run.optimizer.step()
    ...     return loss
    """

    makes_updates = False

    def __init__(self, forward: Forward | None = None) -> None:
        super().__init__(forward)
        if forward is None and type(self).forward is Step.forward:
            raise TypeError("ManualStep: pass a function of (run, batch), or override forward")

    def begin(self, run: Run) -> None:
        """Refuse what works between `backward` and the update."""
        super().begin(run)
        found = {
            "accumulate": run.accumulate > 1,
            "scaler": run.scaler is not None,
            "l1": run.l1,
            "l2": run.l2,
            "communicator": run.communicator.size > 1,
        }
        names = [name for name, given in found.items() if given]
        names += [type(getattr(hook, "__self__", hook)).__name__ for hook in self.backward_end]
        ours = type(run).evaluate is Run.evaluate and type(self).evaluate is ManualStep.evaluate
        if run.validation is not None and run.loss is None and ours:
            self.evaluate(run, run.validation)
        if run.precision in TYPES:
            raise ValueError(
                f'Trainer: precision="{run.precision}" is of the forward pass, which a ManualStep makes; '
                f'make it in a block, with xpnet.autocast("{run.precision}")'
            )
        if names:
            raise ValueError(
                f"Trainer: {', '.join(names)} work between backward and the update, which a ManualStep makes "
                "itself; do it there, or return the loss from a plain step"
            )

    def __call__(self, run: Run, batch: Any) -> None:
        """Take one batch."""
        run.batch, samples = batch, size_of(batch)
        with products_in(run.precision):
            found = self.forward(run, batch)
        measures = found if isinstance(found, Mapping) else {} if found is None else {"loss": found}
        record(run.means, measures, samples, run.communicator)
        run.loss_value = as_number("loss", measures["loss"]) if "loss" in measures else None
        run.loss_weight = samples
        run.count_update(self.batch_end)

    def evaluate(self, run: Run, data: Any, metrics: Metrics | None = None) -> dict[str, float]:
        """Refused: `forward` would train.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "Trainer: a ManualStep trains on what it is given; to measure other data pass the Trainer a "
            "loss, or override evaluate"
        )
