"""Files that are written whole or not at all, by however many threads, processes and hosts at once."""

from __future__ import annotations

import glob
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO

from xpnet.core.reading import sync
from xpnet.io.locks import check_replaceable, is_at, take

_POSIX = os.name == "posix"
# of a file that was not there: no link that someone has planted is followed
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_TOKEN = 8  # random bytes of a temporary name


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when the block ends without an error, and vanishes otherwise.

    A temporary file in the same folder is renamed, so readers see the old content or the new, never half.
    Several writers of one name do not disturb each other: the last one's file stays. What killed writers
    left is removed once its lock can be taken.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; names the file.
    """
    target, temporary = Path(path), None
    try:
        with _named_in_errors(target):
            file, temporary = _open_beside(target)
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if _POSIX:  # while it is locked
                    os.replace(temporary, target)
            if not _POSIX:
                os.replace(temporary, target)
            sync(target.parent)
    except BaseException:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        raise


def copy_file(source: str | PathLike[str], target: str | PathLike[str]) -> None:
    """Give a file a second name, atomically; as a copy where the file system knows no links.

    Files that `atomic_write` makes are replaced and never changed, so two names can share one.

    Raises:
        OSError: the target cannot be written.
    """
    target = Path(target)
    if not _link(Path(source), target):
        content = Path(source).read_bytes()
        with atomic_write(target) as copy:
            copy.write(content)


def _link(source: Path, target: Path) -> bool:
    """The same by a link, if that can be: it is locked for as long as its name is a temporary one."""
    try:
        handle = os.open(source, os.O_RDWR)
    except OSError:
        return False
    temporary = _name_beside(target)
    try:
        if not take(handle):
            return False
        _remove_leftovers(target)
        os.link(os.path.realpath(source), temporary)  # of a link, what it leads to: that is to stay
        os.replace(temporary, target)
        sync(target.parent)
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):  # two names of one file: the system leaves both
            temporary.unlink()
        os.close(handle)


def check_writable(path: str | PathLike[str]) -> None:
    """Refuse early what `atomic_write` would refuse after the work.

    Raises:
        OSError: naming the path and the reason.
    """
    with _named_in_errors(Path(path)):
        file, temporary = _open_beside(Path(path))
        file.close()
        temporary.unlink(missing_ok=True)


@contextmanager
def _named_in_errors(target: Path) -> Iterator[None]:
    """Errors that name no file, or the temporary one, name the target."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _is_ours(Path(error.filename), target):
            raise
        raise as_written_to(target, error) from None


def as_written_to(target: str | PathLike[str], error: OSError) -> OSError:
    """The same error, with the name of what could not be written."""
    if error.errno is None or error.strerror is None:
        return error
    folder = Path(target).parent
    missing = f"; there is no folder {folder}: make it first" if not folder.is_dir() else ""
    named = type(OSError(error.errno, ""))(f"cannot write {target}: {error.strerror}{missing}")
    named.errno = error.errno
    return named


def _is_ours(path: Path, target: Path) -> bool:
    """Whether this is the folder of a target or a temporary file beside it."""
    return path == target.parent or (path.name.startswith(f".{target.name}.") and path.suffix == ".tmp")


def _name_beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(_TOKEN)}.tmp")


def _open_beside(target: Path) -> tuple[IO[bytes], Path]:
    """A new file that is ours as long as it is open."""
    check_replaceable(target)
    _remove_leftovers(target)
    while True:
        temporary = _name_beside(target)
        handle = os.open(temporary, _NEW, 0o666)
        if take(handle) is not False and is_at(temporary, handle):
            return os.fdopen(handle, "wb"), temporary
        os.close(handle)  # another writer cleans up, and has taken it for a leftover
        with suppress(OSError):
            temporary.unlink()


def _remove_leftovers(target: Path) -> None:
    """Delete what killed writers left beside a file: temporary files whose lock nobody holds."""
    ours = re.compile(rf"\.[0-9a-f]{{{2 * _TOKEN}}}\.tmp$")
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        if not ours.search(path.name):
            continue
        try:
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError:
            continue
        try:
            if take(handle):
                with suppress(OSError):
                    path.unlink()
        finally:
            os.close(handle)
