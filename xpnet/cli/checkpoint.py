"""`xpnet train --checkpoint FILE` and `--resume FILE`."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from xpnet.cli.errors import BadInputError, bad_input
from xpnet.cli.settings import Interval, TrainSettings
from xpnet.cli.setup import Setup
from xpnet.cli.signals import BOTH, handling, interruption
from xpnet.io.writing import check_writable
from xpnet.parallel.communicator import ranks_started
from xpnet.train import Checkpoint, Run, load_checkpoint
from xpnet.train.changes import resumed_elsewhere
from xpnet.train.identity import AnotherRunError, check_identity


class RunCheckpoint(Checkpoint):
    """A checkpoint now and then; on Ctrl-C or SIGTERM, one after the update that is under way.

    A second one does not wait for it.
    """

    def __init__(
        self, path: str, interval: Interval, keep: int, settings: dict[str, Any], options: dict[str, Any]
    ) -> None:
        super().__init__(
            path,
            interval.epochs,
            interval.updates,
            {"command": settings, "options": options},
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


PARTS = {
    "optimizer": "optimizer",
    "lr": "optimizer",
    "weight-decay": "optimizer",
    "data": "data",
    "batch-size": "data",
    "seed": "data",
    "augment": "augmentation",
    "schedule": "callbacks",
    "epochs": "callbacks",
    "monitor": "callbacks",
}
"""The part of a run (`Trainer.fit(allow=...)`) that an option belongs to; others make the network."""

NETWORK = ("layers", "width", "dropout", "depth", "heads", "latent", "context")
"""Options that decide about the network; `--tokens` decides about what the vocabulary is."""

ALLOWED = tuple(dict.fromkeys(PARTS.values()))

_NOT_KEPT = ("argv", "given", "checkpoint", "resume", "allow", "config", "file", "run", "overwrite", "live")


def run_settings(settings: TrainSettings, setup: Setup, epochs: int) -> dict[str, Any]:
    """Every option that decides about the result, with the defaults filled in, by name."""
    return {
        "data": setup.name,
        "size": setup.size,
        "model": setup.kind,
        **{key: setup.network.get(key) for key in NETWORK},
        "optimizer": settings.optimizer,
        "lr": setup.optimizer.param_groups[0]["lr"],
        "weight-decay": settings.weight_decay,
        "l1": settings.l1,
        "label-smoothing": settings.label_smoothing,
        "activation": settings.activation,
        "batch-norm": not settings.no_batch_norm,
        "init": settings.init,
        "schedule": settings.schedule,
        # a cosine reaches its end in the last epoch; at a constant rate a run can be made longer
        "epochs": None if settings.schedule == "constant" else epochs,
        "patience": settings.patience,
        "monitor": settings.monitor,
        "batch-size": setup.loader.batch_size,
        "augment": settings.augment,
        "seed": settings.seed,
    }


def kept_options(settings: TrainSettings, name: str) -> dict[str, Any]:
    """The options as they were given, for whoever resumes the run from anywhere."""
    found = {key: value for key, value in asdict(settings).items() if key not in _NOT_KEPT}
    path = None if settings.path is None else os.path.abspath(settings.path)
    return {**found, "dataset": None, "data": name, "path": path}


def earlier_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the run that is to be resumed, where the command gives none.

    Args:
        options: what the command gives, with the usual defaults.

    Returns:
        Defaults for the parser; none without `--resume`, or for a checkpoint that an older version wrote.

    Raises:
        BadInputError: there is no such checkpoint, or it is of something else.
    """
    if options.resume is None:
        return {}
    metadata = _saved(options.resume)["metadata"]
    kept, command = metadata.get("options"), metadata["command"]
    if kept is None:
        return {}
    known = TrainSettings.defaults()
    found = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k in known}
    every = kept["checkpoint_every"]
    found["checkpoint_every"] = None if every is None else Interval(**every)
    # another network or data set is refused by its name, not for sizes that do not suit it
    name = options.dataset or options.data
    unsuitable = {"data", "size", "path"} if name not in (None, command["data"]) else set()
    unsuitable |= {*NETWORK} - {"dropout"} if options.model not in (None, command["model"]) else set()
    found = {k: v for k, v in found.items() if k not in unsuitable}
    if ranks_started() == 1:  # any number of ranks can go on
        found |= {"parallel": False, "sync_batch_norm": False}
    return found


