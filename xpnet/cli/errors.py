"""Mistakes of the user end with one line and exit code 2, those of the program with a traceback."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

OK, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class BadInputError(Exception):
    """What was wrong with an option, a file or the machine, for the user to read."""


@contextmanager
def bad_input(prefix: str = "") -> Iterator[None]:
    """Around everything that looks at the user's options and files: its errors are theirs to mend."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError) as error:
        raise BadInputError(prefix + " ".join(str(error).split())) from error


_waiting: list[Callable[[], None]] | None = None  # warnings that are held back; None: they are shown at once


@contextmanager
def holding_warnings() -> Iterator[None]:
    """Hold warnings back until `say_warnings`, or the end: a mistake, which is one line, drops them."""
    global _waiting
    show, before = warnings.showwarning, _waiting

    def later(*args: Any, **options: Any) -> None:
        if _waiting is None:
            show(*args, **options)
        else:
            _waiting.append(partial(show, *args, **options))

    warnings.showwarning, _waiting = later, []
    try:
        yield
    except BadInputError:
        _waiting = None
        raise
    finally:
        say_warnings()
        warnings.showwarning, _waiting = show, before


def say_warnings() -> None:
    """Show what was held back, and what comes from here on."""
    global _waiting
    waiting, _waiting = _waiting or [], None
    for show in waiting:
        show()
