"""Tables in text files, and arrays in .npz files."""

from __future__ import annotations

import warnings
from decimal import Decimal
from os import PathLike
from pathlib import Path

import numpy as np

from xpnet.core.incoming import ordinary
from xpnet.core.reading import printable, reading
from xpnet.data.dataset import Dataset
from xpnet.data.frame import Column, Frame, fast_frame, frame_of, say_points
from xpnet.data.mixtures import first_code
from xpnet.data.npy import read_npz
from xpnet.data.text import (
    EMPTY,
    Table,
    decoded,
    is_missing,
    is_number,
    table_of,
    written_otherwise,
)


def load_csv(
    path: str | PathLike[str],
    target: int | str = -1,
    header: bool | None = None,
    delimiter: str | None = None,
    *,
    classes: bool | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> Dataset:
    """A table of numbers, one sample a line.

    Args:
        path: the file, gzipped or not. A first column without a name that counts the rows, as data frames
            write their index, is left out, which is said.
        target: the column to predict, by number or by its name in the header.
        header: whether the first line names the columns; default: if none of its fields is a number.
        delimiter: what separates the fields; default: the one of comma, semicolon, tab and | that gives all
            lines as many.
        classes: whether the target is a class. True: every text is one; the names are sorted, numbers by
            value, and numbered, but whole numbers stay as they are. False: it is a number to predict. None:
            whole numbers, 1.0 too, and text are classes, other numbers not; a column of both is refused.
        decimal: the decimal mark, "." or ","; default: a comma where it can be nothing else, which is said.
        encoding: of the text, such as "cp1252"; default: as its byte order mark says, else UTF-8.

    Returns:
        x float32 (n, columns - 1); y int64 classes or float32 values, (n,).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no lines, lines of several lengths, a field that is no number (line and column are
            named), or no such target.

    Warns:
        UserWarning: float32 has not the digits to tell a column's values apart, an index is left out, or
            commas are taken for decimal marks.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from xpnet.data import load_csv
    >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = path.write_text("width,height,kind\\n1.5,2,rose\\n3,4.5,tulip\\n")
    >>> data = load_csv(path, "kind")
    >>> data.x.tolist(), data.y.tolist(), data.class_names
    ([[1.5, 2.0], [3.0, 4.5]], [0, 1], ['rose', 'tulip'])
    """
    return named_csv(path, target, header, delimiter, classes=classes, decimal=decimal, encoding=encoding)[0]


def named_csv(
    path: str | PathLike[str],
    target: int | str = -1,
    header: bool | None = None,
    delimiter: str | None = None,
    *,
    classes: bool | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> tuple[Dataset, list[str] | None]:
    """What `load_csv` gives, and the names of its features and then of its target; None without a header."""
    with reading(path, "a table of numbers"):
        if decimal not in (None, ".", ","):
            raise ValueError(f'the decimal mark is "." or ",", got {decimal!r}')
        with reading(path, "a text table"):
            fast, text, mark = fast_frame(decoded(path, encoding), path, header, delimiter, decimal, [target])
        if fast is not None and mark == ";" and decimal is None:
            say_points(fast)
        simple = None if fast is None else _simple(fast, target, classes)
        if fast is not None and simple is not None:
            x, y, names = simple
            return Dataset(x, y, Path(path).name, class_names=names), _named(fast.names, target)
        with reading(path, "a text table"):
            table = table_of(text, path, header, mark, decimal, [target])
        if fast is None and mark == ";" and decimal is None:
            say_points(frame_of(table))
        column = _column(table, target)
        index = [j for j in range(len(table.rows[0])) if j != column and is_index(table, j)]
        if index:
            warnings.warn(f"{path}: its first column, which numbers the rows, is left out", stacklevel=3)
        others = [j for j in range(len(table.rows[0])) if j not in (column, *index)]
        wide = table.numbers(others)
        x = wide.astype(np.float32)
        for k, j in enumerate(others):
            if not told_apart(wide[:, k]):
                name = j if table.names is None else f"{j} ({table.names[j]})"
                warnings.warn(
                    f"{path}: float32 cannot tell the values of column {name} apart, such as {wide[0, k]!r}: "
                    "subtract an offset in the file",
                    stacklevel=3,
                )
        y, names = _targets(table, column, classes)
        used = None if table.names is None else [table.names[j] for j in (*others, column)]
        return Dataset(x, y, Path(path).name, class_names=names), used


def _named(names: list[str] | None, target: int | str) -> list[str] | None:
    """Those of the features, and then that of the target."""
    if names is None:
        return None
    goal = names.index(target) if isinstance(target, str) else target % len(names)
    return [*names[:goal], *names[goal + 1 :], names[goal]]


def _simple(
    frame: Frame, target: int | str, classes: bool | None
) -> tuple[np.ndarray, np.ndarray, list[str] | None] | None:
    """x, y and the names of the classes; None where something is to be said, or looked at field by field."""
    names, width = frame.names, len(frame.columns)
    if names is not None and (names[0].lower() in _INDEX or names.count(str(target)) > 1):
        return None
    if isinstance(target, str):
        if names is None or target not in names:
            return None
        target = names.index(target)
    if not -width <= target < width or width < 2:
        return None
    goal = target % width
    columns = [column.numbers for j, column in enumerate(frame.columns) if j != goal]
    if any(numbers is None or not np.isfinite(numbers).all() for numbers in columns):
        return None
    wide = np.stack([numbers for numbers in columns if numbers is not None], axis=1)
    x = wide.astype(np.float32)
    if not all(told_apart(wide[:, k]) for k in range(x.shape[1])):
        return None
    column = frame.columns[goal]
    y = column.numbers
    if y is None:
        return None if classes is False else _texts_as_classes(x, column)
    if not np.isfinite(y).all():
        return None
    whole = bool((y == np.rint(y)).all())
    if classes is False or (classes is None and not whole):
        return x, y.astype(np.float32), None
    exact = whole and np.abs(y).max() < 2**53 and max(map(len, column.texts)) <= 15
    exact = exact and first_code(column.texts) is None
    return (x, y.astype(np.int64), None) if exact else None


def _texts_as_classes(x: np.ndarray, column: Column) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
    names, y = np.unique(column.texts, return_inverse=True)
    odd = (is_number(name) or is_missing(name) or written_otherwise([name]) for name in names)
    return None if any(odd) else (x, y.astype(np.int64), names.tolist())


def told_apart(wide: np.ndarray) -> bool:
    """Whether float32 has the digits for most values of a column that float64 tells apart."""
    in_order = np.sort(wide)  # and so are they in float32
    different = np.count_nonzero(in_order[1:] != in_order[:-1]) + 1
    narrow = in_order.astype(np.float32)
    return bool(2 * (np.count_nonzero(narrow[1:] != narrow[:-1]) + 1) >= different)


_INDEX = ("", "unnamed: 0")


def is_index(table: Table, column: int) -> bool:
    """Whether it is the first column, has no name among names, and numbers the rows."""
    if column or table.names is None or table.names[0].lower() not in _INDEX:
        return False
    fields = [row[0] for row in table.rows]
    return all(field.isdecimal() for field in fields) and len({*map(int, fields)}) == len(fields) > 1


def _column(table: Table, target: int | str) -> int:
    path, names, width = table.path, table.names, len(table.rows[0])
    if isinstance(target, str):
        if names is None or target not in names:
            columns = (
                "there is no header; if the first line is one, say header=True"
                if names is None
                else f"columns are {', '.join(names)}"
            )
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
        raise table.fault(fields.index(""), column, EMPTY)
    if classes is False:
        return table.numbers([column])[:, 0].astype(np.float32), None
    numeric = [is_number(field) for field in fields]
    if classes is None:
        option = "; if every text is a class, pass classes=True"
        if any(numeric) and not all(numeric):
            odd = numeric.index(False)
            raise table.fault(odd, column, f"is not a number, as others in the column are{option}")
        strange = None if any(numeric) else written_otherwise(fields)
        if strange is not None:
            raise table.fault(strange[0], column, f"is {strange[1]}{option}")
        for i, field in enumerate(fields):
            if is_missing(field):
                raise table.fault(i, column, f"says that the value is missing{option}")
    keys = [_value_key(field) if classes is None else label_key(field) for field in fields]
    whole = all(isinstance(key, int) for key in keys)
    if whole and max(abs(int(key)) for key in keys) < 2**63:
        code = first_code(fields)
        if code is not None:
            warnings.warn(
                f"{printable(table.path)}: the label {code} begins with a zero, and is taken for the number "
                f"{int(code)}; classes=True keeps it as a text",
                stacklevel=4,
            )
        return np.array(keys, dtype=np.int64), None
    if all(numeric) and classes is None:
        if whole:
            large = next(i for i, key in enumerate(keys) if abs(int(key)) >= 2**63)
            raise table.fault(
                large,
                column,
                "is too large for a label: pass classes=True to name the classes by their text, or "
                "classes=False to predict a number",
            )
        return table.numbers([column])[:, 0].astype(np.float32), None
    first: dict[int | Decimal | str, str] = {}  # 1 and 1.0 are one class
    for key, field in zip(keys, fields, strict=True):
        first.setdefault(key, field)
    order = sorted(first, key=lambda key: (isinstance(key, str), key))
    number_of = {key: k for k, key in enumerate(order)}
    return np.array([number_of[key] for key in keys], dtype=np.int64), [first[key] for key in order]


def label_key(field: str) -> int | Decimal | str:
    """What makes two fields one class: the text of codes such as 007, the exact value of other numbers."""
    return field if first_code([field]) is not None else _value_key(field)


def _value_key(field: str) -> int | Decimal | str:
    """The exact value of numbers, whole or not, else the text."""
    if not is_number(field):
        return field
    value = Decimal(field)
    whole = value.adjusted() < 40 and value == value.to_integral_value()
    return int(value) if whole else value


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
