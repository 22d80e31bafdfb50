"""Samples for a saved model, from whatever file they are in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.cli.errors import BadInputError
from xpnet.cli.settings import ReadingSettings
from xpnet.cli.table import read, refuse_reading
from xpnet.core.reading import UnreadableFileError, read_file, reading
from xpnet.data import Columns
from xpnet.data.dataset import check_finite
from xpnet.data.folder import Pictures, is_archive, pictures_in
from xpnet.data.frame import COLUMNAR, Frame
from xpnet.data.npy import read_npy, read_npz
from xpnet.data.picture import SUFFIXES, decode_one
from xpnet.data.target import Target
from xpnet.data.text import read_table
from xpnet.io.model import Saved, numbers_of

_ARRAYS = (".npy", ".npz")
_OTHER_PICTURES = (
    ".svg",
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".psd",
    ".raw",
    ".cr2",
    ".nef",
    ".dng",
    ".pdf",
    ".ico",
)


@dataclass(frozen=True)
class Samples:
    """What a file holds for a model.

    Attributes:
        x: for `Saved.predict`.
        rows: the number of each sample in the file, from 0; some may be left out.
        files: their names, if each is a file of its own.
        labels: the true class numbers, or numbers, where the file has them; -1 or NaN for a sample without.
        notes: what was left out, and what is not known.
    """

    x: Any
    rows: np.ndarray
    files: list[str] | None = None
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> np.ndarray:
        """The places of the samples that have a label."""
        assert self.labels is not None
        amounts = self.labels.dtype.kind == "f"
        return np.flatnonzero(np.isfinite(self.labels) if amounts else self.labels >= 0)

    def of_labelled(self) -> tuple[Samples, np.ndarray]:
        """Only the samples that have a label, and their labels."""
        kept = self.labelled
        assert self.labels is not None
        x = self.x.take(kept) if isinstance(self.x, Frame) else self.x[kept]
        files = None if self.files is None else [self.files[i] for i in kept]
        labels = self.labels[kept]
        return Samples(x, self.rows[kept], files, labels, self.notes), labels


def columns_of(saved: Saved) -> Columns | None:
    """What a model of a table knows of its columns."""
    first = getattr(saved.preprocessing, "steps", [saved.preprocessing])[0]
    return first if isinstance(first, Columns) else None


def shape_of(saved: Saved) -> tuple[int, ...] | None:
    """The shape of a sample: as the file says, or as its preprocessing or its first layer takes them."""
    if "shape" in saved.metadata:
        shape = saved.metadata["shape"]
        if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in shape):
            raise ValueError("its shape cannot be used")
        return tuple(shape)
    mean = getattr(saved.preprocessing, "mean", None)
    if mean is not None and mean.ndim and type(saved.preprocessing).__name__ != "ChannelMean":
        return tuple(mean.shape)
    first = next((a for a in saved.model.state_dict().values() if a.ndim >= 2), None)
    return (int(first.shape[1]),) if first is not None and first.ndim == 2 else None


def read_input(path: str, saved: Saved, settings: ReadingSettings, skip_damaged: bool = False) -> Samples:
    """The samples in a file or a folder, as a model takes them.

    Args:
        path: .npy, .npz, a table of text, Parquet or Feather, a picture, or a folder or archive of pictures.
        saved: the model.
        settings: how a table is written.
        skip_damaged: leave out pictures that cannot be read, and say so.

    Raises:
        ValueError: another format, or samples that the model does not take.
        OSError: the file cannot be read.
    """
    columns, shape = columns_of(saved), shape_of(saved)
    suffix = Path(path).suffix.lower()
    pictures = suffix in SUFFIXES or Path(path).is_dir() or is_archive(Path(path))
    if suffix in _OTHER_PICTURES:
        raise ValueError(
            f"{path}: pictures of that kind are not read: save it as one of {', '.join(SUFFIXES)}"
        )
    if pictures or suffix in _ARRAYS:
        refuse_reading(settings, path)
    if skip_damaged and not pictures:
        raise BadInputError(f"--skip-damaged is for pictures; {path} is none")
    if columns is not None:
        if suffix in (*_ARRAYS, *SUFFIXES) or Path(path).is_dir():
            raise ValueError(f"{path}: the model is one of a table: give it a table, such as a .csv")
        known = [column["name"] for column in columns.columns if column["name"]]
        return _rows(read(settings, path, known), columns, saved)
    channels = None if shape is not None else _channels(saved)
    if channels is not None:  # convolutions, which take pictures of any size
        return _any_size(path, channels, saved, skip_damaged)
    if Path(path).is_dir() or is_archive(Path(path)):
        picture = saved.metadata.get("picture", shape)
        if picture is None or len(picture) != 3:
            raise ValueError(f"{path}: the model takes {shape}, not pictures")
        found = pictures_in(Path(path), _side(picture), "L" if picture[0] == 1 else "RGB", skip_damaged)
        x = fit(found.x.astype(np.float32), shape or picture, path)
        return _of_files(x, found, saved)
    names = saved.metadata.get("columns")
    if names is not None and suffix not in (*_ARRAYS, *SUFFIXES):
        frame = read(settings, path, names)
        if frame.names is not None:
            x = numbers_of(frame, names)
            return Samples(x, np.arange(len(x)))
    if shape is None:
        raise ValueError(f"{path}: the model does not say what shape a sample has")
    picture = saved.metadata.get("picture", shape)
    try:
        if suffix in COLUMNAR:
            x = fit(numbers_of(read(settings, path), None), shape, path)
        else:
            x = read_samples(path, shape, picture, settings)
    except ValueError as error:
        if len(picture) != 3 or suffix in (*_ARRAYS, *SUFFIXES):
            raise
        sides = f"{picture[1]} by {picture[2]}"
        raise UnreadableFileError(
            f"{error}; the model takes pictures of {sides} pixels: give it some, or a folder of them"
        ) from error
    labels, notes = _stored_labels(path, len(x), saved.task) if suffix == ".npz" else (None, ())
    return Samples(x, np.arange(len(x)), None, labels, notes)


def _channels(saved: Saved) -> int | None:
    """How many channels a first layer takes that is a convolution."""
    first = next((a for a in saved.model.state_dict().values() if a.ndim >= 2), None)
    return int(first.shape[1]) if first is not None and first.ndim == 4 else None


def _any_size(path: str, channels: int, saved: Saved, skip_damaged: bool) -> Samples:
    """Pictures as they are, (n, channels, H, W)."""
    suffix = Path(path).suffix.lower()
    if suffix in _ARRAYS:
        with reading(path, "an array of pictures"):
            x = read_npy(path) if suffix == ".npy" else read_npz(path, _samples)[0]
            x = x[None] if x.ndim == 3 else x
            if x.ndim != 4 or x.shape[1] != channels:
                raise ValueError(f"{path}: the model takes (n, {channels}, H, W), got {x.shape}")
            x = x.astype(np.float32)
            check_finite(x, path)
            return Samples(x, np.arange(len(x)))
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode is None:
        raise ValueError(f"{path}: the model takes {channels} channels: give them as .npy")
    if Path(path).is_dir() or is_archive(Path(path)):
        found = pictures_in(Path(path), None, mode, skip_damaged)
        return _of_files(found.x.astype(np.float32), found, saved)
    x = decode_one(read_file(path), None, mode, path)[None].astype(np.float32)
    return Samples(x, np.arange(1))


def _rows(frame: Frame, columns: Columns, saved: Saved) -> Samples:
    """Those of a table, with the targets, if the table has them."""
    rows, notes, labels = np.arange(len(frame)), [], None
    if columns.missing == "drop":
        rows = np.flatnonzero(columns.complete(frame))
        if not rows.size:
            raise ValueError(f"{frame.source}: every row has a missing value")
        if len(rows) < len(frame):
            notes.append(f"{len(frame) - len(rows)} rows with a missing value are left out")
            frame = frame.take(rows)
    goal = _goal(frame, columns)
    if goal is not None:
        known = np.flatnonzero(~frame.columns[goal].missing)
        if known.size:
            target = Target("", goal, saved.task, saved.class_names, "")
            labels = _spread(target.values(frame.take(known)), known, len(frame))
        notes += _unlabelled(
            known.size, len(frame), f"rows have no value in the target, column {frame.title(goal)}"
        )
    return Samples(frame, rows, None, labels, tuple(notes))


def _spread(values: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    """Labels of some of n samples; the others have -1, or NaN."""
    found = np.full(n, np.nan if values.dtype.kind == "f" else -1, dtype=values.dtype)
    found[places] = values
    return found


def _unlabelled(known: int, n: int, what: str) -> list[str]:
    """A line about samples without a label, if there are some."""
    if known == n:
        return []
    rest = f"what is measured is of the other {known}" if known else "nothing is measured"
    return [f"{n - known} of {n} {what}: they are predicted, and {rest}"]


def _of_files(x: np.ndarray, found: Pictures, saved: Saved) -> Samples:
    """Pictures with the classes that their folders are called by, where they are in such."""
    place, notes = {name: k for k, name in enumerate(saved.class_names or ())}, list(found.notes)
    classes = [next((place[p] for p in Path(name).parts[:-1] if p in place), -1) for name in found.names]
    labels = np.array(classes, dtype=np.int64)
    known = int(np.count_nonzero(labels >= 0))
    if known:
        what = "pictures are in no folder that is called as a class"
        notes += _unlabelled(known, len(labels), what)
    return Samples(x, np.arange(len(x)), found.names, labels if known else None, tuple(notes))


def _goal(frame: Frame, columns: Columns) -> int | None:
    """Where the target is, if it is there."""
    if columns.target is None:
        return None
    if frame.names is not None and columns.target["name"]:
        name = columns.target["name"]
        return frame.index(name) if frame.names.count(name) == 1 else None
    return int(columns.target["index"]) if len(frame.columns) == columns.width + 1 else None


def _stored_labels(path: str, samples: int, task: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The targets `y` beside the samples `x` of an .npz file, if it has such, and a line about them."""
    with reading(path, "an .npz file"):
        found = read_npz(path, lambda names: ["y"] if {"x", "y"} <= {*names} else [])
        if not found:
            return None, ()
        (y,), amounts = found, task == "regression"
        if y.shape != (samples,) or y.dtype.kind not in ("iuf" if amounts else "iu"):
            wanted = "a number" if amounts else "a whole number, its class,"
            return None, (f"y is {y.dtype} {y.shape}, not {wanted} for each of {samples} samples: not used",)
        labels = y.astype(np.float64 if amounts else np.int64)
        known = int(np.count_nonzero(np.isfinite(labels) if amounts else labels >= 0))
        what = f"samples have {'no finite number' if amounts else 'a negative number'} in y"
        return labels if known else None, tuple(_unlabelled(known, samples, what))


