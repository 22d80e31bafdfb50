"""When to stop: no more improvement, or divergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xpnet.train.callbacks import Callback, TrainingDivergedError
from xpnet.train.finiteness import remedy
from xpnet.train.metrics import Mean
from xpnet.train.monitor import check_monitor, sign_of

if TYPE_CHECKING:
    from xpnet.train.run import Run


class EarlyStopping(Callback):
    """Stop when a validation quantity has not improved for `patience` epochs; keep the best weights.

    Args:
        patience: epochs without improvement that are let pass.
        monitor: a key of the history.
        mode: "min" or "max"; default: what the name says, of losses and errors, accuracies and scores.
        min_delta: an improvement must be larger than this.
        restore_best: put parameters and buffers of the best epoch back when training ends, however it ends.

    Attributes:
        best: the best value so far.
        best_epoch: its epoch, from 0; None before the first.
        stopped: whether it has ended the run; a checkpoint of such a run goes on with more patience.

    Raises:
        ValueError: patience is below 1, or the mode is unknown; in training, no validation data.
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "val_loss",
        mode: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise ValueError(f"{type(self).__name__}: patience must be at least 1, got {patience}")
        self.patience, self.monitor = patience, monitor
        self.sign = sign_of(monitor, mode)
        self.min_delta, self.restore_best = min_delta, restore_best
        self._reset()

    def _reset(self) -> None:
        self.best = self.sign * math.inf
        self.best_epoch: int | None = None
        self._waited = 0
        self._state: dict[str, Any] | None = None
        self.stopped = self.goes_on = False

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        check_monitor(trainer, self.monitor, type(self).__name__)
        self._reset()

    def on_epoch_end(self, trainer: Run) -> None:
        """Compare, remember the weights if they are the best, stop if patience is used up."""
        values = trainer.history[self.monitor]
        better = self.sign * (self.best - values[-1]) > self.min_delta
        if better:
            self.best, self.best_epoch = values[-1], trainer.epoch
            self._state = trainer.model.state_dict() if self.restore_best else None
        stalled = self._stalled(values, better)
        self.stopped = stalled and not trainer.stop
        trainer.stop = trainer.stop or stalled

    def _stalled(self, values: list[float], better: bool) -> bool:
        self._waited = 0 if better else self._waited + 1
        return self._is_over()

    def on_fit_end(self, trainer: Run) -> None:
        """Put the best weights back."""
        if self._state is not None:
            trainer.show(self._state)

    def state_dict(self) -> dict[str, Any]:
        """The best value, its epoch and weights, and the epochs waited since."""
        state = {"best": self.best, "best_epoch": self.best_epoch, "waited": self._waited}
        state["stopped"] = self.stopped
        return state if self._state is None else {**state, "weights": self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.best, self._waited, epoch = float(state["best"]), int(state["waited"]), state["best_epoch"]
        self.best_epoch = None if epoch is None else int(epoch)
        self._state = dict(state["weights"]) if self.restore_best and "weights" in state else None
        had_stopped = bool(state.get("stopped"))  # version 0.1.0 did not say
        self.stopped = had_stopped and self._is_over()
        self.goes_on = had_stopped and not self.stopped

    def _is_over(self) -> bool:
        """Whether it has waited long enough."""
        return self._waited >= self.patience

    def settings(self) -> dict[str, Any]:
        """The quantity; patience may change when a run is resumed."""
        return {"monitor": self.monitor, "sign": self.sign}


class MovingAverageStopping(EarlyStopping):
    """Stop when a moving average stalls, and keep the best weights: H2O's rule (deck S2).

    The average over the last `rounds` epochs must fall below (1 - tolerance) times the best earlier average,
    at least once in `rounds` epochs. Single epochs are noisy, their average is less so.

    Args:
        rounds: length of the average, and epochs without improvement that are let pass.
        tolerance: relative improvement that counts.
        monitor: a key of the history.
        mode: "min" or "max"; default: what the name says, of losses and errors, accuracies and scores.
        restore_best: put parameters and buffers of the best single epoch back when training ends.

    Raises:
        ValueError: rounds is below 1, or tolerance not in [0, 1).
    """

    def __init__(
        self,
        rounds: int = 5,
        tolerance: float = 1e-3,
        monitor: str = "val_loss",
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        if rounds < 1 or not 0 <= tolerance < 1:
            raise ValueError(
                "MovingAverageStopping: rounds must be at least 1 and tolerance in [0, 1), "
                f"got {rounds} and {tolerance}"
            )
        super().__init__(rounds, monitor, mode, restore_best=restore_best)
        self.tolerance = tolerance

    def _stalled(self, values: list[float], better: bool) -> bool:
        k = self.patience
        averages = [self.sign * sum(values[i - k : i]) / k for i in range(k, len(values) + 1)]
        if not averages:
            return False
        best, waited = averages[0], 0
        for average in averages[1:]:
            improved = average < best - self.tolerance * abs(best)
            best, waited = (average, 0) if improved else (best, waited + 1)
        return waited >= k

    def _is_over(self) -> bool:
        return True


class StopOnDivergence(Callback):
    """End a run whose cost is not finite or over `factor` times the first one (deck S2), within an epoch.

    Args:
        factor: how far above the first batch's loss the mean of the next `every` batches may lie.
        every: updates between two looks. The losses stay on the device in between, so that only one update in
            `every` waits for it.

    Raises:
        ValueError: factor is not above 1, or every is below 1.
        TrainingDivergedError: in training, with the step, both costs and the remedy.
    """

    def __init__(self, factor: float = 3.0, every: int = 20) -> None:
        if not factor > 1 or every < 1:
            raise ValueError(
                f"StopOnDivergence: factor must be above 1 and every at least 1, got {factor} and {every}"
            )
        self.factor, self.every = factor, every
        self.first: float | None = None
        self._losses = Mean()

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        self.first, self._losses = None, Mean()

    def on_batch_end(self, trainer: Run) -> None:
        """Keep the loss; look at the kept ones once in `every` updates, and at the very first."""
        self._losses.add(trainer.require_loss(type(self).__name__), trainer.loss_weight)
        if self.first is None or len(self._losses) >= self.every:
            self._look(trainer)

    def on_epoch_end(self, trainer: Run) -> None:
        """Look at the rest."""
        if len(self._losses):
            self._look(trainer)

    def _look(self, trainer: Run) -> None:
        losses, self._losses = self._losses, Mean()
        if not losses.weighs():
            return
        cost = losses.result()
        self.first = cost if self.first is None else self.first
        if math.isfinite(cost) and not cost > self.factor * abs(self.first):
            return
        raise TrainingDivergedError(
            f"the cost is {cost:g} after {trainer.step} updates, it began at {self.first:g}; "
            f"{remedy(trainer)}"
        )

    def shared(self) -> dict[str, Any]:
        """Factor and interval: one rank that ends leaves the others waiting."""
        return {"factor": self.factor, "every": self.every}

    def state_dict(self) -> dict[str, Any]:
        """The first cost, and the losses since the last look."""
        return {"first": self.first, "losses": self._losses.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.first = state["first"]
        self._losses = Mean()
        self._losses.load_state_dict(state["losses"])
