"""MNIST and what comes in its files: Fashion-MNIST, KMNIST, EMNIST, QMNIST; and Kaggle's tables of them."""

from __future__ import annotations

import math
import re
from os import PathLike
from pathlib import Path

import numpy as np

from xpnet.core.reading import MissingFileError, read_file, reading
from xpnet.data.cache import walk
from xpnet.data.dataset import Dataset
from xpnet.data.frame import read_frame
from xpnet.data.idx import read_idx
from xpnet.data.split import split

# emnist-letters-train-images-idx3-ubyte.gz, qmnist-test-labels-idx2-int, t10k-images.idx3-ubyte
_FILE = re.compile(r"(.*[-_])?(train|t10k|test)-(images|labels)[-.]idx\d-(ubyte|int)(\.gz)?", re.IGNORECASE)
_TABLE = re.compile(r"(.*[-_])?(train|test)\.csv(\.gz)?", re.IGNORECASE)
_PARTS = ("training", "test")


def load_mnist(path: str | PathLike[str], flatten: bool = True) -> tuple[Dataset, Dataset]:
    """MNIST, or any data set in its files: Fashion-MNIST, KMNIST, EMNIST, QMNIST; or Kaggle's tables of them.

    Args:
        path: the folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each with or without .gz, or with folders below that hold them; or with
            train.csv, one picture a line after its label, and test.csv, if that has labels, too. Of a folder
            with several EMNIST sets, `FOLDER/emnist-letters` is one.
        flatten: x of shape (60000, 784); otherwise pictures, (60000, 1, 28, 28).

    Returns:
        The training and the test set: x float32, whole numbers 0 .. 255; y int64, 0 .. 9. EMNIST's pictures,
        which lie on their side in the files, are upright. Labels that count from 1, or that a mapping file
        translates, are numbered from 0 and have `class_names`. Without a labelled test set, it is a fifth of
        the training set, always the same.

    Raises:
        FileNotFoundError: the folder or a file is missing.
        ValueError: a file is truncated, damaged or of another format, images and labels do not pair up, or
            there are several sets.

    >>> from xpnet.data import load_mnist
    >>> load_mnist("no/such/folder")
    Traceback (most recent call last):
    xpnet.core.reading.MissingFileError: no/such/folder: no such folder; expected ...
    """
    folder, prefix = Path(path), None
    start = f"{folder.name.lower()}-"
    if not folder.is_dir() and folder.parent.is_dir() and len(start) > 1:
        known = any(file.name.lower().startswith(start) for file in folder.parent.iterdir())
        folder, prefix = (folder.parent, start) if known else (folder, None)
    if not folder.is_dir():
        there = "a file" if folder.exists() else "no such folder"
        raise MissingFileError(f"{folder}: {there}; expected the folder with MNIST's four idx files")
    files = _files(folder, prefix)
    if not files:
        tables = [file for file in sorted(folder.iterdir()) if _TABLE.fullmatch(file.name)]
        if any("train" in file.name.lower() for file in tables):
            return _from_tables(folder, tables, flatten)
    found = [_part(folder, files, names, flatten) for names in (("train",), ("t10k", "test"))]
    names = _class_names(found, next(iter(files.values())) if files else folder)
    train, test = (
        Dataset(x, y - (names[0] if names else 0), f"MNIST {part} set", names[1] if names else None)
        for (x, y), part in zip(found, _PARTS, strict=True)
    )
    return train, test.guarded()


def _files(folder: Path, prefix: str | None) -> dict[tuple[str, str], Path]:
    """The files by part and kind.

    Raises:
        ValueError: there are those of several sets.
    """
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for file in walk(folder):
        match = _FILE.fullmatch(file.name)
        if match is not None and file.is_file():
            name = (match[1] or "").lower()
            if prefix is None or name == prefix:
                found.setdefault(name, {}).setdefault((match[2].lower(), match[3].lower()), file)
    if len(found) > 1:
        sets = ", ".join(str(folder / (name.rstrip("-_") or "train-...")) for name in sorted(found))
        raise ValueError(f"{folder}: it holds {len(found)} data sets: choose one of {sets}")
    return next(iter(found.values()), {})


