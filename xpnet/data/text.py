"""Tables in text files: bytes to fields, and where each field stands."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from os import PathLike
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from xpnet.core.reading import printable, reading
from xpnet.data.decoding import decoded as decoded
from xpnet.data.decoding import unpacked as unpacked
from xpnet.data.fields import LINE_END, split_lines

MISSING = frozenset(("", "?", "na", "n/a", "nan", "null", "#n/a", "<na>"))
"""What programs write where a value is missing, in any case."""

MARKS = (",", ";", "\t", "|")
EMPTY = "is empty: fill it or drop the line"

# one way to read each digit: not 1_000, nor inf, nor digits of other scripts
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ALL_NUMBERS = re.compile(r"(?:[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?\n)*+", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+", re.ASCII)
LIKE_NUMBER = re.compile(r"[^\w\s]{0,2}\s?[+\-−]?\d[\d.,'’_\s]*\s?[%€$£¥]?")
"""A number as people write it and no program reads it surely: 1,234.50, 12 %, $7; once it is no number."""
_MONTH = r"(jan|feb|m[aä]r|mrz|apr|ma[iy]|june?|july?|aug|sept?|o[ck]t|nov|de[cz])[a-z]*[.]?"
_DAY = r"\d{1,2}(st|nd|rd|th)?[.]?"
LIKE_DATE = re.compile(
    r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}/\d{1,2}|\d{1,2}/\d{4}"
    rf"|([a-z]+,? )?({_MONTH}[ -]{_DAY},?|{_DAY}[ -]?{_MONTH},?|{_MONTH},?)[ -]\d{{2,4}})([ T,].*)?",
    re.ASCII | re.IGNORECASE,
)
"""A date, in whatever order."""
LIKE_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.]\d+)?)?\s?([ap][.]?m[.]?)?", re.ASCII | re.IGNORECASE)
"""A time of day."""
LARGEST = 1e100
"""The largest number in a table: the square of a larger one may be none."""


def is_number(field: str) -> bool:
    """Whether a field is a number as every program reads it: not 1_000, nor inf."""
    return _NUMBER.fullmatch(field.strip()) is not None


def are_numbers(fields: Sequence[str]) -> bool:
    """Whether all of them are; at once, which is ten times faster than one by one."""
    return _ALL_NUMBERS.fullmatch("\n".join(fields) + "\n") is not None


def is_missing(field: str) -> bool:
    """Whether a field says that there is no value."""
    return field.lower() in MISSING


def written_otherwise(texts: Sequence[str]) -> tuple[int, str] | None:
    """The first text, and what it is, if most are amounts or dates that no program reads surely."""
    kinds = (
        (LIKE_DATE, "a date"),
        (LIKE_TIME, "a time of day"),
        (LIKE_NUMBER, "a number as no program reads it surely"),
    )
    for like, what in kinds:
        found = [i for i, text in enumerate(texts) if like.fullmatch(text)]
        if 2 * len(found) >= max(1, len(texts)):
            return found[0], what
    return None


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
        name = "" if self.names is None else f" ({short(self.names[column])})"
        return ValueError(
            f"{self.path}, line {self.lines[row]}, column {column}{name}: {shown(self.rows[row][column])} "
            f"{what}"
        )

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """Those columns, (n, columns) float64.

        Raises:
            ValueError: naming the first field that is not a finite number.
        """
        values = np.empty((len(self.rows), len(columns)))
        for k, j in enumerate(columns):
            fields = [row[j] for row in self.rows]
            if not are_numbers(fields):
                break
            values[:, k] = list(map(float, fields))
        else:
            if np.isfinite(values).all():
                return values
        raise self._first_fault(columns)

    def _first_fault(self, columns: Sequence[int]) -> ValueError:
        """By lines, as a reader looks for it."""
        for i, row in enumerate(self.rows):
            for j in columns:
                if not is_number(row[j]):
                    hint = " (1,5 for one and a half: decimal=',')" if _COMMA_NUMBER.fullmatch(row[j]) else ""
                    return self.fault(i, j, f"is not a number{hint}" if row[j] else EMPTY)
                if np.isinf(float(row[j])):
                    return self.fault(i, j, "is too large a number")
        raise AssertionError("no field is at fault")


def short(name: str) -> str:
    """The name of a column in a message."""
    text = printable(name)
    return text if len(text) <= 60 else text[:60] + " ..."


def shown(field: str) -> str:
    """A field in a message."""
    return repr(field if len(field) <= 100 else field[:100] + " ...")


def read_table(
    path: str | PathLike[str],
    header: bool | None = None,
    delimiter: str | None = None,
    *,
    decimal: str | None = None,
    encoding: str | None = None,
) -> Table:
    """The one reader of text tables: for training and for prediction.

    Args:
        path: the file, gzipped or not. Empty lines are passed over, and so are lines that begin with #
            above the table, and below such ones those that have not the fields of a row, which is said; and
            so it is of empty lines among the rows.
        header: whether the first line names the columns; default: if none of its fields is a number.
        delimiter: what separates the fields, which may also stand at the end of every line; " " for any
            number of spaces. Default: the one of comma, semicolon, tab and | that gives all lines as many
            fields.
        decimal: "." or ","; default: a comma where it does not separate the fields, is in numbers, and can
            be nothing else; which is said.
        encoding: of the text; default: as its byte order mark says, else UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no text table, no lines, or lines of several lengths.
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f'the decimal mark is "." or ",", got {decimal!r}')
    with reading(path, "a text table"):
        return table_of(decoded(path, encoding), path, header, delimiter, decimal)


