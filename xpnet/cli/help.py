"""Help that fits a screen, and the nearest word to a mistaken one."""

from __future__ import annotations

import argparse
import difflib
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

SCREEN = 40  # lines


class Help(argparse.Action):
    """`--help`: everything if that fits a screen, else the options by groups; `--help GROUP`: one group."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        options |= {"default": argparse.SUPPRESS, "nargs": "?", "metavar": "GROUP"}
        super().__init__(option_strings, argparse.SUPPRESS, **options)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Print it and exit.

        Raises:
            SystemExit: always.
        """
        groups = {_name(group): group for group in parser._action_groups if group._group_actions}
        if values is None:
            text = parser.format_help()
            lines = text.splitlines()
            fits = len(lines) < SCREEN and max(map(len, lines)) <= _width()
            print(text if fits else summary(parser, groups), end="")
        elif values in groups:
            print(details(parser, groups[values]), end="")
        elif values == "all":
            print(parser.format_help(), end="")
        else:
            parser.error(f"no group {values!r}{nearest(values, groups)}; groups are {', '.join(groups)}, all")
        parser.exit()


def _name(group: Any) -> str:
    return str(group.title).split(":")[0].split(" (")[0]


def _width() -> int:
    return max(60, min(100, shutil.get_terminal_size().columns)) - 2


def summary(parser: argparse.ArgumentParser, groups: dict[str, Any]) -> str:
    """Which options there are, without what they do."""
    width = _width()
    places = [action.metavar or action.dest.upper() for action in parser._get_positional_actions()]
    lines = [f"usage: {parser.prog} {' '.join(f'[{place}]' for place in places)} [options]", ""]
    lines += textwrap.wrap(parser.description or "", width)
    lines.append("")
    for name, group in groups.items():
        if name == "positional arguments":
            for place, action in zip(places, group._group_actions, strict=True):
                lines += _hanging(str(place), (action.help or "").split(), width)
            lines.append("")
            continue
        lines += _hanging(name, [_spelled(action) for action in group._group_actions], width, "  ")
    text = f"{parser.prog} --help GROUP (or all) says what they do."
    return "\n".join([*lines, "", *textwrap.wrap(text, width)]) + "\n"


def _hanging(name: str, words: Sequence[str], width: int, space: str = " ") -> list[str]:
    """A name and what belongs to it, in as many lines as that takes."""
    lines = [f"{name + ':':12}"]
    for word in words:
        if len(lines[-1]) + len(space) + len(word) > width:
            lines.append(" " * 12)
        lines[-1] += space + word
    return lines


def _spelled(action: argparse.Action) -> str:
    option = action.option_strings[-1] if action.option_strings else action.dest
    if action.nargs == 0:
        return option
    choices = "|".join(map(str, action.choices or ()))
    return f"{option} {action.metavar or (choices if 0 < len(choices) < 30 else action.dest.upper())}"


def details(parser: argparse.ArgumentParser, group: Any) -> str:
    """What the options of one group do."""
    formatter = argparse.HelpFormatter(parser.prog, width=_width())
    formatter.start_section(group.title)
    formatter.add_text(group.description)
    formatter.add_arguments(group._group_actions)
    formatter.end_section()
    return formatter.format_help()


_SYNONYMS = {
    "learning-rate": "lr", "batch": "batch-size", "hidden": "layers", "hidden-layers": "layers",
    "l2": "weight-decay", "wd": "weight-decay", "label": "target", "labels": "target", "output": "save",
    "out": "save", "gpu": "backend", "sep": "delimiter", "separator": "delimiter", "name": "run",
    "early-stopping": "patience", "continue": "resume", "num-epochs": "epochs", "n-epochs": "epochs",
    "image-size": "size", "amp": "precision", "epoch": "steps", "epochs": "steps",
}  # fmt: skip
_VALUES = {"cuda": "cupy", "gpu": "cupy", "cpu": "numpy", "pytorch": "torch"}


def nearest(word: str, known: Iterable[str]) -> str:
    """What was meant, as the end of a message; "" if nothing is near.

    >>> from xpnet.cli.help import nearest
    >>> nearest("Relu", ["elu", "relu"]), nearest("--learning_rate", ["--lr"])
    ("; did you mean 'relu'?", "; did you mean '--lr'?")
    """
    names = {str(name).lower(): str(name) for name in known}
    plain = word.lower().lstrip("-").replace("_", "-")
    same = "--" + _SYNONYMS.get(plain, plain), _VALUES.get(plain)  # options have dashes, values none
    found = [name for name in same if name in names] or difflib.get_close_matches(word.lower(), names, 1, 0.6)
    return f"; did you mean {names[found[0]]!r}?" if found else ""
