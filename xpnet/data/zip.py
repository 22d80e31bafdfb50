"""Zip files of others, read without unpacking them to disk and without believing their sizes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from xpnet.core.reading import budget, open_file, read_exactly, reading


def is_zip(path: Path) -> bool:
    """Whether a file begins as zip files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def zip_members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The files in a zip file: their names, and what reads each; whatever is wrong with it is one ValueError.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a zip file, a damaged one, or needs a password.
    """
    with reading(path, "a zip file"), open_file(path) as file, zipfile.ZipFile(file) as archive:
        limit = budget(path.stat().st_size)

        def reader(member: zipfile.ZipInfo) -> Callable[[], bytes]:
            def read() -> bytes:
                if member.flag_bits & 1:
                    raise ValueError(f"{member.filename!r} needs a password")
                if member.file_size > limit:
                    said = f"{member.filename!r} says that it has {member.file_size} bytes"
                    raise ValueError(f"{said}, expected {limit} at most")
                with archive.open(member) as stream:
                    return bytes(read_exactly(stream, member.file_size))

            return read

        for member in archive.infolist():
            if not member.is_dir():
                name = member.filename  # programs of Windows part it by backslashes
                yield name if "/" in name else name.replace("\\", "/"), reader(member)
