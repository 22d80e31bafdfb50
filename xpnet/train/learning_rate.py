"""Learning-rate schedules as a callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnet.train.callbacks import Callback
from xpnet.train.monitor import check_monitor, mode_of

if TYPE_CHECKING:
    from xpnet.train.run import Run


class LearningRate(Callback):
    """Step a learning-rate schedule.

    Args:
        schedule: one of `xpnet.optim`; a `ReduceLROnPlateau` is given the monitored quantity.
        every: "epoch" or "batch", the unit that the schedule counts in.
        monitor: a key of the history, for `ReduceLROnPlateau`; unless that was given a mode, its name says
            whether less or more of it is better.

    Raises:
        ValueError: another unit, `ReduceLROnPlateau` by batch, or a measure whose mode is not known.

    A second `fit` begins the schedule again, at the rates it began with; a rate that was set by hand in
    between is the one it begins with then.
    """

    def __init__(self, schedule: Any, every: str = "epoch", monitor: str = "val_loss") -> None:
        from xpnet.optim import ReduceLROnPlateau

        self.schedule, self.every, self.monitor = schedule, every, monitor
        self.needs_metric = isinstance(schedule, ReduceLROnPlateau)
        self._ran = False
        if self.needs_metric:
            schedule.suit(mode_of(monitor, schedule.given_mode))
        if every not in ("epoch", "batch"):
            raise ValueError(f'LearningRate: every is "epoch" or "batch", got {every!r}')
        if every == "batch":
            if self.needs_metric:
                raise ValueError("LearningRate: ReduceLROnPlateau looks at a quantity measured once an epoch")
            self.on_batch_end = self._step  # type: ignore[method-assign]
        else:
            self.on_epoch_end = self._step  # type: ignore[method-assign]

    def on_fit_begin(self, trainer: Run) -> None:
        """Forget an earlier run."""
        if self.needs_metric:
            check_monitor(trainer, self.monitor, "LearningRate")
        if self._ran and hasattr(self.schedule, "restart"):  # a schedule of one's own may have none
            self.schedule.restart()
        self._ran = True

    def _step(self, trainer: Run) -> None:
        if self.needs_metric:
            self.schedule.step(trainer.history[self.monitor][-1])
        else:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's state."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.schedule.load_state_dict(state)

    def load_changed_state(self, state: dict[str, Any]) -> None:
        """The place of another schedule, not its constants or rates: a cosine may be made longer."""
        own = self.schedule.state_dict()
        for key in getattr(self.schedule, "places", ()):
            own.pop(key, None)
        constants = {key: own[key] for key in own if key in self.settings()["schedule"]}
        self.schedule.load_state_dict({**{key: state.get(key, own[key]) for key in own}, **constants})

    def settings(self) -> dict[str, Any]:
        """The schedule and its constants: half of one and half of another is neither."""
        settings = getattr(self.schedule, "settings", dict)  # a schedule of one's own may have none
        return {"every": self.every, "schedule": settings()}
