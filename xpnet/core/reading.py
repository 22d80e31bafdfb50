"""Where foreign bytes enter: whatever is wrong with a file becomes one line that names it.

A reader opens with `open_file`, and works inside `reading`. Sizes that a file declares about itself are
compared with what it holds before memory is taken for them (`read_exactly`, `budget`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, BinaryIO

SMALL = 64 * 2**20
"""Bytes that any file may cost, whatever its size."""
_STEP = 2**20


class UnreadableFileError(ValueError):
    """A file cannot be read as what it should be: damaged, truncated, of another format, too large."""


class MissingFileError(UnreadableFileError, FileNotFoundError):
    """There is no such file."""


@contextmanager
def reading(path: str | PathLike[str], what: str) -> Iterator[None]:
    """Around everything that looks at a file's content: any error there is one of the file.

    Args:
        path: the file, by which the message begins.
        what: the file should be, with its article: "a tar file".

    Raises:
        MissingFileError: there is no such file; a FileNotFoundError, too.
        UnreadableFileError: whatever else went wrong, in one line; the first error is its `__cause__`.

    A missing package (ImportError) is not the file's fault and passes through, and so do Ctrl-C and the like.

    >>> from xpnet.core.reading import reading
    >>> with reading("a.bin", "a list"):
    ...     [1, 2][3]
    Traceback (most recent call last):
    xpnet.core.reading.UnreadableFileError: a.bin: not a list, or a truncated or damaged one (IndexError: ...
    """
    try:
        yield
    except (UnreadableFileError, ImportError):
        raise
    except Exception as error:
        name, text = printable(path), _reason(error)
        own_words = isinstance(error, ValueError | FileNotFoundError) and str(error).startswith(str(path))
        if own_words and isinstance(error, ValueError) and type(error) is not ValueError:
            raise  # a kind that somebody may wait for
        missing = isinstance(error, FileNotFoundError)
        kind = MissingFileError if missing else UnreadableFileError
        if own_words:
            raise kind(text.removeprefix(f"{type(error).__name__}: ")) from error
        if isinstance(error, OSError) and error.errno is not None and error.strerror:
            raise kind(f"{name}: " + ("no such file" if missing else error.strerror)) from error
        raise kind(f"{name}: not {what}, or a truncated or damaged one ({text})") from error


def _reason(error: Exception) -> str:
    """In one line of at most 600 characters."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = printable(" ".join(str(error).split()))
    text = text if len(text) <= 600 else text[:600] + " ..."
    return text if type(error) in (ValueError, OSError) and text else f"{type(error).__name__}: {text}"


# controls, line ends and what turns the direction of writing; a terminal obeys them
_COMMANDS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: Any) -> str:
    r"""A name from a file for a terminal or a log: what a terminal would obey, as its escape.

    >>> print(printable("cat\x1b[2J"))
    cat\x1b[2J
    """
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], str(text))


def open_file(path: str | PathLike[str]) -> BinaryIO:
    """Open an ordinary file for reading; a pipe or a device is refused, where reading could wait for ever.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe, a socket or a device.
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"{printable(path)}: it is {kind_of(mode)}, expected a file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def kind_of(mode: int) -> str:
    """What it is that is no ordinary file, by its `st_mode`."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def read_file(path: str | PathLike[str]) -> bytes:
    """The content of an ordinary file. Raises as `open_file` does."""
    with open_file(path) as file:
        return file.read()


def check_file(path: str | PathLike[str]) -> int:
    """The size of an ordinary file, for readers that open it themselves. Raises as `open_file` does."""
    with open_file(path) as file:
        return os.fstat(file.fileno()).st_size


def budget(size: int) -> int:
    """The bytes that a part of a file of `size` bytes may have once it is unpacked."""
    return 3 * size + SMALL


def read_exactly(stream: IO[bytes], size: int) -> bytearray:
    """The next `size` bytes of a stream, of which no more are held than there are.

    Raises:
        EOFError: the stream ends before.
    """
    content = bytearray()
    while len(content) < size:
        part = stream.read(min(_STEP, size - len(content)))
        if not part:
            raise EOFError(f"it ends after {len(content)} bytes, expected {size}")
        content += part
    return content


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut; only POSIX systems can do that."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
