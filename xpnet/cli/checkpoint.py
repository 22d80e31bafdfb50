"""`xpnet train --checkpoint FILE` and `--resume FILE`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from xpnet.cli.errors import BadInputError, bad_input
from xpnet.cli.settings import Interval, TrainSettings
from xpnet.cli.setup import Setup
from xpnet.cli.signals import BOTH, handling, interruption
from xpnet.io.writing import check_writable
from xpnet.train import Checkpoint, Run, load_checkpoint
from xpnet.train.resume import check_settings


class RunCheckpoint(Checkpoint):
    """A checkpoint now and then; on Ctrl-C or SIGTERM, one after the update that is under way.

    A second one does not wait for it.
    """

    def __init__(self, path: str, interval: Interval, keep: int, settings: dict[str, Any]) -> None:
        super().__init__(
            path,
            interval.epochs,
            interval.updates,
            {"command": settings},
            every_minutes=interval.minutes,
            keep=keep,
            background=True,
        )
        self.command, self.asked = settings, 0
        self._signals = ExitStack()

    def on_fit_begin(self, trainer: Run) -> None:
        """Take the signals over. On several ranks SIGTERM is the launcher's, which ends all of them."""
        super().on_fit_begin(trainer)
        own = BOTH if trainer.communicator.size == 1 else BOTH[:1]
        self._signals.enter_context(handling(own, self._note))

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            raise interruption(number)
        self.asked = number

    def _stop(self, trainer: Run) -> None:
        if self.asked:
            self.write(trainer, self.path)
            raise interruption(self.asked)

    def on_batch_end(self, trainer: Run) -> None:
        """Write if it is time; write and stop, if asked to."""
        super().on_batch_end(trainer)
        self._stop(trainer)

    def on_epoch_end(self, trainer: Run) -> None:
        """Write if it is time; stop if asked to during validation."""
        super().on_epoch_end(trainer)
        self._stop(trainer)

    def on_fit_end(self, trainer: Run) -> None:
        """Give the signals back."""
        try:
            super().on_fit_end(trainer)
        finally:
            self._signals.close()


def run_settings(settings: TrainSettings, setup: Setup, epochs: int) -> dict[str, Any]:
    """Every option that decides about the result, with the defaults filled in, by name."""
    return {
        "data": setup.name,
        "size": setup.size,
        "model": setup.kind,
        "layers": setup.network.get("layers"),
        "width": setup.network.get("width"),
        "dropout": setup.network.get("dropout"),
        "optimizer": settings.optimizer,
        "lr": setup.optimizer.param_groups[0]["lr"],
        "weight-decay": settings.weight_decay,
        "schedule": settings.schedule,
        # a cosine reaches its end in the last epoch; at a constant rate a run can be made longer
        "epochs": epochs if settings.schedule == "cosine" else None,
        "patience": settings.patience,
        "batch-size": setup.loader.batch_size,
        "augment": settings.augment,
        "seed": settings.seed,
    }


def run_checkpoint(settings: TrainSettings, setup: Setup, epochs: int) -> RunCheckpoint | None:
    """The callback that `--checkpoint` or `--resume` asks for.

    Raises:
        BadInputError: options that do not go together, or safetensors is missing.
    """
    path = settings.checkpoint or settings.resume
    if path is None:
        if settings.checkpoint_every is not None:
            raise BadInputError("--checkpoint-every needs --checkpoint FILE")
        return None
    with bad_input():
        check_writable(path)
        interval = settings.checkpoint_every or Interval(epochs=1)
        return RunCheckpoint(path, interval, settings.keep, run_settings(settings, setup, epochs))


def check_resume(path: str, trainer: Run, setup: Setup, settings: dict[str, Any]) -> None:
    """Refuse a checkpoint of another run before anything happens, and say where this one goes on.

    Raises:
        BadInputError: naming the options that differ.
    """
    with bad_input():
        saved = load_checkpoint(path)
    command = saved["metadata"].get("command")
    if command is None:
        raise BadInputError(f"--resume {path}: not a checkpoint of `xpnet train`")
    different = [key for key in settings if command.get(key) != settings[key]]
    if different:
        there, here = (
            " ".join(f"--{key} {_text(values.get(key))}" for key in different)
            for values in (command, settings)
        )
        raise BadInputError(
            f"--resume {path}: that run has {there}, this one {here}; give the same options to go on with it"
        )
    trainer.data, trainer.validation = setup.loader, setup.validation
    with bad_input():
        check_settings(saved["settings"], trainer.identity(), f"--resume {path}")
    state = saved["state"]
    epochs = len(state["history"].get("train_loss", ()))
    print(f"resumed {path} after {epochs} epochs, {state['step']} updates")


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
