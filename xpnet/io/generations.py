"""The files that one replaces: `NAME`, then `NAME.1`, the one before it, `NAME.2` and so on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from xpnet.io.writing import atomic_write, copy_file


def older(path: str | PathLike[str]) -> Iterator[Path]:
    """The generations before a file that are there, from the newest on."""
    k = 1
    while (former := _generation(Path(path), k)).is_file():
        yield former
        k += 1


def names(path: str | PathLike[str], keep: int) -> list[Path]:
    """The files of so many generations, the newest first."""
    return [Path(path), *(_generation(Path(path), k) for k in range(1, keep))]


def write_generation(path: str | PathLike[str], content: bytes, keep: int) -> None:
    """Replace a file, of which `keep` generations stay, this one included.

    At every moment there is a whole file of that name, and the older ones move on only when the new one is
    on the disk.

    Raises:
        OSError: it cannot be written; names it. The file is then as it was.
    """
    path = Path(path)
    with atomic_write(path) as file:
        file.write(content)
        if keep > 1:
            file.flush()
            os.fsync(file.fileno())
            keep_older(path, keep)


def keep_older(path: Path, keep: int) -> None:
    """Before a file is replaced: make it one of the `keep` generations."""
    if keep > 1 and path.is_file():
        for k in range(keep - 1, 1, -1):
            if _generation(path, k - 1).is_file():
                os.replace(_generation(path, k - 1), _generation(path, k))
        copy_file(path, _generation(path, 1))


def _generation(path: Path, k: int) -> Path:
    return path.with_name(f"{path.name}.{k}")
