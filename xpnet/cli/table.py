"""A table of one's own: from a file to training, validation and test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpnet.cli.data import divided
from xpnet.cli.errors import BadInputError
from xpnet.cli.settings import BackendSettings, ReadingSettings, SourceSettings
from xpnet.core.reading import printable
from xpnet.data import Columns, Dataset
from xpnet.data.duplicates import duplicates
from xpnet.data.frame import COLUMNAR, Frame, read_frame
from xpnet.data.mixtures import are_truths, first_code
from xpnet.data.target import Target, describe_target, find_target
from xpnet.data.text import alike

_TEST, _CALIBRATION, _VALIDATION = 0.2, 0.125, 0.1


class TableData(NamedTuple):
    """A table that has been read; the targets of regression are standardised, (n, 1) float32.

    Attributes:
        training: features and targets.
        validation: likewise.
        test: likewise.
        calibration: likewise, for intervals around numbers; None where none are wanted.
        columns: what the features are.
        target: what is predicted.
        mean: of the training set's targets; 0 for classes.
        std: likewise; 1 for classes.
        notes: what was found, and what is left out, to be said.
    """

    training: Dataset
    validation: Dataset
    test: Dataset
    calibration: Dataset | None
    columns: Columns
    target: Target
    mean: float
    std: float
    notes: tuple[str, ...]


def stem_of(path: str) -> str:
    """The name of a table's file without its endings, which the files of a run are called by."""
    name = Path(path).name
    for ending in (".gz", Path(name.removesuffix(".gz")).suffix):
        name = name.removesuffix(ending) if ending and name != ending else name
    return name


def refuse_reading(settings: ReadingSettings, source: str) -> None:
    """Refuse options about how a table is written, for what is no table of text.

    Raises:
        BadInputError: there are some.
    """
    for field in fields(ReadingSettings):
        if field.name not in BackendSettings.defaults() and getattr(settings, field.name) is not None:
            raise BadInputError(f"--{field.name} is for tables of text; {source} is none: leave it out")


def read(settings: ReadingSettings, path: str, asked: Sequence[int | str] = ()) -> Frame:
    """A table as the options say that it is written, with the columns that are asked for."""
    if Path(path).suffix.lower() in COLUMNAR:
        refuse_reading(settings, path)
    header = None if settings.header is None else settings.header == "yes"
    return read_frame(
        path,
        header,
        settings.delimiter,
        decimal=settings.decimal,
        encoding=settings.encoding,
        asked=asked,
    )


def read_table_data(settings: SourceSettings, seed: int, intervals: bool = False) -> TableData:
    """The parts of a table; the test set is the same fifth in every run, whatever the seed.

    Args:
        settings: the path, the target and how to read them.
        seed: of the division into training and validation.
        intervals: whether rows are kept for intervals around predicted numbers: a tenth of all.

    Raises:
        BadInputError: there is no path.
        ValueError: whatever is wrong with the table.
    """
    if settings.path is None:
        raise BadInputError("table needs a file: xpnet train table FILE.csv --target COLUMN")
    asked = () if settings.target is None else (settings.target,)
    frame = read(settings, settings.path, [*asked, *(settings.categories or ()), *(settings.drop or ())])
    goal = find_target(frame, settings.target)
    columns = Columns(settings.missing, settings.text, settings.categories or (), settings.drop or ())
    whole = len(frame)
    if settings.missing == "drop":
        frame = frame.take(np.flatnonzero(_complete(frame, columns, goal)))
    target = describe_target(frame, goal, settings.task)
    y = target.values(frame)
    rows = Dataset(np.arange(len(frame), dtype=np.int64)[:, None], y, printable(frame.source))
    sorts = target.class_names is not None
    rest, test = divided(rows, (1 - _TEST, _TEST), 0, sorts)
    calibration = None
    if intervals and not sorts:
        rest, calibration = divided(rest, (1 - _CALIBRATION, _CALIBRATION), 0, False)
    training, validation = divided(rest, (1 - _VALIDATION, _VALIDATION), seed, sorts)
    columns.fit(frame, np.sort(training.x[:, 0]), goal)
    mean, std = 0.0, 1.0
    if not sorts:
        mean, std = float(training.y.mean()), float(training.y.std()) or 1.0
        if std < 1e-5 * abs(mean):
            raise ValueError(
                f"{frame.source}: the target spreads by {std:.3g} around {mean:.9g}, which float32 cannot "
                "tell apart: subtract an offset in the file"
            )
    notes = [*columns.notes]
    if whole > len(frame):
        notes.append(f"{whole - len(frame)} rows with a missing value: dropped")
    if sorts:
        names, counts = target.class_names or [], np.bincount(y)
        rare = [f"{names[k]!r} ({n})" for k, n in enumerate(counts) if n < 5]
        if rare:
            more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
            notes.append(f"classes of less than 5 rows can hardly be learned: {', '.join(rare[:5])}{more}")
        for one, other in alike(names):
            notes.append(f"classes {one!r} and {other!r} differ in case only, and count as two")
        code = first_code(names)
        if code is not None and str(int(code)) in names:
            notes.append(f"classes {code!r} and {str(int(code))!r} count as two, as codes do")
        if are_truths({name.lower() for name in names}):
            notes.append(
                f"{', '.join(map(repr, names))} count as {len(names)} classes, not as true and false"
            )
    if target.why:
        notes.append(f"{target.why}: {target.task}; --task says otherwise")

    def part(chosen: Dataset) -> Dataset:
        x = columns.features_of(frame.take(chosen.x[:, 0]))
        y = chosen.y if sorts else ((chosen.y - mean) / std)[:, None].astype(np.float32)
        return Dataset(x, y, chosen.name, target.class_names)

    kept = None if calibration is None else part(calibration)
    parts, last = (part(training), part(validation)), part(test)
    notes += duplicates(last, parts if kept is None else (*parts, kept), "rows")
    return TableData(*parts, last.guarded(), kept, columns, target, mean, std, tuple(notes))


def _complete(frame: Frame, columns: Columns, goal: int) -> np.ndarray:
    """Which rows have all their values, in the columns that are not left out anyway."""
    left = {frame.index(column) for column in columns.drop}
    used = [c for j, c in enumerate(frame.columns) if j not in left and (j == goal or not c.missing.all())]
    return ~np.any([column.missing for column in used], axis=0)