def run_checkpoint(settings: TrainSettings, setup: Setup, epochs: int) -> RunCheckpoint | None:
    """The callback that `--checkpoint` or `--resume` asks for.

    Raises:
        BadInputError: options that do not go together, or safetensors is missing.
    """
    path = settings.checkpoint or settings.resume
    if path is None:
        if settings.checkpoint_every is not None:
            raise BadInputError("--checkpoint-every needs --checkpoint FILE")
        if settings.asked("keep"):
            raise BadInputError("--keep is for --checkpoint FILE")
        return None
    command, options = run_settings(settings, setup, epochs), kept_options(settings, setup.name)
    with bad_input():
        check_writable(path)
        interval = settings.checkpoint_every or Interval(epochs=1)
        return RunCheckpoint(path, interval, settings.keep, command, options)


def check_resume(
    settings: TrainSettings, trainer: Run, setup: Setup, command: dict[str, Any]
) -> tuple[str, ...]:
    """Refuse a checkpoint of another run before anything happens, and say where this one goes on.

    Args:
        settings: with the path.
        trainer: that is to go on.
        setup: its parts.
        command: `run_settings` of this run.

    Returns:
        The parts of the run that are otherwise now, which `fit` is to allow.

    Raises:
        BadInputError: naming the options, or the data, that differ.
    """
    path = settings.resume
    saved = _saved(str(path))
    there = saved["metadata"]["command"]
    patience = there.get("patience", settings.patience)  # how long it goes on is nothing that it has learned
    known = [key for key in command if key in there and key != "patience"]
    changed = [key for key in known if there[key] != command[key]]
    others = [key for key in changed if key != "epochs"]
    # another length needs no leave, whatever else is otherwise by leave; of another schedule, it is part
    longer = others != changed and "schedule" not in others
    longer = longer and all(PARTS.get(key) in settings.allow for key in others)
    allow = (*settings.allow, "callbacks") if longer else settings.allow
    different = [key for key in changed if PARTS.get(key) not in allow]
    if different:
        texts = [
            " ".join(f"--{key} {_text(of[key])}" for key in different if of.get(key) is not None)
            for of in (there, command)
        ]
        parts = {PARTS.get(key) for key in different}
        also = "" if None in parts else f", or --allow {','.join(sorted(map(str, parts)))}"
        raise BadInputError(
            f"--resume {path}: that run has {texts[0]}, this one {texts[1]}; give the same options to "
            f"go on with it{also}"
        )
    trainer.data, trainer.validation = setup.loader, setup.validation
    own = trainer.identity()
    try:
        check_identity(saved["settings"], own, f"--resume {path}", allow)
    except AnotherRunError as error:
        also = f"; to go on all the same: --allow {','.join(error.parts)}" if error.parts else ""
        raise BadInputError(error.message + also) from error
    state = saved["state"]
    epochs = len(state["history"].get("train_loss", ()))
    print(f"resumed {path} after {epochs} epochs, {state['step']} updates")
    note = resumed_elsewhere(saved["settings"], own)
    if note:
        print(f"note: {note}")
    waited = next((c["waited"] for c in state["callbacks"] if c.get("stopped")), None)
    if state["stop"] and waited is not None and waited < settings.patience:
        print(
            f"note: it had stopped, after {waited} epochs without a better one; it goes on, until these are "
            f"{settings.patience}"
        )
    elif state["stop"]:
        more = "" if waited is None else f"; --patience {waited + 1} or more goes on"
        print(f"note: it had stopped, after {patience} epochs without a better one, and stays so{more}")
    elif patience != settings.patience:
        print(
            f"note: it stops after {settings.patience} epochs without a better one; before, after {patience}"
        )
    if longer:
        print(
            f"note: the learning rate goes on along a cosine of {command['epochs']} epochs, not of "
            f"{there['epochs']}: the result is not that of one run of so many; --schedule constant gives that"
        )
    return allow


def _saved(path: str) -> dict[str, Any]:
    """A checkpoint of `xpnet train`, with what that has written beside the state."""
    with bad_input():
        saved = load_checkpoint(path)
    if "command" not in saved["metadata"]:
        raise BadInputError(f"--resume {path}: not a checkpoint of `xpnet train`")
    return saved


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
