"""The column that is to be predicted: classes or a number, found or asked for, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from xpnet.data.frame import Column, Frame
from xpnet.data.table import label_key
from xpnet.data.text import LARGEST, is_number, short, shown, written_otherwise

TASKS = ("classification", "regression")
_USUAL = ("target", "label", "class", "y")


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes:
        name: of the column; "" without a header.
        index: its place in the training table.
        task: "classification" or "regression".
        class_names: of the classes, sorted, whole numbers by value; None for regression.
        why: how the task was found, to be said; "" if it was asked for.
    """

    name: str
    index: int
    task: str
    class_names: list[str] | None
    why: str

    def values(self, frame: Frame, index: int | None = None) -> np.ndarray:
        """The targets of rows without a missing one: class numbers int64, or float64.

        Raises:
            ValueError: by line and column, what is no number, or no class of the training set.
        """
        j = self.index if index is None else index
        column = frame.columns[j]
        _refuse_missing(frame, j, column)
        if self.class_names is None:
            return _amounts(frame, j, column)
        place = {label_key(name): k for k, name in enumerate(self.class_names)}
        found = np.empty(len(frame), dtype=np.int64)
        for i, text in enumerate(column.texts):
            key = label_key(text)
            if key not in place:
                raise frame.fault(i, j, "is none of the classes of the training set")
            found[i] = place[key]
        return found


def find_target(frame: Frame, asked: int | str | None) -> int:
    """The column to predict.

    Raises:
        ValueError: none was asked for, and none has a usual name; or there is no such column.
    """
    if asked is not None:
        return frame.index(asked)
    usual = [j for j, name in enumerate(frame.names or ()) if name.lower() in _USUAL]
    if len(usual) != 1:
        found = (
            f"0 to {len(frame.columns) - 1}"
            if frame.names is None
            else ", ".join(map(short, frame.names[:30]))
        )
        raise ValueError(f"{frame.source}: which column is to be predicted? give --target, one of {found}")
    return usual[0]


def describe_target(frame: Frame, index: int, task: str | None) -> Target:
    """What a column is as a target.

    Args:
        frame: the table, without rows whose target is missing.
        index: the column.
        task: of `TASKS`; default: text is classes, numbers that are not whole are amounts.

    Raises:
        ValueError: whole numbers, which may be both; numbers with an odd field among them; one class only.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task is one of {', '.join(TASKS)}, got {task!r}")
    column, why = frame.columns[index], ""
    frame.check_values(index)
    _refuse_missing(frame, index, column)
    title = frame.title(index)
    if task is None:
        task, why = _found_task(frame, index, column, title)
    if task == "regression":
        values = _amounts(frame, index, column)
        if values.min() == values.max():
            raise ValueError(f"{frame.source}: the target, column {title}, is {values[0]:g} everywhere")
        return Target(column.name, index, task, None, why)
    first: dict[int | Decimal | str, str] = {}
    for text in column.texts:
        first.setdefault(label_key(text), text)
    if len(first) < 2:
        raise ValueError(
            f"{frame.source}: the target, column {title}, has one class only, "
            f"{shown(column.texts[0])}: choose another target"
        )
    order = sorted(first, key=lambda key: (isinstance(key, str), key))
    names = [str(key) if isinstance(key, int) else first[key] for key in order]
    return Target(column.name, index, task, names, why)


def _found_task(frame: Frame, index: int, column: Column, title: str) -> tuple[str, str]:
    if column.numbers is None:
        numeric = [is_number(text) for text in column.texts]
        if any(numeric):
            raise frame.fault(
                numeric.index(False),
                index,
                "is not a number, as others in the column are: mend it, or say "
                "that each text is a class (--task classification)",
            )
        texts = column.texts.tolist()
        odd = written_otherwise(texts)
        if odd is not None:
            raise frame.fault(
                odd[0],
                index,
                f"is {odd[1]}: write 1234.5 for what is to be predicted, or say that each "
                "text is a class (--task classification)",
            )
        many = len(set(texts))
        if many > max(20, len(texts) // 2):
            raise ValueError(
                f"{frame.source}: the target, column {title}, has {many} different texts in {len(texts)} "
                "rows: say that each is a class (--task classification), or choose another target"
            )
        return "classification", f"column {title} is of text"
    values = column.numbers
    if not (values == np.round(values)).all():
        return "regression", f"column {title} has numbers that are not whole"
    different = np.unique(values)
    if len(different) <= 2:
        first, last = (f"{value:g}" for value in (different[0], different[-1]))
        if first == last:  # they differ in digits that are not shown, or as 7 and 007 do
            first, last = (shown(text) for text in (min(column.texts), max(column.texts)))
        return "classification", f"column {title} has two values, {first} and {last}"
    raise ValueError(
        f"{frame.source}: the target, column {title}, has {len(different)} different whole numbers, from "
        f"{different[0]:g} to {different[-1]:g}: are they classes or amounts? --task "
        "classification or --task regression"
    )


def _refuse_missing(frame: Frame, index: int, column: Column) -> None:
    gone = np.flatnonzero(column.missing)
    if gone.size:
        what = "is empty" if not column.texts[gone[0]] else "says that the value is missing"
        advice = "fill it, or drop the line, as --missing drop does"
        raise frame.fault(int(gone[0]), index, f"in the target {what}: {advice}")


def _amounts(frame: Frame, index: int, column: Column) -> np.ndarray:
    if column.numbers is None:
        odd = next(i for i, text in enumerate(column.texts) if not is_number(text))
        raise frame.fault(odd, index, "is not a number to predict")
    huge = np.flatnonzero(np.abs(column.numbers) > LARGEST)
    if huge.size:
        raise frame.fault(int(huge[0]), index, "is too large a number")
    return column.numbers
