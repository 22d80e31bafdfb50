"""What to do next, as a command."""

from __future__ import annotations

import shlex
from dataclasses import fields

from xpnet.cli.settings import NetworkSettings, TrainSettings

_NAMES = ("dataset", "data", "file", "path", "config", "given")


def doctor_command(settings: TrainSettings) -> str:
    """`xpnet doctor` for the data, network and optimizer of a run."""
    usual = NetworkSettings.defaults()
    words = [word for word in (settings.dataset or settings.data, settings.path) if word is not None]
    for field in fields(NetworkSettings):
        value = getattr(settings, field.name)
        if field.name in _NAMES or value == usual[field.name]:
            continue
        option = "--" + field.name.replace("_", "-")
        words += [option] if value is True else [option, _text(value)]
    return shlex.join(["xpnet", "doctor", *words])


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
