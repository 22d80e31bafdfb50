"""Tar files of others, read without unpacking them to disk and without believing their sizes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from xpnet.core.reading import budget, open_file, reading

_HEADER = 2**20  # a long name is the largest thing in a header
_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))


class _Limited:
    """A stream that gives no more at once than a header needs, until a member is read on purpose."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.limit = stream, _HEADER

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.limit:
            raise ValueError(f"a header asks for {size} bytes")
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar file, packed by gzip, bzip2, xz or not; whatever is wrong with it is one ValueError.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a tar file, or a truncated or damaged one.
    """
    with reading(path, "a tar file"), open_file(path) as file:
        start = file.read(8)
        file.seek(0)
        unpack: Any = next((function for magic, function in _PACKED if start.startswith(magic)), None)
        stream: IO[bytes] = file if unpack is None else unpack(file)
        limited: Any = _Limited(stream)
        with stream, tarfile.open(fileobj=limited, mode="r:") as archive:
            yield archive


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The regular files in it, in their order.

    Raises:
        ValueError: one begins where it cannot, or has holes.
    """
    last = -1
    for member in archive:
        if member.offset <= last or member.size < 0:
            raise ValueError("its members do not follow one another")
        last = member.offset
        if member.isfile():
            if member.issparse():
                raise ValueError(f"{member.name!r} is a file with holes: pack it without --sparse")
            yield member


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int | None = None) -> bytes:
    """The content of a regular file in a tar file.

    Args:
        archive: from `open_tar`.
        member: from `members`.
        limit: bytes that it may have; default: what a file packed as ours are can have.

    Raises:
        ValueError: it is larger.
    """
    limited: Any = archive.fileobj
    if limit is None:
        limit = budget(os.fstat(limited.fileno()).st_size)
    if member.size > limit:
        raise ValueError(f"{member.name!r} says that it has {member.size} bytes, expected {limit} at most")
    limited.stream.seek(member.offset_data)
    content = limited.stream.read(member.size)
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return content
