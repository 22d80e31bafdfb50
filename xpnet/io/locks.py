"""Who writes a file: locks of the operating system, which it takes back when their holder dies.

A process id says nothing: containers and hosts that share a folder give the same one to different processes.
A lock is held by whoever has the file open, in any container, on any host whose file system passes locks on
(local disks, NFS with its lock service), and in any thread. Where the file system knows no locks, a warning
says so, and nothing keeps two runs apart.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike
from pathlib import Path

from xpnet.core.reading import kind_of

_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_FAR = 1 << 30  # Windows locks bytes, and forbids reading them: one that no lock file has


class InUseError(OSError):
    """Another run is writing this file."""


def take(handle: int) -> bool | None:
    """Lock an open file until it is closed, without waiting.

    Args:
        handle: opened for writing, as NFS asks.

    Returns:
        Whether it is ours; None where the file system knows no locks.
    """
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(handle, _FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            os.lseek(handle, 0, os.SEEK_SET)
    except OSError as error:
        return False if error.errno in _HELD_BY_ANOTHER else None
    return True


def is_at(path: Path, handle: int) -> bool:
    """Whether an open file still has this name."""
    try:
        there, here = path.lstat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def check_replaceable(path: Path) -> None:
    """Refuse to put a file in the place of what is none: a rename would remove a device for everybody.

    Raises:
        OSError: it is a folder, a pipe, a socket or a device, itself or where a link leads.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # it is not there, or what opens a file beside it says why not
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {kind_of(mode)}, expected a file")


class _Claim:
    """A lock file beside the file that is claimed; `handle` is None where there are no locks."""

    def __init__(self, path: Path, handle: int | None) -> None:
        self.path, self.handle = path, handle
        self.thread, self.count = threading.get_ident(), 1

    def release(self) -> None:
        if self.handle is not None:
            with suppress(OSError):
                if os.name == "posix":  # while it is locked, so that nobody else's is removed
                    self.path.unlink()
            os.close(self.handle)
        if os.name != "posix":
            with suppress(OSError):  # it stays if another has opened it
                self.path.unlink()


_claims: dict[str, _Claim] = {}
_guard = threading.RLock()


@contextmanager
def claimed(*paths: str | PathLike[str]) -> Iterator[None]:
    """Keep files from other runs while the block runs; what claims them again in this thread may.

    The claim is a lock on `.NAME.lock` beside the file, which vanishes with the block. One that a killed
    process left behind is not locked any more, and is taken over.

    Raises:
        ValueError: a file is named twice.
        InUseError: another process, on whatever host, or another thread writes one of them; names it.
        OSError: the folder cannot be written to.

    Warns:
        UserWarning: the file system knows no locks.
    """
    check_apart(paths)
    with ExitStack() as stack:
        for path in map(Path, paths):
            stack.enter_context(_claim(path))
        yield


def check_apart(written: Sequence[str | PathLike[str]], read: Sequence[str | PathLike[str]] = ()) -> None:
    """Refuse files of which one would replace another, or what it is made from.

    Args:
        written: by a run.
        read: by it, and not written.

    Raises:
        ValueError: naming the file.
    """
    keys = [_key(Path(path)) for path in written]
    sources = {key for path in read for key in (_key(Path(path)), os.path.realpath(path))}
    for i, (path, key) in enumerate(zip(written, keys, strict=True)):
        if key in keys[:i]:
            raise ValueError(f"{path} is to be written twice, with different content; name another file")
        if key in sources:
            raise ValueError(f"{path} is read, and would be overwritten; name another file to write")


def _key(path: Path) -> str:
    """The name that a write replaces, whatever way it is spelled; a link is replaced itself."""
    return os.path.join(os.path.realpath(path.parent), path.name)


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    key = _key(path)
    with _guard:
        claim = _claims.get(key)
        if claim is not None:
            if claim.thread != threading.get_ident():
                raise InUseError(f"{path} is being written by another thread; name another file")
            claim.count += 1
        else:
            claim = _claims[key] = _acquire(path)
    try:
        yield
    finally:
        with _guard:
            claim.count -= 1
            if not claim.count and _claims.get(key) is claim:
                del _claims[key]
                claim.release()


def _acquire(path: Path) -> _Claim:
    try:
        check_replaceable(path)
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror}") from None
    beside = path.with_name(f".{path.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        try:
            handle = os.open(beside, flags, 0o666)
        except OSError as error:
            raise type(error)(f"cannot write {path}: {error.strerror} ({beside.name})") from None
        try:
            taken = take(handle)
            if taken is False:
                raise InUseError(
                    f"{path} is being written by {_read(handle)}; wait until that has ended, or name "
                    "another file"
                )
            if taken is None:
                warnings.warn(
                    f"the file system of {path} knows no locks: nothing keeps a second run from writing it",
                    stacklevel=4,
                )
            elif not is_at(beside, handle):  # its holder has removed it since it was opened
                os.close(handle)
                continue
            else:
                _sign(handle)
        except BaseException:
            os.close(handle)
            raise
        return _Claim(beside, handle)


def _sign(handle: int) -> None:
    """Write down whose lock it is; where the disk is full, the lock alone must do."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {now}".encode())


def _read(handle: int) -> str:
    """Who has written down that the lock is theirs."""
    with suppress(OSError):
        os.lseek(handle, 0, os.SEEK_SET)
        text = os.read(handle, 200).decode(errors="replace")
        return "".join(c for c in text if c.isprintable()) or "another process"
    return "another process"


def _forget() -> None:
    """A child that was forked holds no claim: its copies of the open files would outlive the parent's."""
    global _guard
    _guard = threading.RLock()
    for claim in _claims.values():
        if claim.handle is not None:
            os.close(claim.handle)
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
