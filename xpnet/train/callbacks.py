"""Hooks into the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any


class TrainingDivergedError(RuntimeError):
    """The training loss is not a finite number any more, or has grown far beyond the first one."""


class Callback:
    """Base class: override the hooks you need; a hook that nobody overrides costs nothing.

    Each one gets the `Run`, which is the trainer, and through it `model`, `optimizer`, `history`, `epoch`
    (from 0), `epochs`, `batches` (in an epoch, None if unknown), `step` (updates so far), `batch` (the latest
    (x, y)), `output` (the model's, for that batch), `loss_value` (of the latest batch, on the device), `data`
    and `validation` (what `fit` was given), `stop` (set it to end training after this epoch).

    (The hooks are typed `Any` so that yours may say `Run` or `Trainer`.)

    Attributes:
        last: True for a callback that is called after all others, such as one that saves what they did.
        main_only: True for one that writes or prints: where several ranks train together, rank 0 calls it.
        capturable: True for one whose `on_backward_end` may be captured: it does the same in each step.
        missing: of one that writes: the error, while what it should have written is not on the disk.
        stopped: whether it has ended the run.
        goes_on: whether it had ended the run of a checkpoint, and would not have as it is now.
    """

    last: bool = False
    main_only: bool = False
    capturable: bool = False
    missing: OSError | None = None
    stopped: bool = False
    goes_on: bool = False

    def outputs(self) -> Sequence[str | PathLike[str]]:
        """The files that this callback writes, in folders that are there: no other run may, as `fit` runs."""
        return ()

    def on_fit_begin(self, trainer: Any) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, trainer: Any) -> None:
        """Before the first batch of an epoch; also before a run resumes within one."""

    def on_backward_end(self, trainer: Any) -> None:
        """Between `backward` and `step`: the place for gradient clipping and noise."""

    def on_batch_end(self, trainer: Any) -> None:
        """After each update. Reading a number from the device here waits for it."""

    def on_epoch_end(self, trainer: Any) -> None:
        """After validation; `trainer.history.last()` has the numbers of this epoch."""

    def on_fit_end(self, trainer: Any) -> None:
        """After the last epoch, also when training was interrupted or diverged.

        Weights that are to replace the trained ones are put in with `trainer.show`.
        """

    def asks_within(self) -> bool:
        """Of one that rank 0 calls: whether `on_batch_end` may ask for `trainer.state_dict()`."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """What this callback must remember in a checkpoint: arrays, and whatever JSON can hold."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; called after `on_fit_begin`.

        Arrays come as NumPy arrays, tuples as lists.
        """

    def load_changed_state(self, state: dict[str, Any]) -> None:
        """Go on from the state of one with other settings, where `fit(..., allow=["callbacks"])` lets it."""
        self.load_state_dict(state)

    def settings(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed, in terms of JSON; another checkpoint is refused."""
        return {}

    def shared(self) -> dict[str, Any]:
        """What ranks must have alike beside the settings: that by which one of them may end the run."""
        return {}
