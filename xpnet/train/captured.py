"""What the device does with a batch, as one launch: see `xpnet.core.capture`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.capture import Captured, Constant
from xpnet.core.places import backend_name
from xpnet.core.trees import mapped
from xpnet.optim import Optimizer
from xpnet.train.run import Run


class Outcome(NamedTuple):
    """What a batch gave.

    Attributes:
        value: the loss, the mean over the batch.
        total: what that mean was divided by.
        measures: other numbers to record, by name.
    """

    value: Array
    total: Any
    measures: dict[str, Any] | None


class Working(Protocol):
    """What is asked of a step (`xpnet.train.step.Step`)."""

    sum: Any
    backward_end: list[Any]
    makes_updates: bool

    def work(self, run: Run, batch: Any) -> Outcome:
        """What one batch asks of the device."""


class CapturedWork:
    """`step.work`, captured. What it leaves in the run goes in and out as arguments and results.

    Args:
        step: whose.
        run: the training; what cannot be captured in it is said now, and the work is then done as it is.

    Warns:
        RuntimeWarning: why it is not captured.
    """

    def __init__(self, step: Working, run: Run) -> None:
        reasons = list(_reasons(step, run))
        if reasons:
            message = f"Trainer: capture=True has no effect: {'; '.join(reasons)}"
            warnings.warn(message, RuntimeWarning, stacklevel=5)
        self._step, self._run, self._of = step, run, _identity(step, run)
        self._captured = None if reasons else Captured(self._work, communicator=run.communicator)

    def is_of(self, run: Run) -> bool:
        """Whether the training is still the one that is captured: its parts and strengths."""
        return _same(self._of, _identity(self._step, run))

    def __call__(self, run: Run, batch: Any) -> Outcome:
        """Take one batch."""
        if self._captured is None:
            return self._step.work(run, batch)
        sums = self._step.sum
        carried = (sums.weights, run.loss_value, run.loss_weight) if sums.weights else None
        self._run = run
        result = self._captured(batch, carried)
        outcome, run.output, sums.weights, run.loss_value, run.loss_weight = mapped(_shown, result)
        return outcome

    def _work(self, batch: Any, carried: Any) -> Any:
        """A function of arrays: what was added up for this update goes in, what there is then comes out."""
        run, sums = self._run, self._step.sum
        if carried is not None:
            weights, run.loss_value, run.loss_weight = carried
            sums.weights = list(weights)
        outcome = self._step.work(run, batch)
        made = outcome, run.output, list(sums.weights), run.loss_value, run.loss_weight
        return mapped(_hidden, made)


def _identity(step: Working, run: Run) -> list[Any]:
    settings = [v for v in getattr(run.loss, "__dict__", {}).values() if isinstance(v, int | float | str)]
    hooks = [getattr(hook, "__self__", hook) for hook in step.backward_end]
    parts = [run, run.model, run.loss, run.optimizer, run.scaler, run.communicator]
    return [*parts, run.accumulate, run.l1, run.l2, *hooks, *settings]


def _same(then: list[Any], now: list[Any]) -> bool:
    return len(then) == len(now) and all(
        a is b or (isinstance(a, int | float | str) and a == b) for a, b in zip(then, now, strict=True)
    )


def _reasons(step: Working, run: Run) -> Iterator[str]:
    """What in a training changes from step to step on the host, beyond what `xpnet.capture` knows."""
    first = next(iter(run.model.parameters()), None) if hasattr(run.model, "parameters") else None
    if first is not None and backend_name(first.data) not in ("cupy", "numpy"):
        yield f"the model is on {backend_name(first.data)}, neither on cupy nor on numpy"
    if not step.makes_updates:
        yield "the step makes its own updates; capture it yourself, as in ManualStep(xpnet.capture(step))"
    if run.scaler is not None and not isinstance(run.optimizer, Optimizer):
        yield "a LossScaler decides on the host whether several optimizers step"
    elif (
        run.scaler is not None
        and (run.l1 or run.l2 or step.backward_end)
        and first is not None
        and backend_name(first.data) == "numpy"
    ):
        yield "a LossScaler decides on the host what is done with the gradients before the step"
    ranks = run.communicator
    if ranks.size > 1 and not ranks.capturable and first is not None and backend_name(first.data) == "cupy":
        yield f"{type(ranks).__name__} adds up on the host the gradients of the ranks"
    for hook in step.backward_end:
        if not is_capturable(hook):
            name = type(getattr(hook, "__self__", hook)).__name__
            yield f"{name} works between backward and the update"


def is_capturable(hook: Any) -> bool:
    """Whether a callback does the same between each backward and update, without a look at values."""
    return getattr(getattr(hook, "__self__", hook), "capturable", False)


def _hidden(leaf: Any) -> Any:
    """A number of the host as a constant; one that NumPy has computed as an array."""
    if isinstance(leaf, np.generic):
        return np.asarray(leaf)
    return Constant(leaf) if isinstance(leaf, int | float) else leaf


def _shown(leaf: Any) -> Any:
    """The inverse of `_hidden`."""
    return leaf.value if isinstance(leaf, Constant) else leaf
