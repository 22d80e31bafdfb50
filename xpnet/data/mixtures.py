"""Columns in which there are several kinds of values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import numpy as np

from xpnet.data.column import Column, Frame
from xpnet.data.dates import form_of, odd_date
from xpnet.data.text import is_number, short, written_otherwise

TRUE, FALSE = {"true", "yes", "t", "y", "on", "1"}, {"false", "no", "f", "n", "off", "0"}
_LETTERS = {"t", "f", "y", "n", "1", "0"}  # which may mean anything, without words beside them
_CODE = re.compile(r"[+-]?0\d+", re.ASCII)


def are_truths(words: Collection[str]) -> bool:
    """Whether words in lower case are several ways to say true and false, as tables put together have them.

    >>> from xpnet.data.mixtures import are_truths
    >>> are_truths({"yes", "no", "1", "false"}), are_truths({"y", "n", "t"})
    (True, False)
    """
    known = {*words} <= TRUE | FALSE and not {*words} <= _LETTERS
    return len(words) > 2 and known and bool({*words} & TRUE) and bool({*words} & FALSE)


def first_code(texts: Iterable[str]) -> str | None:
    """The first whole number that begins with a zero, as codes do; None: there is none.

    >>> from xpnet.data.mixtures import first_code
    >>> first_code(["10", "0.5", "007"])
    '007'
    """
    return next((text for text in texts if _CODE.fullmatch(text)), None)


def refuse_mixture(frame: Frame, j: int, column: Column) -> None:
    """A column of numbers, or dates, with odd fields among them is no column of texts.

    Raises:
        ValueError: by line and column of the first such field.
    """
    numeric = np.array([is_number(value) for value in column.texts])
    present = ~column.missing
    if 2 * numeric[present].sum() >= present.sum():
        odd = int(np.flatnonzero(~numeric & present)[0])
        name = str(j) if frame.names is None else short(frame.names[j])
        raise frame.fault(
            odd,
            j,
            f"is not a number, as others in the column are: mend it, or take all as names "
            f"(--categories {name})",
        )
    rows = np.flatnonzero(present)
    form = form_of(column.texts[rows].tolist())
    if form is not None:
        name = str(j) if frame.names is None else short(frame.names[j])
        place, what = odd_date(column.texts[rows].tolist(), form)
        advice = f"take all as names (--categories {name}), or leave the column out (--drop {name})"
        raise frame.fault(int(rows[place]), j, f"{what}: mend it, {advice}")
    strange = written_otherwise(column.texts[rows].tolist())
    if strange is not None:
        place, what = strange
        title = str(j) if frame.names is None else short(frame.names[j])
        how = {"a date": "2024-01-31", "a time of day": "13:05"}.get(what, "1234.5")
        raise frame.fault(
            int(rows[place]),
            j,
            f"is {what}: write {how}, take all as names (--categories {title}), or "
            f"leave the column out (--drop {title})",
        )
