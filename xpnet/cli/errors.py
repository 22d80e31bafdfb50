"""Mistakes of the user end with one line and exit code 2, those of the program with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
