"""Options that name files."""

from __future__ import annotations

import argparse


def file_name(text: str) -> str:
    """The name of a file: an empty one, of an unset variable, would be taken for none."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file, got an empty one")
    return text


def refuse_empty_names(parser: argparse.ArgumentParser) -> None:
    """Have every option that takes a file refuse an empty name."""
    for action in parser._actions:
        if (
            action.type is None
            and action.nargs != 0
            and any(w in str(action.metavar) for w in ("FILE", "DIR"))
        ):
            action.type = file_name