def _side(picture: Sequence[int]) -> int | None:
    return picture[1] if picture[1] == picture[2] else None


def read_samples(
    path: str,
    shape: Sequence[int],
    picture: Sequence[int] | None = None,
    settings: ReadingSettings | None = None,
) -> np.ndarray:
    """Samples from a file, (n, *shape) float32.

    Args:
        path: .npy, .npz (the array `x`, or the only one), or text with a sample a line, as `load_csv` reads
            it, split by commas, semicolons or tabs; or one picture.
        shape: of a sample, which the values are given.
        picture: (C, H, W), if a flat sample is one; default: `shape`.
        settings: how a table is written.

    Raises:
        ValueError: another format, NaN, or samples of another size.
        OSError: the file cannot be read.
    """
    with reading(path, "a .npy, .npz or .csv file, or a picture,"):
        array: Any = _read(path, picture or shape, settings or ReadingSettings())
        if array.dtype.kind not in "iufb":
            raise ValueError(f"{path}: holds {array.dtype}, expected numbers")
        if array.ndim > 0 and array.size == math.prod(shape):  # one sample, whatever its shape
            array = array[None]
        if array.ndim == 0 or array.size == 0:
            raise ValueError(f"{path}: holds no samples: its shape is {array.shape}")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            array = fit(array.astype(np.float32), shape, path)
        check_finite(array, path)
        return array


