"""Resuming a run that is meant to be another from here on: what of its state is loaded, and how."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xpnet.train.callbacks import Callback
from xpnet.train.environment import EnvironmentWarning, environment_differences
from xpnet.train.identity import check_identity, differences


@dataclass(frozen=True)
class Changes:
    """What of a checkpoint's state is not loaded as it is; by default, all of it is.

    Attributes:
        hyperparameters: those of this run's optimizer stay.
        rule: the optimizer is another one, and begins anew.
        callbacks: name and settings of the checkpoint's callbacks that have a state; None: they are the same.
    """

    hyperparameters: bool = False
    rule: bool = False
    callbacks: Sequence[Mapping[str, Any]] | None = None

    def load_optimizer(self, optimizer: Any, state: Any) -> None:
        """Moments and steps; the hyperparameters, too, if they are to be those of the checkpoint."""
        if self.rule:
            return
        own = [{k: v for k, v in g.items() if k != "params"} for g in getattr(optimizer, "param_groups", ())]
        optimizer.load_state_dict(state)
        if self.hyperparameters:
            for group, options in zip(optimizer.param_groups, own, strict=True):
                group.update(options)

    def load_callbacks(self, own: Sequence[Callback], states: Sequence[Any]) -> None:
        """Each its own; where they may differ, by name and in order, and one that is new begins anew."""
        if self.callbacks is None:
            for callback, state in zip(own, states, strict=True):
                callback.load_state_dict(state)
            return
        left = list(zip(self.callbacks, states, strict=True))
        for callback in own:
            name = type(callback).__name__
            found = next((pair for pair in left if pair[0]["name"] == name), None)
            if found is not None:
                left.remove(found)
                same = found[0] == {"name": name, **callback.settings()}
                (callback.load_state_dict if same else callback.load_changed_state)(found[1])


def check_resume(
    saved: Mapping[str, Any], own: Mapping[str, Any], path: Any, allow: Collection[str] = ()
) -> Changes:
    """Compare a checkpoint's identity with that of a run that would go on from it.

    Args:
        saved: of the checkpoint.
        own: of the run.
        path: of the checkpoint, for messages.
        allow: parts that may differ, of `xpnet.train.identity.CHANGEABLE`.

    Raises:
        ValueError: another run; names what differs.

    Warns:
        EnvironmentWarning: the same run somewhere else.
    """
    check_identity(saved, own, path, allow)
    note = resumed_elsewhere(saved, own)
    if note:
        warnings.warn(f"{path}: {note}", EnvironmentWarning, stacklevel=5)
    changed = {d.part for d in differences(saved, own)}
    rules = [list(_rules(settings["optimizer"])) for settings in (saved, own)]
    stateful = saved.get("stateful", saved["callbacks"])
    return Changes(
        hyperparameters="optimizer" in changed,
        rule=rules[0] != rules[1],
        callbacks=stateful if "callbacks" in changed else None,
    )


def resumed_elsewhere(saved: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """One line about what is otherwise where a run goes on, and what that means; empty if nothing is."""
    found = environment_differences(saved.get("environment", own["environment"]), own["environment"])
    rounded = ", ".join(d.name for d in differences(saved, own) if d.rounding)
    if rounded and not found:
        return f"{rounded} differ by rounding: the result is equal up to rounding, not bit for bit"
    return f"{found} ({rounded} differ by rounding, too)" if rounded else found


def _rules(settings: Any) -> Iterator[Any]:
    """The rules of one optimizer, or of several by name."""
    if isinstance(settings, dict):
        if "rule" in settings:
            yield settings["rule"]
        for value in settings.values():
            yield from _rules(value)
