"""Named columns of one length, whatever they come from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

import numpy as np

from xpnet.core.reading import UnreadableFileError
from xpnet.data.text import short, shown, undivided


class Column:
    """One column.

    Args:
        name: in the header; "" without one.
        numbers: float64, NaN where there is no value; None: not all of its values are numbers.
        missing: where there is no value.
        texts: makes the values as text, one a row, when they are asked for.
        odd: what the values are, if they are nothing to learn from, such as "list".
    """

    def __init__(
        self,
        name: str,
        numbers: np.ndarray | None,
        missing: np.ndarray,
        texts: Callable[[], np.ndarray],
        odd: str = "",
    ) -> None:
        self.name, self.numbers, self.missing, self.odd = name, numbers, missing, odd
        self._make: Callable[[], np.ndarray] | None = texts
        self._texts: np.ndarray | None = None

    @property
    def texts(self) -> np.ndarray:
        """The values as text, objects of (n,)."""
        if self._texts is None:
            assert self._make is not None
            self._texts, self._make = self._make(), None
        return self._texts

    def take(self, rows: np.ndarray) -> Column:
        """Some of its rows."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return Column(self.name, numbers, self.missing[rows], lambda: self.texts[rows], self.odd)


class Frame:
    """Columns of one length.

    Args:
        columns: in order.
        names: whether they have names.
        source: what messages call the table.
        lines: the line of each row in its file, or what finds them; None: it is in none.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        names: bool,
        source: str,
        lines: Sequence[int] | Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self.columns, self.source, self._lines = list(columns), source, lines
        self.names = [column.name for column in self.columns] if names else None
        if not self.columns or not len(self):
            raise ValueError(f"{source}: no samples: the table is empty")

    def __len__(self) -> int:
        return len(self.columns[0].missing)

    def take(self, rows: np.ndarray) -> Frame:
        """Some of its rows; messages go on naming their lines."""

        def lines() -> Sequence[int]:
            own = self._all_lines()
            return [own[i] for i in rows]

        kept = [column.take(rows) for column in self.columns]
        return Frame(kept, self.names is not None, self.source, None if self._lines is None else lines)

    def index(self, column: int | str) -> int:
        """The place of a column, by name or number.

        Raises:
            ValueError: there is no such column, or there are several.
        """
        width = len(self.columns)
        if isinstance(column, str) and self.names is not None and column in self.names:
            if self.names.count(column) > 1:
                n = self.names.count(column)
                raise self.wrong(f"{n} columns are called {column!r}; give its number")
            return self.names.index(column)
        if isinstance(column, str) and re.fullmatch(r"-?\d+", column, re.ASCII):
            column = int(column)
        if isinstance(column, str):
            found = f"columns are {listed(self.names)}" if self.names else f"there is no header{self._hint()}"
            near = difflib.get_close_matches(column, self.names or (), 1)
            found += (f"; is it {shown(near[0])}?" if near else "") + self.undivided()
            raise self.wrong(f"no column {column!r}: {found}")
        if not -width <= column < width:
            raise self.wrong(f"no column {column}: there are {width}, from 0{self._hint()}")
        return column % width

    def _hint(self) -> str:
        headless = self.names is None and self._lines is not None
        return "; if the first line has the names, say --header yes (header=True)" if headless else ""

    def undivided(self) -> str:
        """What to say where the only column looks like several: the delimiter is another one."""
        if len(self.columns) > 1:
            return ""
        return undivided(self.names[0] if self.names else str(self.columns[0].texts[0]))

    def title(self, column: int) -> str:
        """What a column is called in messages."""
        return str(column) if self.names is None else f"{column} ({short(self.names[column])})"

    def check_values(self, column: int) -> None:
        """Refuse a column that holds lists, complex numbers and the like.

        Raises:
            ValueError: so it does.
        """
        odd = self.columns[column].odd
        if odd:
            raise self.wrong(
                f"column {self.title(column)} holds values of type {odd}, expected numbers, texts, dates or "
                "durations: make columns of them, or leave it out (--drop)"
            )

    def fault(self, row: int, column: int, what: str) -> ValueError:
        """What is wrong with a field."""
        place = f"row {row}" if self._lines is None else f"line {self._all_lines()[row]}"
        field = shown(str(self.columns[column].texts[row]))
        return UnreadableFileError(f"{self.source}, {place}, column {self.title(column)}: {field} {what}")

    def wrong(self, what: str) -> ValueError:
        """What is wrong with the table, which is not the fault of whoever reads it."""
        return UnreadableFileError(f"{self.source}: {what}")

    def _all_lines(self) -> Sequence[int]:
        if callable(self._lines):
            self._lines = self._lines()
        assert self._lines is not None
        return self._lines


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(map(short, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
