"""Colours on a terminal, and nowhere else."""

from __future__ import annotations

import os
import re
import sys

_GREEN, _YELLOW, _RED = "32", "33", "31"
_WORDS = {
    "PASS": _GREEN,
    "agrees": _GREEN,
    "bit for bit": _GREEN,
    "WARN": _YELLOW,
    "FAIL": _RED,
    "DIFFERS": _RED,
    "DIFFERENT BITS": _RED,
    "beyond": _RED,
    "first to diverge": _RED,
}
_FOUND = re.compile("|".join(rf"\b{word}\b" for word in _WORDS))


def is_coloured() -> bool:
    """Whether what is printed is seen on a terminal that shows colours; NO_COLOR turns them off."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def painted(text: str) -> str:
    """Verdicts in green, yellow or red, if that is seen."""
    if not is_coloured():
        return text
    return _FOUND.sub(lambda found: f"\x1b[{_WORDS[found[0]]}m{found[0]}\x1b[0m", text)


def strong(text: str) -> str:
    """In bold, if that is seen."""
    return f"\x1b[1m{text}\x1b[0m" if is_coloured() else text
