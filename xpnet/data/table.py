"""Tables in text files, and arrays in .npz files."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from xpnet.core.incoming import ordinary
from xpnet.core.reading import open_file, printable, reading
from xpnet.data.dataset import Dataset
from xpnet.data.npy import read_npz

_EMPTY = "is empty: fill it or drop the line"


class Table(NamedTuple):
    """The fields of a text table, stripped of spaces, and where they stand.

    Attributes:
        path: the file.
        names: of the columns, if there is a header.
        rows: the fields of each line.
        lines: its number in the file, from 1.
    """

    path: str | PathLike[str]
    names: list[str] | None
    rows: list[list[str]]
    lines: list[int]

    def fault(self, row: int, column: int, what: str) -> ValueError:
        """What is wrong with a field."""
        name = "" if self.names is None else f" ({self.names[column]})"
        field = self.rows[row][column]
        field = field if len(field) <= 100 else field[:100] + " ..."
        return ValueError(f"{self.path}, line {self.lines[row]}, column {column}{name}: {field!r} {what}")

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """Those columns, (n, columns) float64.

        Raises:
            ValueError: naming the first field that is not a finite number.
        """
        values = np.empty((len(self.rows), len(columns)))
        for i, row in enumerate(self.rows):
            for k, j in enumerate(columns):
                if not is_number(row[j]):
                    raise self.fault(i, j, "is not a number" if row[j] else _EMPTY)
                values[i, k] = float(row[j])
                if math.isinf(values[i, k]):
                    raise self.fault(i, j, "is too large a number")
        return values


def read_table(path: str | PathLike[str], header: bool | None = None, delimiter: str | None = ",") -> Table:
    """The one reader of text tables: for `load_csv` and for `xpnet predict`.

    Args:
        path: the file, UTF-8 with or without a byte order mark. Empty lines are passed over, and so are
            lines at the top that begin with #.
        header: whether the first line names the columns; default: if none of its fields is a number.
        delimiter: what separates the fields, which may also stand at the end of every line; None: whichever
            of comma, semicolon and tab the first line has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no text table, no lines, or lines of several lengths.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    with reading(path, "a text table"), open_file(path) as content:
        file = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
        if delimiter is None:
            delimiter = _delimiter(file)
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        for row in reader:
            fields = [field.strip() for field in row]
            if (not any(fields) and len(fields) < 2) or (not rows and fields[0].startswith("#")):
                continue
            rows.append(fields)
            lines.append(reader.line_num)
    names = None
    if rows and (header or (header is None and not any(is_number(field) for field in rows[0]))):
        names, _ = rows.pop(0), lines.pop(0)
    if not rows:
        raise ValueError(f"{path}: no samples: the table is empty")
    if len(rows[0]) > 1 and all(not row[-1] for row in rows) and (names is None or not names[-1:][0]):
        rows = [row[:-1] for row in rows]  # a delimiter ends each line
        names = None if names is None else names[:-1]
    elif names is not None and len(names) == len(rows[0]) - 1 and all(not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # of each but the header
    width = len(rows[0] if names is None else names)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise ValueError(f"{path}, line {line}: {len(row)} fields, expected {width}")
    return Table(path, names, rows, lines)


def _delimiter(file: IO[str]) -> str:
    """Comma, semicolon or tab: the one that the first line has; the file is at its beginning again."""
    first = next((line for line in file if line.strip() and not line.startswith("#")), "")
    file.seek(0)
    found = [mark for mark in ",;\t" if mark in first]
    if len(found) > 1:
        raise ValueError(f"the first line has {' and '.join(map(repr, found))}: which separates the fields?")
    return found[0] if found else ","


def load_csv(
    path: str | PathLike[str],
    target: int | str = -1,
    header: bool | None = None,
    delimiter: str = ",",
    *,
    classes: bool | None = None,
) -> Dataset:
    """A table of numbers, one sample a line.

    Args:
        path: the file, UTF-8.
        target: the column to predict, by number or by its name in the header.
        header: whether the first line names the columns; default: if none of its fields is a number.
        delimiter: what separates the fields.
        classes: whether the target is a class. True: every text is one; the names are sorted, numbers by
            value, and numbered, but whole numbers stay as they are. False: it is a number to predict. None:
            whole numbers, 1.0 too, and text are classes, other numbers not; a column of both is refused.

    Returns:
        x float32 (n, columns - 1); y int64 classes or float32 values, (n,).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no lines, lines of several lengths, a field that is no number (line and column are
            named), or no such target.

    Warns:
        UserWarning: float32 has not the digits to tell a column's values apart.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from xpnet.data import load_csv
    >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = path.write_text("width,height,kind\\n1.5,2,rose\\n3,4.5,tulip\\n")
    >>> data = load_csv(path, "kind")
    >>> data.x.tolist(), data.y.tolist(), data.class_names
    ([[1.5, 2.0], [3.0, 4.5]], [0, 1], ['rose', 'tulip'])
    """
    with reading(path, "a table of numbers"):
        table = read_table(path, header, delimiter)
        column = _column(table, target)
        others = [j for j in range(len(table.rows[0])) if j != column]
        wide = table.numbers(others)
        x = wide.astype(np.float32)
        for k, j in enumerate(others):
            if 2 * len(np.unique(x[:, k])) < len(np.unique(wide[:, k])):
                name = j if table.names is None else f"{j} ({table.names[j]})"
                warnings.warn(
                    f"{path}: float32 cannot tell the values of column {name} apart, such as {wide[0, k]!r}: "
                    "subtract an offset in the file",
                    stacklevel=2,
                )
        y, names = _targets(table, column, classes)
        return Dataset(x, y, Path(path).name, class_names=names)


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # one way to read each digit
# what other programs write where a value is missing; as the names of classes they must be asked for
_MISSING = ("", "?", "na", "n/a", "nan", "null", "#n/a")


def is_number(field: str) -> bool:
    """Whether a field is a number as every program reads it: not 1_000, nor inf."""
    return _NUMBER.fullmatch(field.strip()) is not None


def _column(table: Table, target: int | str) -> int:
    path, names, width = table.path, table.names, len(table.rows[0])
    if isinstance(target, str):
        if names is None or target not in names:
            columns = "there is no header" if names is None else f"columns are {', '.join(names)}"
            raise ValueError(f"{path}: no column {target!r}: {columns}")
        if names.count(target) > 1:
            raise ValueError(f"{path}: {names.count(target)} columns are called {target!r}; give its number")
        return names.index(target)
    if not -width <= target < width or width < 2:
        raise ValueError(f"{path}: no target column {target} beside the features: a line has {width} fields")
    return target % width


def _targets(table: Table, column: int, classes: bool | None) -> tuple[np.ndarray, list[str] | None]:
    """Classes or values, and the names of the classes that are text."""
    fields = [row[column] for row in table.rows]
    if "" in fields:
        raise table.fault(fields.index(""), column, _EMPTY)
    if classes is False:
        return table.numbers([column])[:, 0].astype(np.float32), None
    numeric = [is_number(field) for field in fields]
    if classes is None:
        option = "; if every text is a class, pass classes=True"
        if any(numeric) and not all(numeric):
            odd = numeric.index(False)
            raise table.fault(odd, column, f"is not a number, as others in the column are{option}")
        for i, field in enumerate(fields):
            if field.lower() in _MISSING:
                raise table.fault(i, column, f"says that the value is missing{option}")
    if all(numeric):
        values = table.numbers([column])[:, 0]
        if (values == np.round(values)).all() and np.abs(values).max() < 2**53:
            return values.astype(np.int64), None
        if classes is None:
            return values.astype(np.float32), None
    first: dict[float | str, str] = {}  # 1 and 1.0 are one class
    keys = [float(field) if number else field for field, number in zip(fields, numeric, strict=True)]
    for key, field in zip(keys, fields, strict=True):
        first.setdefault(key, field)
    order = sorted(first, key=lambda key: (isinstance(key, str), key))
    number_of = {key: k for k, key in enumerate(order)}
    return np.array([number_of[key] for key in keys], dtype=np.int64), [first[key] for key in order]


def load_npz(path: str | PathLike[str], x: str = "x", y: str = "y") -> Dataset:
    """Arrays that `numpy.savez` wrote. Pickled objects in the file are refused.

    Args:
        path: the file.
        x: name of the samples in it, (n, ...); float64 becomes float32.
        y: name of the targets, (n, ...).

    Returns:
        A Dataset of both.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or of another format, an array is missing or holds objects.

    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from xpnet.data import load_npz
    >>> path = Path(tempfile.mkdtemp()) / "data.npz"
    >>> np.savez(path, x=np.ones((4, 3)), y=np.arange(4))
    >>> len(load_npz(path))
    4
    """

    def both(names: list[str]) -> tuple[str, str]:
        for name in (x, y):
            if name not in names:
                raise ValueError(f"{printable(path)}: it has no array {name!r}, but {', '.join(names)}")
        return x, y

    with reading(path, f"an .npz file of {x!r} and {y!r}"):
        parts = [ordinary(array) for array in read_npz(path, both)]
        samples, targets = (a.astype(np.float32) if a.dtype == np.float64 else a for a in parts)
        return Dataset(samples, targets, Path(path).name)
