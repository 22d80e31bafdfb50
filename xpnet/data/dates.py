"""Dates in tables, and numbers that look as if they were not what they are taken for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from xpnet.data.column import Column, Frame

_DAY = 86400.0

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.]\d{1,6})?\d*)?)?( ?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2}))?",
    re.ASCII,
)


_FORMS = {
    "date": _ISO,
    "month": re.compile(r"\d{4}-\d{2}", re.ASCII),
    "time": re.compile(r"\d{1,2}:\d{2}(:\d{2}([.]\d{1,6})?\d*)?", re.ASCII),
}
EXAMPLES = {"date": "2024-01-31", "month": "2024-01", "time": "13:05"}
"""Of each form that is read."""
_CALLED = {"date": "date", "month": "month", "time": "time of day"}


def days_of(texts: Sequence[str], form: str = "date") -> np.ndarray | None:
    """Days since 1970, with their fractions, or of a day; None if one is not of this form of ISO 8601.

    A month is its first day.
    """
    moments = [_moment(text, form) for text in texts]
    if None in moments or len({moment.tzinfo is None for moment in moments if moment is not None}) > 1:
        return None
    known = [m if m.tzinfo is not None else m.replace(tzinfo=UTC) for m in moments if m is not None]
    return np.array([moment.timestamp() / _DAY for moment in known])


def _moment(text: str, form: str) -> datetime | None:
    if _FORMS[form].fullmatch(text) is None:
        return None
    if form == "month":
        text += "-01"
    elif form == "time":
        text = f"1970-01-01T{'0' if text[1] == ':' else ''}{text}"
    try:
        return datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    except ValueError:  # 30 February
        return None


def is_zoned(text: str) -> bool:
    """Whether a date says its time zone."""
    found = _ISO.fullmatch(text)
    return found is not None and found["zone"] is not None


def days_as_known(frame: Frame, j: int, column: Column, known: Mapping[str, Any]) -> np.ndarray:
    """The days of a column as those of the training set were written, (n,); NaN where there is none.

    Args:
        frame: of the column.
        j: its place there.
        column: the dates.
        known: of the training set, the `form` and whether there was a time `zone`.

    Raises:
        ValueError: by line and column, what is another form, or has a time zone where those had none.
    """
    form, values = known.get("form", "date"), np.full(len(column.missing), np.nan)
    rows, texts = np.flatnonzero(~column.missing), column.texts
    zoned = known.get("zone", bool(rows.size) and is_zoned(texts[rows[0]]))  # older files do not say
    for i in rows.tolist():
        days = days_of([texts[i]], form)
        if days is None:
            raise frame.fault(i, j, f"is not a {form}, as in the training set, such as {EXAMPLES[form]}")
        if is_zoned(texts[i]) != zoned:
            what = (
                "has no time zone, and the others have one"
                if zoned
                else "has a time zone, and the others none"
            )
            raise frame.fault(i, j, f"{what}, those of the training set included: write all alike")
        values[i] = days[0]
    return values


def form_of(texts: Sequence[str]) -> str | None:
    """How most of the texts are written, of "date", "month" and "time", if there is such a day or time."""
    for form, pattern in _FORMS.items():
        if 2 * sum(pattern.fullmatch(text) is not None for text in texts) > len(texts):
            return form
    return None


def odd_date(texts: Sequence[str], form: str) -> tuple[int, str]:
    """The first of texts that are no dates together, and what is wrong with it."""
    moments = [_moment(text, form) for text in texts]
    if None in moments:
        return moments.index(None), f"is no {_CALLED[form]}, as others in the column are"
    zoned = [moment is not None and moment.tzinfo is not None for moment in moments]
    return zoned.index(not zoned[0]), "has a time zone, or none, unlike the dates above it"


def doubt_of(values: np.ndarray) -> str:
    """What a person who knows the column should look at; "" for nothing."""
    low = values.min()
    rest = values[values != low]
    if low in (-9, -99, -999, -9999, -99999) and rest.size and rest.min() >= 0 and rest.size < len(values):
        return f"{low:g} is its only value below 0: if it stands for a missing one, leave the field empty"
    if (values == np.rint(values)).all() and low > 19000000 and values.max() < 21000000 and rest.size:
        days = values.astype(np.int64)
        if (days // 100 % 100 - 1 < 12).all() and (days % 100 - 1 < 31).all() and (days % 100 > 0).all():
            return f"{low:.0f} and the like are taken for numbers; if they are dates, write 2024-01-31"
    return ""
