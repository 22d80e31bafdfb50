"""Tables in text files, and arrays in .npz files."""

from __future__ import annotations

import csv
import zipfile
import zlib
from os import PathLike
from pathlib import Path

import numpy as np

from xpnet.data.dataset import Dataset
from xpnet.incoming import ordinary


def load_csv(
    path: str | PathLike[str], target: int | str = -1, header: bool | None = None, delimiter: str = ","
) -> Dataset:
    """A table of numbers, one sample a line.

    Args:
        path: the file, UTF-8.
        target: the column to predict, by number or by its name in the header. Whole numbers are classes;
            text is, too: the names are sorted and numbered. Other numbers stay float32.
        header: whether the first line names the columns; default: if none of its fields is a number.
        delimiter: what separates the fields.

    Returns:
        x float32 (n, columns - 1); y int64 classes or float32 values, (n,).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no lines, lines of several lengths, a field that is no number (line and column are
            named), or no such target.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [(i, row) for i, row in enumerate(csv.reader(file, delimiter=delimiter), 1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text table ({error})") from None
    names: list[str] | None = None
    if rows and (header or (header is None and not any(_is_number(field) for field in rows[0][1]))):
        names = [field.strip() for field in rows.pop(0)[1]]
    if not rows:
        raise ValueError(f"{path}: no samples: the table is empty")
    width = len(names or rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise ValueError(f"{path}, line {line}: {len(row)} fields, expected {width}")
    column = _column(path, target, names, width)
    x = np.empty((len(rows), width - 1), dtype=np.float32)
    for i, (line, row) in enumerate(rows):
        try:
            x[i] = [float(field) for j, field in enumerate(row) if j != column]
        except ValueError:
            j = next(j for j, field in enumerate(row) if j != column and not _is_number(field))
            raise ValueError(f"{path}, line {line}, column {j}: {row[j]!r} is not a number") from None
    y, classes = _targets([row[column].strip() for _, row in rows])
    return Dataset(x, y, Path(path).name, class_names=classes)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _column(path: str | PathLike[str], target: int | str, names: list[str] | None, width: int) -> int:
    if isinstance(target, str):
        if names is None or target not in names:
            columns = "there is no header" if names is None else f"columns are {', '.join(names)}"
            raise ValueError(f"{path}: no column {target!r}: {columns}")
        return names.index(target)
    if not -width <= target < width or width < 2:
        raise ValueError(f"{path}: no target column {target} beside the features: a line has {width} fields")
    return target % width


def _targets(fields: list[str]) -> tuple[np.ndarray, list[str] | None]:
    """Classes if the fields are whole numbers or text, else values."""
    try:
        return np.array([int(field) for field in fields], dtype=np.int64), None
    except ValueError:
        pass
    if all(_is_number(field) for field in fields):
        return np.array([float(field) for field in fields], dtype=np.float32), None
    classes = sorted(set(fields))
    number = {name: k for k, name in enumerate(classes)}
    return np.array([number[field] for field in fields], dtype=np.int64), classes


def load_npz(path: str | PathLike[str], x: str = "x", y: str = "y") -> Dataset:
    """Arrays that `numpy.savez` wrote. Pickled objects in the file are refused.

    Args:
        path: the file.
        x: name of the samples in it, (n, ...); float64 becomes float32.
        y: name of the targets, (n, ...).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or of another format, an array is missing or holds objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    parts = []
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise ValueError("it holds one array, a .npy file")
        with content:
            for name in (x, y):
                if name not in content.files:
                    raise ValueError(f"it has no array {name!r}, but {', '.join(content.files)}")
                array = ordinary(content[name])
                parts.append(array.astype(np.float32) if array.dtype == np.float64 else array)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read as an .npz file of {x!r} and {y!r}: {error}") from None
    return Dataset(parts[0], parts[1], Path(path).name)
