"""Decoded data kept on disk, so that pictures are decoded once and not in every epoch and every run.

An entry is on the disk before it takes its name, and its checksums are compared each time it is opened: one
that is damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.core.reading import printable, sync

_LAYOUT, _SUMS = 5, "checksums.json"  # raised when the content of an entry changes its meaning


def cache_folder() -> Path:
    """Where decoded data is kept: $XPNET_CACHE, else the user's cache folder."""
    chosen = os.environ.get("XPNET_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "xpnet"


def walk(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder, sorted; links are followed unless they lead back up."""
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            yield entry
        elif entry.resolve() not in above:
            yield from walk(entry, above)


def fingerprint(source: str | PathLike[str]) -> list[Any]:
    """Name, size and time of change of a file, or of every file below a folder: what an entry depends on."""
    path = Path(source).resolve()
    files = list(walk(path)) if path.is_dir() else [path]
    stats = [(str(p.relative_to(path)), p.stat()) for p in files if p.is_file()]
    return [str(path), [[name, s.st_size, s.st_mtime_ns] for name, s in stats]]


def cached(
    source: str | PathLike[str],
    options: dict[str, Any],
    build: Callable[[Path], None],
    folder: str | PathLike[str] | None = None,
) -> Path:
    """The folder of an entry, built by `build(folder)` unless it is there already.

    Args:
        source: the file or folder that the entry is decoded from; a change of size or time of change of any
            file makes another entry.
        options: whatever else the content depends on, as JSON can hold it.
        build: writes the files of the entry.
        folder: where entries are kept; default `cache_folder()`.

    An entry is built under another name and renamed when it is complete: a reader never sees half of one,
    and of two processes that build the same one, the second throws its own away. One whose files are not
    those that were written is thrown away, and built again.

    Raises:
        OSError: the folder cannot be written to.

    Warns:
        UserWarning: the entry was damaged.
    """
    key = json.dumps([_LAYOUT, fingerprint(source), options], sort_keys=True)
    parent = Path(folder) if folder is not None else cache_folder()
    entry = parent / hashlib.sha256(key.encode()).hexdigest()[:32]
    if entry.is_dir():
        if _is_whole(entry):
            return entry
        kept = f"what was kept of it in {entry} is damaged: it is read again"
        warnings.warn(f"{printable(source)}: {kept}", stacklevel=4)
        shutil.rmtree(entry, ignore_errors=True)
    parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=parent, prefix=f".{entry.name}."))
    try:
        build(unfinished)
        (unfinished / _SUMS).write_text(json.dumps(_checksums(unfinished)))
        for path in (*unfinished.iterdir(), unfinished):
            sync(path)
        try:
            unfinished.rename(entry)
            sync(parent)
        except OSError:
            if not _is_whole(entry):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return entry


def _checksums(entry: Path) -> dict[str, str]:
    """The SHA-256 of each file of an entry."""
    sums = {}
    for path in sorted(entry.iterdir()):
        if path.name != _SUMS:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def _is_whole(entry: Path) -> bool:
    """Whether an entry holds what was written."""
    try:
        return json.loads((entry / _SUMS).read_bytes()) == _checksums(entry)
    except (OSError, ValueError):
        return False


def cached_arrays(
    source: str | PathLike[str],
    options: dict[str, Any],
    build: Callable[[Path], None],
    cache: bool | str | PathLike[str] = True,
) -> dict[str, np.ndarray]:
    """The .npy files of an entry by name, memory-mapped.

    Args:
        source: see `cached`.
        options: see `cached`.
        build: writes .npy files into a folder.
        cache: True, the folder to keep entries in, or False: decode into memory, keep nothing on disk.
    """
    if cache is not False:
        try:
            entry = cached(source, options, build, None if cache is True else cache)
        except (
            OSError,
            RuntimeError,
        ) as error:  # RuntimeError: there is no home; the source's come again below
            warnings.warn(
                f"decoded data cannot be kept ({error}); set XPNET_CACHE to a folder for it", stacklevel=3
            )
        else:
            return {p.stem: np.load(p, mmap_mode="r", allow_pickle=False) for p in entry.glob("*.npy")}
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch))
        return {p.stem: np.load(p, allow_pickle=False) for p in Path(scratch).glob("*.npy")}