def _part(
    folder: Path, files: dict[tuple[str, str], Path], names: tuple[str, ...], flatten: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels of the part with one of these names."""
    places = []
    for kind, dims in (("images", 3), ("labels", 1)):
        place = next((files[name, kind] for name in names if (name, kind) in files), None)
        if place is None:
            stem = f"{names[0]}-{kind}"
            raise MissingFileError(
                f"{folder}: there is no {stem}-idx{dims}-ubyte or {stem}-idx{dims}-ubyte.gz in this folder"
            )
        places.append(place)
    images, labels = read_idx(places[0]), read_idx(places[1])
    if labels.ndim == 2 and labels.shape[1:] == (8,):  # QMNIST: the class, and who wrote it
        labels = labels[:, 0]
    if images.ndim != 3 or labels.ndim != 1:
        raise ValueError(
            f"{folder}: expected images (n, height, width) and labels (n,), got {images.shape} in "
            f"{places[0].name} and {labels.shape} in {places[1].name}"
        )
    if places[0].name.lower().startswith("emnist"):  # written column by column
        images = images.transpose(0, 2, 1)
    x = images.astype(np.float32)
    return x.reshape(len(x), -1) if flatten else x[:, None], labels.astype(np.int64)


def _class_names(parts: list[tuple[np.ndarray, np.ndarray]], file: Path) -> tuple[int, list[str]] | None:
    """The lowest label, and the names of all from there on; None: they are 0, 1, 2, ..."""
    labels = np.concatenate([y for _, y in parts])
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    names = [str(k) for k in range(low, high + 1)]
    mapping = file.parent / f"{file.name.split('-train-')[0].split('-test-')[0]}-mapping.txt"
    if file.name.lower().startswith("emnist") and mapping.is_file():
        with reading(mapping, "a mapping of labels to characters"):
            rows = [list(map(int, line.split())) for line in read_file(mapping).decode().splitlines() if line]
            letters = {row[0]: chr(row[1]) for row in rows}
            return low, [letters[k] for k in range(low, high + 1)]
    if low == 1 and file.name.lower().startswith("emnist-letters") and high <= 26:
        return 1, [chr(ord("A") + k) for k in range(high)]
    return (1, names) if low == 1 else None


def _from_tables(folder: Path, tables: list[Path], flatten: bool) -> tuple[Dataset, Dataset]:
    """Kaggle's: a line a picture, with a column called label and one a pixel."""
    parts = {}
    for path in tables:
        part = "training" if "train" in path.name.lower() else "test"
        frame = read_frame(path)
        if frame.names is None or "label" not in map(str.lower, frame.names):
            if part == "training":
                raise ValueError(f"{path}: it has no column called label")
            continue
        goal = [name.lower() for name in frame.names].index("label")
        pixels = []
        for j, column in enumerate(frame.columns):
            if column.numbers is None or column.missing.any():
                bad = column.missing if column.numbers is not None else np.ones(len(frame), dtype=bool)
                raise frame.fault(int(np.flatnonzero(bad)[0]), j, "is not a number")
            pixels.append(column.numbers)
        y = pixels.pop(goal)
        x = np.stack(pixels, axis=1).astype(np.float32)
        side = math.isqrt(x.shape[1])
        if side**2 != x.shape[1]:
            raise ValueError(f"{path}: {x.shape[1]} pixels a line, which make no square")
        if not (np.round(y) == y).all():
            raise ValueError(f"{path}: its labels are no whole numbers")
        x = x if flatten else x.reshape(-1, 1, side, side)
        parts[part] = Dataset(x, y.astype(np.int64), f"MNIST {part} set")
    if "test" not in parts:
        train, test = split(parts["training"], (0.8, 0.2), seed=0)
        return train, test.guarded()
    return parts["training"], parts["test"].guarded()
