"""Tables of any origin as named columns: text, Parquet and Feather files, data frames, dicts, arrays."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.core.reading import check_file, printable, reading
from xpnet.data.column import Column as Column
from xpnet.data.column import Frame as Frame
from xpnet.data.column import listed
from xpnet.data.text import (
    MISSING,
    Table,
    are_numbers,
    declared,
    decoded,
    is_asked,
    is_missing,
    may_count,
    stands_above_fractions,
    stands_above_numbers,
    table_of,
)

COLUMNAR = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
"""Endings of files that the extra `tables` reads."""

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"  # as `xpnet.data.text` has it


def read_frame(
    path: str | PathLike[str],
    header: bool | None = None,
    delimiter: str | None = None,
    *,
    decimal: str | None = None,
    encoding: str | None = None,
    asked: Sequence[int | str] = (),
) -> Frame:
    """A table from a file: text (.csv, .tsv, gzipped or not), Parquet or Feather.

    Args:
        path: the file; Parquet and Feather are known by their endings, and need the extra `tables`.
        header: of text: whether the first line names the columns; default: if no field of it is a number,
            or only whole numbers beside names of columns of numbers, which is said.
        delimiter: of text; default: that of , ; tab and | which gives all lines as many fields.
        decimal: of text; default: a comma where it can be nothing else, which is said.
        encoding: of text; default: as its byte order mark says, else UTF-8.
        asked: of text: columns that are wanted; by the name of one, a first line of numbers is the header.

    Returns:
        Its columns, of numbers where every value is one, and the line of each row.

    Text is read by polars where it is installed, and by the standard library otherwise, with the same result.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such table, has no rows, or rows of several lengths.
        ImportError: polars is missing for Parquet or Feather.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from xpnet.data import read_frame
    >>> path = Path(tempfile.mkdtemp()) / "homes.csv"
    >>> _ = path.write_text("size;city\\n50,5;Graz\\n")
    >>> frame = read_frame(path, decimal=",")
    >>> frame.names, frame.columns[0].numbers
    (['size', 'city'], array([50.5]))
    """
    if Path(path).suffix.lower() in COLUMNAR:
        return _columnar(Path(path))
    if decimal not in (None, ".", ","):
        raise ValueError(f'the decimal mark is "." or ",", got {decimal!r}')
    with reading(path, "a text table"):
        text = decoded(path, encoding)
        fast, text, mark = fast_frame(text, path, header, delimiter, decimal, asked)
        found = fast
        if found is None:
            table = table_of(text, path, header, mark, decimal, asked)
            if header is None and table.names is not None:
                _check_header(table)
            found = frame_of(table)
        if mark == ";" and decimal is None:
            say_points(found)
        return found


_LIKE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})?", re.ASCII)


def say_points(frame: Frame) -> None:
    """Warn of columns where a point may as well part thousands, as in 1.234, beside semicolons."""
    for j, column in enumerate(frame.columns):
        values = column.numbers
        if (
            values is None
            or (values == np.rint(values)).all()
            or not (np.abs(values[~column.missing]) >= 1).all()
        ):
            continue
        if all(map(_LIKE_THOUSANDS.fullmatch, column.texts[~column.missing])):
            odd = next(text for text in column.texts if "." in text)
            where = f"{printable(frame.source)}: column {frame.title(j)}"
            warnings.warn(
                f"{where}: {odd} is taken for {float(odd):g}; were it thousands, the points have to go",
                stacklevel=4,
            )


def fast_frame(
    text: str,
    path: str | PathLike[str],
    header: bool | None,
    delimiter: str | None,
    decimal: str | None,
    asked: Sequence[int | str] = (),
) -> tuple[Frame | None, str, str]:
    """The table in a text, if polars is installed and can read it surely; the text and its delimiter."""
    text, mark = declared(text, path, delimiter, decimal)
    fast = _fast(text, path, header, mark, decimal, asked) if find_spec("polars") is not None else None
    return fast, text, mark


def _check_header(table: Table) -> None:
    """Without any number in the file, nobody knows whether the first line is a header.

    Raises:
        ValueError: so it is.
    """
    assert table.names is not None
    if any(are_numbers([row[j] for row in table.rows]) for j in range(len(table.names))):
        return
    columns = list(zip(*table.rows, strict=True))
    if any(name in column for name, column in zip(table.names, columns, strict=True)):
        raise ValueError(
            f"{table.path}: its first line says {listed(table.names)}, as other lines do: say whether it "
            "is a header (--header yes, header=True) or a sample"
        )


def frame_of(table: Table) -> Frame:
    """The columns of a table of text."""
    names = table.names or [""] * len(table.rows[0])
    columns = [
        of_texts(name, column) for name, column in zip(names, zip(*table.rows, strict=True), strict=True)
    ]
    return Frame(columns, table.names is not None, str(table.path), table.lines)


def of_texts(name: str, fields: Sequence[str]) -> Column:
    """A column of fields of text."""
    texts = np.empty(len(fields), dtype=object)
    texts[:] = fields
    if are_numbers(fields):
        numbers = np.array(list(map(float, fields)))
        return Column(name, numbers, np.zeros(len(fields), dtype=bool), lambda: texts)
    missing = np.fromiter(map(is_missing, fields), dtype=bool, count=len(fields))
    values = texts[~missing].tolist()
    if values and not are_numbers(values):
        return Column(name, None, missing, lambda: texts)
    numbers = np.full(len(fields), np.nan)
    numbers[~missing] = list(map(float, values))
    return Column(name, numbers, missing, lambda: texts)


def _fast(
    text: str,
    path: str | PathLike[str],
    header: bool | None,
    delimiter: str,
    decimal: str | None,
    asked: Sequence[int | str],
) -> Frame | None:
    """By polars; None where lines are not simply fields between delimiters: the other reader knows more."""
    text = text.replace("\r\n", "\n") if "\r" in text else text
    odd = '"' in text or "\r" in text or text.startswith("#") or "\n#" in text or delimiter == " "
    if odd or decimal == "," or (delimiter != "," and "," in text):
        return None
    end = text.find("\n")
    fields = [field.strip() for field in text[: end if end >= 0 else None].split(delimiter)]
    names = header or (header is None and are_no_numbers(fields))
    body = text[end + 1 if end >= 0 else len(text) :] if names else text
    width = len(fields)
    if not all(fields[1:]) or not body.strip() or width < 2:
        return None
    unsure = not names and header is None
    if unsure and (
        any(re.fullmatch(r"|0|(19|20)\d\d", field) for field in fields)
        or may_count(fields)
        or is_asked(fields, asked)
    ):
        return None  # may be a header all the same
    rows = body.count("\n") + (not body.endswith("\n"))
    if body.count(delimiter) != rows * (width - 1):  # and none has more, or polars refuses
        return None
    content = body.encode()
    found = (content, delimiter, rows, width)
    columns = _plain_columns(*found) or _text_columns(*found)
    if columns is None or columns[-1].missing.all():
        return None
    below = lambda j: columns[j].texts[1:].tolist()
    if unsure and (stands_above_numbers(fields, below) or stands_above_fractions(fields, below)):
        return None
    if names and header is None and not any(column.numbers is not None for column in columns):
        return None
    if names:
        for name, column in zip(fields, columns, strict=True):
            column.name = name
    first_line = 2 if names else 1
    return Frame(columns, bool(names), str(path), range(first_line, first_line + rows))


def _polars_csv(content: bytes, delimiter: str, rows: int, width: int, **options: Any) -> Any:
    """What polars reads, if these are the rows and columns that it finds."""
    import polars as pl

    try:
        table = pl.read_csv(
            content, has_header=False, separator=delimiter, quote_char=None, infer_schema=False, **options
        )
    except pl.exceptions.PolarsError:
        return None
    return table if table.shape == (rows, width) else None


def _plain_columns(content: bytes, delimiter: str, rows: int, width: int) -> list[Column] | None:
    """Where nothing but numbers is written; their texts are read again when they are asked for."""
    if content.translate(None, b"0123456789eE+-.\n" + delimiter.encode()):
        return None
    import polars as pl

    table = _polars_csv(content, delimiter, rows, width, schema_overrides=[pl.Float64] * width)
    if table is None or any(series.null_count() for series in table):
        return None

    def texts(j: int) -> Callable[[], np.ndarray]:
        return lambda: _objects(_polars_csv(content, delimiter, rows, 1, columns=[j]).to_series())()

    none = np.zeros(rows, dtype=bool)
    return [Column("", series.to_numpy(), none, texts(j)) for j, series in enumerate(table)]


def _text_columns(content: bytes, delimiter: str, rows: int, width: int) -> list[Column] | None:
    import polars as pl

    table = _polars_csv(content, delimiter, rows, width)
    if table is None:
        return None
    columns = []
    for series in table:
        values = series.fill_null("").str.strip_chars()
        missing = values.str.to_lowercase().is_in(list(MISSING))
        present = values.filter(~missing)
        numbers = None
        if present.str.contains(_NUMBER).all():
            numbers = values.set(missing, None).cast(pl.Float64).to_numpy()
        columns.append(Column("", numbers, missing.to_numpy(), _objects(values)))
    return columns


def _objects(series: Any) -> Callable[[], np.ndarray]:
    """The texts of a polars Series."""

    def make() -> np.ndarray:
        texts = np.empty(len(series), dtype=object)
        texts[:] = series.to_list()
        return texts

    return make


def are_no_numbers(fields: Sequence[str]) -> bool:
    """Whether none of them is one: they may be names."""
    return not any(are_numbers([field]) for field in fields)


def _columnar(path: Path) -> Frame:
    if find_spec("polars") is None:
        raise ImportError(f'reading {path.suffix} files needs polars: pip install "xpnet[tables]"')
    import polars as pl

    with reading(path, "a Parquet or Feather file"):
        check_file(path)
        parquet = path.suffix.lower() in COLUMNAR[:2]
        content = path.read_bytes()
        stream = io.BytesIO(content)
        table = pl.read_parquet(stream) if parquet else pl.read_ipc(stream)
        unnamed = [name for name in table.columns if _UNNAMED.fullmatch(name)]
        if unnamed:
            warnings.warn(
                f"{printable(path)}: the index of pandas has no name, and is left out: give it "
                "one (df.index.name), and it is a column",
                stacklevel=5,
            )
        table = table.drop(unnamed).with_columns(
            pl.Series(name, values) for name, values in _ranges(content, len(table), table.columns)
        )
        return as_frame(table, str(path))


_UNNAMED = re.compile(r"__index_level_\d+__")  # as pandas stores an index without a name


def _ranges(content: bytes, rows: int, columns: Sequence[str]) -> list[tuple[str, range]]:
    """Named indices of pandas that count: they are no column of the file, and stand in its metadata only."""
    start = content.rfind(b'{"index_columns"')
    if start < 0:
        return []
    try:
        known, _ = json.JSONDecoder().raw_decode(content[start:].decode(errors="replace"))
        found = [
            (index["name"], range(index["start"], index["stop"], index["step"]))
            for index in known["index_columns"]
            if isinstance(index, dict) and index["kind"] == "range"
        ]
    except (ValueError, KeyError, TypeError):  # of somebody else
        return []
    return [
        (name, values)
        for name, values in found
        if isinstance(name, str) and name not in columns and len(values) == rows
    ]


# ---- data frames and arrays ----


def is_table(x: Any) -> bool:
    """Whether columns have names in it: a data frame, an Arrow table, a dict, a `Frame`."""
    return isinstance(x, Frame | Mapping) or (hasattr(x, "columns") and hasattr(x, "shape"))


def as_frame(x: Any, source: str = "the table") -> Frame:
    """A table as a `Frame`: of pandas, polars or Arrow, a dict of columns, dicts that are rows, an array.

    The index of a data frame of pandas is a column, the last one, if it has a name.

    Args:
        x: the table.
        source: what messages call it.

    Returns:
        Its columns, as they are in the table; a `Frame` as it is.

    Raises:
        ValueError: it has no rows, or is no table.

    >>> from xpnet.data import as_frame
    >>> as_frame({"size": [50, None], "city": ["Graz", "Wien"]}).columns[0].missing
    array([False,  True])
    """
    if isinstance(x, Frame):
        return x
    kind = type(x).__module__.split(".")[0]
    if kind == "pyarrow":
        pairs = [
            (str(name), column.to_pylist()) for name, column in zip(x.column_names, x.columns, strict=True)
        ]
    elif kind == "polars":
        x = x.collect() if hasattr(x, "collect") else x.to_frame() if hasattr(x, "to_frame") else x
        pairs = [(series.name, series) for series in x]
    elif kind == "pandas":
        x = x if hasattr(x, "columns") else x.to_frame()
        if [*x.columns] == [*range(x.shape[1])]:  # numbered, not named
            return Frame([_of_values("", x.iloc[:, j]) for j in range(x.shape[1])], False, source)
        pairs = [(str(name), x.iloc[:, j]) for j, name in enumerate(x.columns)]
        labels = x.index  # one with a name is a column, as in the files that pandas writes
        levels = [
            (name, labels.get_level_values(k)) for k, name in enumerate(labels.names) if name is not None
        ]
        taken = {name for name, _ in pairs}
        pairs += [(str(name), level.to_series()) for name, level in levels if str(name) not in taken]
    elif isinstance(x, Sequence) and len(x) and all(isinstance(row, Mapping) for row in x):
        names = {name: None for row in x for name in row}  # in the order in which they come
        pairs = [(str(name), [row.get(name) for row in x]) for name in names]
    elif isinstance(x, Mapping):
        pairs = [(str(name), values) for name, values in x.items()]
    else:
        array = x if isinstance(x, np.ma.MaskedArray) else to_numpy(x)
        if array.dtype.names:
            pairs = [(name, array[name]) for name in array.dtype.names]
        elif array.ndim == 2:
            return Frame([_of_values("", column) for column in array.T], False, source)
        else:
            raise ValueError(f"{source}: expected a table, (n, columns), got an array of shape {array.shape}")
    columns = [_of_values(name, values) for name, values in pairs]
    if len({len(column.missing) for column in columns}) > 1:
        lengths = ", ".join(f"{column.name} {len(column.missing)}" for column in columns)
        raise ValueError(f"{source}: its columns have several lengths: {lengths}")
    return Frame(columns, True, source)


def _of_values(name: str, values: Any) -> Column:
    """A column of numbers, dates, truth values, or of objects, which are taken as their text.

    Durations are seconds.
    """
    if type(values).__module__.split(".")[0] == "polars":
        numeric = values.dtype.is_numeric() and not values.dtype.is_decimal()
        missing = values.is_null().to_numpy()
        values = values.cast(float).to_numpy() if numeric and missing.any() else values
        values = (
            values if isinstance(values, np.ndarray) else values.to_numpy() if numeric else values.to_list()
        )
    elif type(values).__module__.split(".")[0] == "pandas":
        missing = values.isna().to_numpy()
        kind = getattr(values.dtype, "kind", "O")
        if kind in "iuf" and missing.any():
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        elif kind in "iufb" and not missing.any():
            values = values.to_numpy(dtype=getattr(values.dtype, "numpy_dtype", values.dtype))
        else:  # dates come as Timestamps, which say themselves in ISO
            values = [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)]
    elif isinstance(values, np.ma.MaskedArray):
        values = [
            None if gone else value
            for value, gone in zip(values.data, np.ma.getmaskarray(values), strict=True)
        ]
    elif isinstance(values, Sequence) and not isinstance(values, str):
        values = list(values)
    array = to_numpy(values) if not isinstance(values, list) else None
    if array is not None and array.ndim != 1:
        raise ValueError(f"column {name!r} has shape {array.shape}, expected one value a row")
    if array is not None and array.dtype.kind == "m":
        array = array / np.timedelta64(1, "s")
    if array is not None and array.dtype.kind in "iuf":
        numbers = array.astype(np.float64)
        return Column(name, numbers, np.isnan(numbers), lambda: _texts(array.tolist()))
    if array is not None:
        values = (
            array.tolist() if array.dtype.kind != "M" else np.where(np.isnat(array), "", array.astype(str))
        )
    odd = next((type(value).__name__ for value in values if isinstance(value, _ODD)), "")
    if odd:
        values = [None if value is None else odd for value in values]
    seconds = [value.total_seconds() if isinstance(value, timedelta) else value for value in values]
    found = of_texts(name, _texts(seconds).tolist())
    found.odd = odd
    return found


_ODD = (list, tuple, dict, set, frozenset, bytes, bytearray, complex, np.complexfloating, np.ndarray)


def _texts(values: Any) -> np.ndarray:
    """Each value as its text; "" where there is none."""
    texts = np.empty(len(values), dtype=object)
    texts[:] = [_text(value) for value in values]
    return texts


def _text(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value.strip() if value else ""
    text = str(value).strip()  # the NA of pandas is not even different from itself
    return "" if text in ("nan", "NaN", "NaT", "<NA>") else text
