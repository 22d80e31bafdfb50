"""Options in a TOML file, `--config FILE`; and the file that a run writes of its own."""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from xpnet.cli.errors import BadInputError, bad_input
from xpnet.cli.help import nearest
from xpnet.cli.settings import Interval, TrainSettings
from xpnet.core.reading import read_file, reading

_NOT_KEPT = ("argv", "given", "config", "dataset", "file", "run", "overwrite", "resume", "allow", "live")
_RESULTS = ("save", "plot", "grid", "preview", "json", "report")


def expanded(args: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """The words of a command with those of its `--config FILE` before them, so that what is given prevails.

    Raises:
        BadInputError: the file is no TOML, or has a key that is no option.
    """
    words, path = list(args), None
    for i, word in enumerate(words):
        if word == "--config" and i + 1 < len(words):
            path = words[i + 1]
        elif word.startswith("--config="):
            path = word.partition("=")[2]
    if path is None or "--config" not in parser._option_string_actions:
        return words
    with bad_input(), reading(path, "a TOML file of options"):
        table = tomllib.loads(read_file(path).decode())
    found: list[str] = []
    for key, value in table.items():
        option = "--" + key.replace("_", "-")
        action = parser._option_string_actions.get(option)
        if isinstance(value, dict):
            raise BadInputError(
                f"{path}: [{key}] begins a section, and there are none: write all options above it"
            )
        if action is None or key in _NOT_KEPT:
            near = nearest(option, parser._option_string_actions)
            raise BadInputError(f"{path}: {key!r} is no option of {parser.prog}{near}")
        if action.nargs == 0:
            if not isinstance(value, bool):
                raise BadInputError(f"{path}: {key} is true or false, got {value!r}")
            found += [option] if value else []
        elif isinstance(value, bool | dict):
            raise BadInputError(f"{path}: {key} = {value!r}: expected a text, a number or a list")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append(f"{option}={text}")
    return [*found, *words]


def as_toml(settings: TrainSettings, data: str) -> str:
    """The options of a run that are not the defaults, as `--config` reads them from any folder.

    The files of its results are not among them: another run would write over them.
    """
    usual = TrainSettings.defaults()
    found: dict[str, Any] = {"data": data}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in _RESULTS and value != "none":
            continue
        if field.name == "path" and value is not None:
            value = os.path.abspath(value)
        if field.name not in (*_NOT_KEPT, "data") and value != usual[field.name]:
            found[field.name.replace("_", "-")] = _interval(value) if isinstance(value, Interval) else value
    return "".join(f"{key} = {_value(value)}\n" for key, value in found.items())


def _interval(value: Interval) -> str:
    if value.minutes is not None:
        return f"{value.minutes:g}m"
    return str(value.updates) if value.updates is not None else f"{value.epochs}e"


def _value(value: Any) -> str:
    """JSON's numbers, truth values, lists and texts of printable characters are TOML's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
