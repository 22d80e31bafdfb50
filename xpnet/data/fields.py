"""The lines of a text table, and their fields."""

from __future__ import annotations

import re
from os import PathLike

LINE_END = re.compile(r"\r\n|\n|\r")

Lines = tuple[list[list[str]], list[int], list[bool], list[int]]


def split_lines(text: str, delimiter: str, path: str | PathLike[str]) -> Lines:
    """The fields of each line that is not empty, its number, and whether it begins with # outside quotes.

    Then the numbers of the lines that are empty. A field in quotes may have line ends.

    Raises:
        ValueError: a quote is not closed, or text follows it.
    """
    if '"' not in text:
        numbered = list(enumerate(LINE_END.split(text), 1))
        if delimiter == " ":
            rows = [line.split() for _, line in numbered]
        else:
            rows = [[field.strip() for field in line.split(delimiter)] for _, line in numbered]
        kept = [i for i, row in enumerate(rows) if len(row) > 1 or any(row)]
        empty = [n for (n, _), row in zip(numbered, rows, strict=True) if len(row) < 2 and not any(row)]
        rows = [rows[i] for i in kept]
        return rows, [numbered[i][0] for i in kept], [row[0].startswith("#") for row in rows], empty
    return _split_quoted(text, delimiter, path)


def _split_quoted(text: str, delimiter: str, path: str | PathLike[str]) -> Lines:
    mark = r"[ \t]+" if delimiter == " " else re.escape(delimiter)
    space = "[ ]*" if delimiter in "\t " else r"[ \t]*"
    plain = r"[^ \t\r\n]*" if delimiter == " " else rf"[^\r\n{re.escape(delimiter)}]*"
    field = re.compile(rf'{space}"([^"]*(?:""[^"]*)*)"{space}(?={mark}|\r\n|\n|\r|\Z)|({plain})')
    separator = re.compile(rf"({mark})|\r\n|\n|\r|\Z")
    rows: list[list[str]] = []
    lines: list[int] = []
    marked: list[bool] = []
    empty: list[int] = []
    row: list[str] = []
    place, line, start, hashed = 0, 1, 1, False
    while True:
        match = field.match(text, place)
        assert match is not None  # an empty field is one
        quoted = match[1] is not None
        value = match[1].replace('""', '"') if quoted else match[2]
        if not quoted and value.lstrip().startswith('"'):
            raise ValueError(f"{path}, line {line}: a quote that is not closed, or text after it")
        if quoted:
            line += len(LINE_END.findall(match[1]))
        if not row:
            hashed = not quoted and value.strip().startswith("#")
        row.append(value.strip())
        end = separator.match(text, match.end())
        assert end is not None
        place = end.end()
        if end[1] is not None:
            continue
        if len(row) > 1 or any(row):
            rows.append(row)
            lines.append(start)
            marked.append(hashed)
        else:
            empty.append(start)
        line += 1
        row, start = [], line
        if end[0] == "":
            return rows, lines, marked, empty