def _read(path: str, shape: Sequence[int], settings: ReadingSettings) -> np.ndarray:
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        if len(shape) != 3:
            raise ValueError(
                f"the model takes flat samples, {shape}; for pictures, save it with metadata that say how "
                'they lie in them, such as {"picture": [1, 28, 28]}'
            )
        return decode_one(read_file(path), _side(shape), "L" if shape[0] == 1 else "RGB", path)
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".npz":
        return read_npz(path, _samples)[0]
    header = None if settings.header is None else settings.header == "yes"
    table = read_table(path, header, settings.delimiter, decimal=settings.decimal, encoding=settings.encoding)
    return table.numbers(range(len(table.rows[0])))


def _samples(names: list[str]) -> list[str]:
    """The array of samples among those of an .npz file."""
    if "x" not in names and len(names) != 1:
        raise ValueError(f"it has the arrays {', '.join(names)}, and none is called x")
    return ["x" if "x" in names else names[0]]


def fit(x: np.ndarray, shape: Sequence[int], source: str) -> np.ndarray:
    """The samples in the shape that the model takes."""
    found, wanted = math.prod(x.shape[1:]), math.prod(shape)
    if found != wanted:
        raise ValueError(f"{source}: {found} values a sample, the model takes {wanted}")
    return x.reshape(len(x), *shape)