def undivided(first: str) -> str:
    """What to say of the only field of a line if it looks like several: the delimiter is another one."""
    mark = next((mark for mark in MARKS if mark in first), None)
    name = {"\t": "tab"}.get(str(mark), mark)
    return "" if mark is None else f"; it has {mark!r} between its fields: --delimiter {name!r} parts them"


def table_of(
    text: str,
    path: str | PathLike[str],
    header: bool | None,
    delimiter: str | None,
    decimal: str | None,
    asked: Sequence[int | str] = (),
) -> Table:
    """The table in a text; arguments as for `read_table`.

    Columns that are `asked` for by a name in the first line make it the header.
    """
    given, (text, delimiter) = delimiter, declared(text, path, delimiter, decimal)
    rows, lines, marked, empty = split_lines(text, delimiter, path)
    rows, lines = _without_comments(rows, lines, marked, header, path)
    names = None
    if header is None and rows and any(map(is_number, rows[0])):
        if is_asked(rows[0], asked):
            header = True
        elif stands_above_numbers(rows[0], lambda j: [row[j] if j < len(row) else "" for row in rows[1:]]):
            header = True
            warnings.warn(
                f"{printable(path)}: its first line, {_start(rows[0])}, is taken for the header; "
                "--header no (header=False) says that it is a row",
                stacklevel=4,
            )
    if rows and (header or (header is None and not any(map(is_number, rows[0])))):
        names, _ = rows.pop(0), lines.pop(0)
    if not rows:
        raise ValueError(f"{path}: no samples: the table is empty")
    if len(rows[0]) > 1 and all(not row[-1] for row in rows) and (names is None or not names[-1:][0]):
        rows = [row[:-1] for row in rows]  # a delimiter ends each line
        names = None if names is None else names[:-1]
    elif names is not None and len(names) == len(rows[0]) - 1 and all(not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # of each but the header
    width = len(rows[0] if names is None else names)
    widths = {len(row) for row in rows}
    if names is not None and len(rows) > 1 and len(widths) == 1 and width not in (1, *widths):
        raise ValueError(
            f"{path}: the header has {width} names, {_start(names)}, and each line below {widths.pop()} "
            "fields: name every column"
        )
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            above = "; lines above the header have to go" if width == 1 else ""
            if width == 1 and given is not None:
                above = undivided(rows[0][0] if names is None else names[0]) or above
            above = "; if it is a comment, it has to go" if row[0].startswith("#") else above
            raise ValueError(f"{path}, line {line}: {len(row)} fields, expected {width}{above}")
    if header is None and names is None and _may_be_names(rows):
        raise ValueError(
            f"{path}: the first line, {_start(rows[0])}, may be a header: say whether it is one "
            "(--header yes, header=True) or a sample"
        )
    if header is None and names is None and len(rows) > 1 and may_name(rows[0]):
        warnings.warn(
            f"{printable(path)}: its first line, {_start(rows[0])}, was read as data; --header yes "
            "(header=True) makes it the header",
            stacklevel=4,
        )
    if decimal is None and delimiter != "," and _has_decimal_commas(rows):
        decimal = ","
        warnings.warn(f"{printable(path)}: its commas are taken for decimal marks, as in 1,5", stacklevel=4)
    inside = [n for n in empty if rows and lines[0] < n < lines[-1]]
    if inside:
        one = len(inside) == 1
        warnings.warn(
            f"{printable(path)}: {len(inside)} empty {'line' if one else 'lines'} among the rows, such as "
            f"line {inside[0]}, {'is' if one else 'are'} passed over",
            stacklevel=4,
        )
    if decimal == ",":
        rows = _with_points(Table(path, names, rows, lines))
    return Table(path, names, rows, lines)


def declared(
    text: str, path: str | PathLike[str], delimiter: str | None, decimal: str | None
) -> tuple[str, str]:
    """The text without Excel's line `sep=;`, and its delimiter: as given, as that line says, or as seen."""
    found = re.match(r"\"?sep=(.)\"?(?=\r|\n)", text)
    if found is not None:
        text, delimiter = text[found.end() :], delimiter or found[1]
    return text, delimiter_of(text, path, decimal) if delimiter is None else delimiter


def delimiter_of(text: str, path: str | PathLike[str], decimal: str | None) -> str:
    """The mark that gives the first lines as many fields; what several could be is asked for."""
    sample = text[: 1 << 16]
    whole = len(sample) == len(text)
    lines = [line for line in LINE_END.split(sample) if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")] or lines
    lines = (lines if whole or len(lines) < 2 else lines[:-1])[:50]
    if not lines:
        return ","
    found = []
    for mark in MARKS:
        if mark not in lines[0] or (mark == "," and decimal == ","):
            continue
        try:
            counts = {len(row) for row in split_lines("\n".join(lines), mark, path)[0]}
        except ValueError:
            continue
        found.append((len(counts), mark))
    best = [mark for n, mark in found if n == min(found)[0]]
    if len(best) > 1:
        raise ValueError(
            f"{path}: the first line has {' and '.join(map(repr, best))}: which separates the fields? "
            "(--delimiter)"
        )
    if best:
        return best[0]
    parts = [line.split() for line in lines]
    aligned = len(parts) > 2 and len(parts[0]) > 1 and len({len(row) for row in parts}) == 1
    numeric = aligned and any(all(map(is_number, column[1:])) for column in zip(*parts, strict=True))
    return " " if numeric or (len(parts[0]) > 1 and all(map(is_number, parts[-1]))) else ","


def _without_comments(
    rows: list[list[str]],
    lines: list[int],
    marked: list[bool],
    header: bool | None,
    path: str | PathLike[str],
) -> tuple[list[list[str]], list[int]]:
    """Without the lines above the table that begin with #, and such ones in it that are no rows.

    A line with as many fields as the table is a row; if most begin with #, it is a column of such values.

    Warns:
        UserWarning: a line that may be a row was left out.
    """
    if not any(marked) or 2 * sum(marked) > len(rows):
        return rows, lines
    first = marked.index(False)
    widths = {len(row) for row, hashed in zip(rows, marked, strict=True) if not hashed}
    like_rows = [i for i in range(first) if len(rows[i]) > 1 and len(rows[i]) in widths]
    named = header is not False and first > 0 and _names_below_a_mark(rows[first - 1], rows[first])
    if named:
        rows[first - 1][0] = rows[first - 1][0][1:].strip() or "#"
    head = first - 1 if named else like_rows[0] if like_rows and header is False else first
    # without comments above the table, a line that is too short or too long is refused, as any other
    inside = [i for i in range(first, len(rows)) if marked[i] and len(rows[i]) not in widths] if head else []
    for left, what in (
        ([i for i in like_rows if i < head], "above the table"),
        (inside, "among the rows"),
    ):
        if left:
            one = len(left) == 1
            warnings.warn(
                f"{printable(path)}: {len(left)} {'line' if one else 'lines'} {what} that "
                f"{'begins' if one else 'begin'} with #, such as line {lines[left[0]]}, "
                f"{'is' if one else 'are'} left out as {'a comment' if one else 'comments'}; put the first "
                f"field in quotes if {'it is a row' if one else 'they are rows'}",
                stacklevel=5,
            )
    gone = {*range(head), *inside}
    kept = [i for i in range(len(rows)) if i not in gone]
    return [rows[i] for i in kept], [lines[i] for i in kept]


def _names_below_a_mark(comment: list[str], row: list[str]) -> bool:
    """Whether a comment just above the first row of numbers is the header, as NumPy writes it."""
    if len(comment) != len(row) or len(row) < 2 or not any(map(is_number, row)):
        return False
    return not any(map(is_number, comment)) and all(comment)


def _has_decimal_commas(rows: list[list[str]]) -> bool:
    """Whether numbers are written 1,5 for sure: some as no thousands are, and none with a point."""
    found = False
    for row in rows:
        for field in row:
            if "," in field and _COMMA_NUMBER.fullmatch(field):
                found = found or not _THOUSANDS.fullmatch(field)
            elif "." in field and is_number(field):
                return False
    return found


def _may_be_names(rows: list[list[str]]) -> bool:
    """Whether a first line with numbers may name columns: it counts, has years beside texts, or the only
    whole numbers.
    """
    first = rows[0]
    counted, from_one = ([str(j + start) for j in range(len(first))] for start in (0, 1))
    if first == from_one and len(first) > 2 and len(rows) > 1:
        return True
    if len(first) > 2 and (first == counted or (not first[0] and first[1:] == counted[:-1])):
        return True
    if stands_above_fractions(first, lambda j: [row[j] for row in rows[1:]]):
        return True
    years = [field for field in first if is_number(field)]
    texts = [j for j, field in enumerate(first) if field and not is_number(field)]
    if not texts or not all(re.fullmatch(r"(19|20)\d\d", year) for year in years):
        return False
    return all(row[j] != first[j] for row in rows[1:] for j in texts)


def is_asked(first: Sequence[str], asked: Sequence[int | str]) -> bool:
    """Whether a column is asked for by a name in the first line, and not by its place."""
    return any(
        name in first and not (name.isdecimal() and int(name) < len(first))
        for name in asked
        if isinstance(name, str)
    )


def may_name(fields: Sequence[str]) -> bool:
    """Whether fields, some of them numbers, may be names: each another, and the numbers years."""
    years = [field for field in fields if not _is_word(field)]
    return (
        len(fields) > 1
        and len({*fields}) == len(fields)
        and bool(years)
        and all(re.fullmatch(r"(19|20)\d\d", field, re.ASCII) for field in years)
    )


def _is_word(field: str) -> bool:
    return any(map(str.isalpha, field)) and not is_number(field) and not is_missing(field)


def stands_above_numbers(first: Sequence[str], below: Callable[[int], Sequence[str]]) -> bool:
    """Whether the first line has a word in a column of numbers, and no numbers but whole ones: x1,1,2.

    Args:
        first: its fields.
        below: gives the other fields of a column.
    """
    if not _may_be_words(first):
        return False
    columns = (below(j) for j, field in enumerate(first) if _is_word(field))
    return any(len(column) > 1 and are_numbers(column) for column in columns)


def stands_above_fractions(first: Sequence[str], below: Callable[[int], Sequence[str]]) -> bool:
    """Whether its whole numbers are the only ones in their columns: 1,2,kind; arguments as above."""
    whole = [j for j, field in enumerate(first) if field.isdecimal()]
    if len(first) < 2 or not whole or not _may_be_words(first):
        return False
    columns = map(below, whole)
    return all(len(column) > 3 and not any(map(str.isdecimal, column)) for column in columns)


def _may_be_words(first: Sequence[str]) -> bool:
    """Whether each field is another, and a word or a whole number."""
    return len({*first}) == len(first) and all(field.isdecimal() or _is_word(field) for field in first)


def _start(fields: Sequence[str]) -> str:
    """The first line in a message."""
    return printable(",".join(fields)[:60])


def may_count(fields: Sequence[str]) -> bool:
    """Whether all are whole numbers, each another: as years or places that name columns."""
    return len(fields) > 1 and all(f.isdecimal() for f in fields) and len({*fields}) == len(fields)


def _with_points(table: Table) -> list[list[str]]:
    """1.5 for 1,5; a number that has a point could be 1.234 for a thousand and more, and is refused."""
    for i, row in enumerate(table.rows):
        for j, field in enumerate(row):
            if "," in field and _COMMA_NUMBER.fullmatch(field):
                row[j] = field.replace(",", ".")
            elif "." in field and is_number(field):
                raise table.fault(i, j, "has a point, where numbers have a decimal comma")
    return table.rows


def is_counting(values: np.ndarray) -> bool:
    """Whether numbers count the rows, from anywhere."""
    return len(values) > 1 and all(b - a == 1 for a, b in pairwise(values.tolist()))


def is_numbering(values: np.ndarray) -> bool:
    """Whether each row has a whole number of its own: they count it, in whatever order."""
    whole = bool((values == np.rint(values)).all())
    return len(values) > 1 and whole and len(np.unique(values)) == len(values)


def alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in case only, or in how an accent is stored."""
    first: dict[str, str] = {}
    found = ((first.setdefault(normalize("NFC", name).casefold(), name), name) for name in names)
    return [(one, other) for one, other in found if one != other]
