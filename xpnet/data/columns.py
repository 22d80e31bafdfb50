"""Columns of a table as numbers: what each one is, found in the training set and kept with the model."""

from __future__ import annotations

import difflib
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.reading import printable
from xpnet.data.dates import days_as_known, days_of, doubt_of, form_of, is_zoned
from xpnet.data.frame import Column, Frame, as_frame
from xpnet.data.mixtures import FALSE, TRUE, are_truths, first_code, refuse_mixture
from xpnet.data.preprocessing import Preprocessing, Standardize
from xpnet.data.table import label_key
from xpnet.data.text import (
    LARGEST,
    alike,
    is_counting,
    is_number,
    is_numbering,
    short,
    shown,
)

POLICIES = ("refuse", "mean", "median", "drop", "indicator")
"""What can be done where a value is missing."""

TEXTS = ("ask", "onehot", "hash", "embed")
"""What can be done with a column of many different texts."""

_MANY, _BUCKETS = 100, 32
_BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"on", "off"})
_INDEX = re.compile(
    r"|unnamed: 0|index|row|nr|no|#|number|(.*[ _])?id|rowid|rownames|.*[a-z]Id", re.IGNORECASE
)


class Columns(Preprocessing):
    """The columns of a table as float32 features: numbers and dates standardised, texts as categories.

    Args:
        missing: what is done where a value is missing: "refuse"; "mean" or "median" of the training set;
            "indicator": the mean, and a feature that says so; "drop": whoever reads the table drops the row
            (see `complete`), and here it is refused. A missing text is a category of its own, unless refused.
        text: for columns of text with over 100 values, or mostly different ones: "ask" refuses them,
            "onehot" makes a feature of each value, "hash" shares 32 among them, "embed" numbers the values,
            for a network that begins with `embedding()`: 0 is one that was not in the training set.
        categories: names or numbers of columns whose numbers are only names, such as postcodes.
        drop: names or numbers of columns to leave out.

    `fit` and `transform` take data frames of pandas and polars, Arrow tables, dicts of columns, `Frame`s that
    `read_frame` has read, and arrays. Columns are found by their names; without names, by their places.

    Attributes:
        columns: what each column that is used is, as JSON can hold it.
        notes: what was left out, and why; of `fit`.

    A category that was not in the training set counts as none, with a warning.

    >>> from xpnet.data import Columns
    >>> table = {"size": [50, 70, 90], "color": ["red", "blue", "red"], "sold": ["yes", "no", "yes"]}
    >>> columns = Columns().fit(table)
    >>> columns.features
    ['size', 'color=blue', 'color=red', 'sold']
    >>> columns.transform({"color": ["blue"], "sold": ["yes"], "size": [70]})
    array([[0., 1., 0., 1.]], dtype=float32)
    """

    statistics = ("mean", "std")
    mean: np.ndarray | None
    std: np.ndarray | None

    def __init__(
        self,
        missing: str = "refuse",
        text: str = "ask",
        categories: Sequence[int | str] = (),
        drop: Sequence[int | str] = (),
        *,
        columns: Sequence[Mapping[str, Any]] | None = None,
        width: int = 0,
        target: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if missing not in POLICIES:
            raise ValueError(f"Columns: missing is one of {', '.join(POLICIES)}, got {missing!r}")
        if text not in TEXTS:
            raise ValueError(f"Columns: text is one of {', '.join(TEXTS)}, got {text!r}")
        self.missing, self.text = missing, text
        self.categories, self.drop = list(categories), list(drop)
        self.columns = [dict(column) for column in columns or ()]
        self.width, self.target = width, None if target is None else dict(target)
        self.notes: list[str] = []

    @property
    def settings(self) -> dict[str, Any]:
        """What makes another one like this, but for the statistics."""
        return {
            "missing": self.missing,
            "text": self.text,
            "columns": self.columns,
            "width": self.width,
            "target": self.target,
        }

    @property
    def features(self) -> list[str]:
        """A name for each feature: `size`, `color=red`, `size is missing`."""
        found: list[str] = []
        for column in self.columns:
            name = _title(column)
            if column["kind"] == "onehot":
                found += [f"{name}={value if value else '(missing)'}" for value in column["values"]]
            elif column["kind"] == "hash":
                found += [f"{name}#{k}" for k in range(_BUCKETS)]
            else:
                found.append(name)
            if column.get("indicator"):
                found.append(f"{name} is missing")
        return found

    def fit(self, x: Any, rows: Any = None, target: int | str | None = None) -> Columns:
        """Find out what each column is.

        Args:
            x: the table.
            rows: those of the training set, of which statistics and categories are taken; default: all.
            target: a column that is to be predicted, if it is among them.

        Raises:
            ValueError: a column that cannot be read surely, by line and column of its first such field.
        """
        frame = as_frame(x)
        rows = np.arange(len(frame)) if rows is None else np.asarray(rows)
        goal = None if target is None else frame.index(target)
        self.width, self.notes, self.columns = len(frame.columns), [], []
        self.target = None
        if goal is not None:
            self.target, self.width = {"name": frame.columns[goal].name, "index": goal}, self.width - 1
        dropped = {frame.index(column) for column in self.drop}
        if goal in dropped:
            title = frame.title(int(goal))
            raise ValueError(
                f"{frame.source}: column {title} is the target, and dropped: leave out --drop of it"
            )
        named = {frame.index(column) for column in self.categories}
        many = []
        for j, column in enumerate(frame.columns):
            if j == goal or j in dropped:
                continue
            found = self._describe(frame, j, column, rows, j in named)
            if found == {"kind": "many"}:
                many.append(j)
            elif found:
                place = j - (goal is not None and j > goal)
                self.columns.append({"name": column.name, "index": place, **found})
        if many:
            titles = ", ".join(frame.title(j) for j in many[:10]) + (" and more" if len(many) > 10 else "")
            option = ",".join(str(j) if frame.names is None else short(frame.names[j]) for j in many[:10])
            raise ValueError(
                f"{frame.source}: too many different texts to be categories in column {titles}: leave "
                f"{'them' if len(many) > 1 else 'it'} out (--drop {option}), or share features among them "
                "(--text hash), or learn a vector for each (--text embed)"
            )
        if not self.columns:
            alone = "the target is the only one" if len(frame.columns) == 1 else ""
            why = "; ".join(self.notes[:3]) or alone or "all are dropped, but for the target"
            raise ValueError(f"{frame.source}: no column to learn from: {why}{frame.undivided()}")
        self._check_names(frame)
        raw = self._raw(frame.take(rows), learning=True)
        mean, std = np.zeros(raw.shape[1]), np.ones(raw.shape[1])
        at = 0
        for known in self.columns:
            if known["kind"] in ("number", "date"):
                mean[at], std[at] = raw[:, at].mean(), raw[:, at].std() or 1.0
            at += self._size(known)
        self.mean, self.std = mean, std
        return self

    def _check_names(self, frame: Frame) -> None:
        if frame.names is not None:
            used = [column["name"] for column in self.columns]
            twice = next((name for name in used if frame.names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(
                    f"{frame.source}: {frame.names.count(twice)} columns are called {twice!r}; they are "
                    "found by their names: give each its own"
                )

    def _describe(
        self, frame: Frame, j: int, column: Column, rows: np.ndarray, category: bool
    ) -> dict[str, Any] | None:
        """What a column is; None: it is left out."""
        title = f"column {frame.title(j)}"
        name = str(j) if frame.names is None else short(frame.names[j])
        frame.check_values(j)
        if self.missing == "refuse" and not column.missing.all():
            self._refuse(frame, j, column, trained=False)
        present = rows[~column.missing[rows]]
        if not present.size:
            self.notes.append(f"{title} is empty: left out")
            return None
        if not category and column.numbers is not None:
            values = column.numbers
            huge = np.flatnonzero(np.abs(values) > LARGEST)
            if huge.size:
                raise frame.fault(int(huge[0]), j, "is too large a number")
            if _INDEX.fullmatch(column.name) and frame.names is not None and is_numbering(values):
                how = "counts" if is_counting(values) else "numbers"
                self.notes.append(f"{title} {how} the rows: left out")
                return None
            if values[present].min() == values[present].max() and not column.missing[rows].any():
                same = len(set(column.texts[present].tolist())) == 1 or abs(values[present][0]) < 2**53
                how = "" if same else f" to the 16 digits of a number (--categories {name} takes names)"
                self.notes.append(f"{title} is {values[present][0]:g} everywhere{how}: left out")
                return None
            doubt = doubt_of(values[present])
            if doubt:
                self.notes.append(f"{title}: {doubt}")
            code = first_code(column.texts) if (values[present] == np.rint(values[present])).all() else None
            if code is not None:
                self.notes.append(
                    f"{title}: {code} begins with a zero, as codes do, and is taken for the number "
                    f"{float(code):g}; --categories {name} takes all as names"
                )
            return self._filled({"kind": "number"}, values[present], column.missing)
        texts = column.texts
        if all(value == texts[present[0]] for value in texts[present]) and not column.missing[rows].any():
            self.notes.append(f"{title} is {shown(texts[present[0]])} everywhere: left out")
            return None
        known = texts[~column.missing].tolist()
        if not category:
            words = {value.lower() for value in known}
            mixed = are_truths(words) and 2 * sum(map(is_number, known)) < len(known)
            if mixed:
                says = [[repr(w) for w in sorted({*known}) if w.lower() in of] for of in (TRUE, FALSE)]
                self.notes.append(
                    f"{title}: {', '.join(says[0])} are taken for true, {', '.join(says[1])} for false"
                    f"{', a missing one for half' if column.missing.any() else ''}; --categories "
                    f"{name} keeps them apart"
                )
                return {"kind": "bool", "values": sorted(words)}
            if any(words <= pair for pair in _BOOLEANS) and len(words) == 2:
                if column.missing.any():  # as a text: a missing one is a third value
                    return {"kind": "onehot", "values": ["", *sorted(set(known))]}
                return {"kind": "bool", "values": sorted(words)}
            form = form_of(known)
            days = None if form is None else days_of(known, form)
            if days is not None:
                kept = np.full(len(texts), np.nan)
                kept[~column.missing] = days
                form_found = {"zone": is_zoned(known[0])} if form == "date" else {"form": form}
                found = {"kind": "date", **form_found}
                return self._filled(found, kept[present], column.missing)
            refuse_mixture(frame, j, column)
        names = sorted({_category(value) for value in texts[present]})
        self.notes += [
            f"{title}: categories {a!r} and {b!r} differ in case only, and count as two"
            for a, b in alike(names)
        ]
        different = len({_category(value) for value in known})
        if different > _MANY or different > max(20, len(known) // 2):
            if self.text == "ask" and not category:
                return {"kind": "many"}
            if self.text == "hash":
                return {"kind": "hash"}
            if self.text == "embed":
                return {"kind": "embed", "values": [*([""] if column.missing[rows].any() else []), *names]}
        return {"kind": "onehot", "values": [*([""] if column.missing[rows].any() else []), *names]}

    def _filled(self, found: dict[str, Any], values: np.ndarray, missing: np.ndarray) -> dict[str, Any]:
        fill = float(np.median(values) if self.missing == "median" else values.mean())
        return {**found, "fill": fill, "indicator": bool(self.missing == "indicator" and missing.any())}

    def _refuse(self, frame: Frame, j: int, column: Column, trained: bool) -> None:
        gone = np.flatnonzero(column.missing)
        if gone.size:
            policies = "|".join(POLICIES[1:])
            if not trained:
                advice = f"fill it, or choose --missing {policies}"
            elif self.missing == "drop":
                advice = "the model was trained without such rows: fill it, or leave out the row"
            else:
                rules = policies.replace("|drop", "")
                advice = (
                    "the model was trained without a rule for missing values: fill it, or train with "
                    f"--missing {rules}"
                )
            what = f"says that the value is missing, as {gone.size} do in this column: {advice}"
            raise frame.fault(int(gone[0]), j, what)

    def complete(self, x: Any) -> np.ndarray:
        """Which rows have a value in every column that is used, (n,) bool."""
        frame = as_frame(x)
        found = np.ones(len(frame), dtype=bool)
        for _, column in self._found(frame):
            found &= ~column.missing
        return found

    def transform(self, x: Any) -> Array:
        """The features, (n, features) float32.

        Raises:
            RuntimeError: `fit` has not been called.
            ValueError: a column is missing, or a field is not as in the training set, by line and column.

        Warns:
            UserWarning: categories that were not in the training set.
        """
        self.state_dict()
        return self.scaled(self._raw(as_frame(x)))

    def features_of(self, frame: Frame) -> np.ndarray:
        """As `transform`, for a part of the table that was fitted: unknown categories are not said again."""
        return self.scaled(self._raw(frame, learning=True))

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Features with numbers as they are in the table, (n, features) float64, standardised to float32."""
        state = self.state_dict()
        return ((raw - state["mean"]) / state["std"]).astype(np.float32)

    @property
    def numbered(self) -> dict[str, list[str]]:
        """The values of columns whose feature is a number of one, from 1."""
        return {_title(column): column["values"] for column in self.columns if column["kind"] == "embed"}

    def embedding(self) -> tuple[list[int], list[int], list[int]]:
        """What `xpnet.nn.CategoryEmbedding` needs to follow: places, counts and lengths of vectors.

        The length is 1.6 n^0.56 for n categories, 50 at most.

        >>> from xpnet.data import Columns
        >>> towns = {"town": [f"town {i}" for i in range(200)], "size": range(200)}
        >>> Columns(text="embed").fit(towns).embedding()
        ([0], [201], [31])
        """
        places, counts, at = [], [], 0
        for column in self.columns:
            if column["kind"] == "embed":
                places.append(at)
                counts.append(len(column["values"]) + 1)
            at += self._size(column)
        return places, counts, [min(50, round(1.6 * (n - 1) ** 0.56)) for n in counts]

    @property
    def scaling(self) -> Standardize:
        """What `scaled` does, as the preprocessing of samples that are `features` already: for ONNX."""
        found = Standardize()
        found.load_state_dict(self.state_dict())
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        super().load_state_dict(state)
        size = sum(map(self._size, self.columns))
        if self.mean is None or self.std is None or self.mean.shape != (size,) or self.std.shape != (size,):
            raise ValueError(f"Columns: {size} features, and statistics of another number")

    def _found(self, frame: Frame) -> list[tuple[int, Column]]:
        """The columns that are used, by name or place.

        Raises:
            ValueError: one is not there.
        """
        if frame.names is not None and any(column["name"] for column in self.columns):
            names = [column["name"] for column in self.columns]
            gone = [name for name in names if name not in frame.names]
            if gone:
                near = difflib.get_close_matches(gone[0], frame.names, 1)
                hint = (
                    f"; is it {shown(near[0])}?"
                    if near
                    else f": columns are {', '.join(map(short, frame.names[:9]))}"
                )
                more = f", nor {len(gone) - 1} others" if len(gone) > 1 else ""
                raise frame.wrong(f"no column {shown(gone[0])}{more}{hint}{frame.undivided()}")
            twice = next((name for name in names if frame.names.count(name) > 1), None)
            if twice is not None:
                raise frame.wrong(
                    f"{frame.names.count(twice)} columns are called {twice!r}: leave one of them"
                )
            places = [frame.index(name) for name in names]
        else:
            shift = self.target is not None and len(frame.columns) == self.width + 1
            if len(frame.columns) != self.width and not shift:
                found = f"{len(frame.columns)} columns, expected {self.width} as in training"
                raise frame.wrong(found + frame.undivided())
            goal = self.target["index"] if shift and self.target is not None else self.width
            places = [column["index"] + (column["index"] >= goal) for column in self.columns]
        return [(place, frame.columns[place]) for place in places]

    @staticmethod
    def _size(column: Mapping[str, Any]) -> int:
        sizes = {"onehot": len(column.get("values", ())), "hash": _BUCKETS}
        return sizes.get(column["kind"], 1) + bool(column.get("indicator"))

    def _raw(self, frame: Frame, learning: bool = False) -> np.ndarray:
        """The features, not standardised, float64."""
        raw = np.zeros((len(frame), sum(map(self._size, self.columns))))
        at = 0
        for (j, column), known in zip(self._found(frame), self.columns, strict=True):
            size = self._size(known)
            block = raw[:, at : at + size]
            at += size
            if self.missing in ("refuse", "drop") and not (learning and self.missing == "drop"):
                self._refuse(frame, j, column, trained=not learning)
            if known["kind"] in ("number", "date"):
                values = self._values(frame, j, column, known)
                block[:, 0] = np.where(column.missing, known["fill"], values)
                if known.get("indicator"):
                    block[:, 1] = column.missing
            elif known["kind"] == "bool":
                block[:, 0] = self._booleans(frame, j, column, known["values"])
                if column.missing.any() and not learning:
                    self._say_missing(frame, j, column, "half true")
            elif known["kind"] == "embed":
                block[:, 0] = self._codes(frame, j, column, known["values"], learning) + 1
            elif known["kind"] == "hash":
                for i, value in enumerate(column.texts):
                    code = zlib.crc32(_category(value).encode())
                    block[i, code % _BUCKETS] = 1.0 if code & 0x80000000 else -1.0
            else:
                codes = self._codes(frame, j, column, known["values"], learning)
                rows = np.flatnonzero(codes >= 0)
                block[rows, codes[rows]] = 1.0
        return raw

    def _values(self, frame: Frame, j: int, column: Column, known: Mapping[str, Any]) -> np.ndarray:
        """Numbers, or days since 1970."""
        if known["kind"] == "date":
            return days_as_known(frame, j, column, known)
        if column.numbers is None:
            odd = next(i for i in np.flatnonzero(~column.missing) if not is_number(column.texts[i]))
            raise frame.fault(int(odd), j, "is not a number, as in the training set")
        huge = np.flatnonzero(np.abs(column.numbers) > LARGEST)
        if huge.size:
            raise frame.fault(int(huge[0]), j, "is too large a number")
        return column.numbers

    def _say_missing(self, frame: Frame, j: int, column: Column, counted: str) -> None:
        """Where the training set had a value in every row, there is none, and no number to put there."""
        warnings.warn(
            f"{printable(frame.source)}: column {frame.title(j)} has no value in "
            f"{np.count_nonzero(column.missing)} rows, and had one in all of the training set: it counts as "
            f"{counted}",
            stacklevel=6,
        )

    def _booleans(self, frame: Frame, j: int, column: Column, words: list[str]) -> np.ndarray:
        known = {word: float(word in TRUE) for word in (*words, "true", "false", "1", "0", "1.0", "0.0")}
        known["1.0"] = 1.0
        values = np.zeros(len(frame))
        for i, text in enumerate(column.texts):
            if text.lower() not in known and not column.missing[i]:
                raise frame.fault(i, j, f"is neither {' nor '.join(words)}, as in the training set")
            values[i] = known.get(text.lower(), 0.5)
        return values

    def _codes(self, frame: Frame, j: int, column: Column, values: list[str], learning: bool) -> np.ndarray:
        """The number of each row's category; -1 for one that was not in the training set."""
        codes = np.full(len(frame), -1)
        place = {value: k for k, value in enumerate(values)}
        unknown: dict[str, int] = {}
        for i, text in enumerate(column.texts):
            value = "" if column.missing[i] else _category(text)
            if value in place:
                codes[i] = place[value]
            elif value:
                unknown[value] = unknown.get(value, 0) + 1
        if column.missing.any() and "" not in place and not learning:
            self._say_missing(frame, j, column, f"none of the {len(values)} known values")
        if unknown and not learning:
            first = next(iter(unknown))
            rows = sum(unknown.values())
            warnings.warn(
                f"{printable(frame.source)}: column {frame.title(j)} has {len(unknown)} values that were not "
                f"in the training set, in {rows} rows, such as {shown(first)}: they count as none of "
                f"the {len(values)} known ones",
                stacklevel=5,
            )
        return codes


def _category(text: str) -> str:
    """The name of a category: 1, 1.0 and +1 are one, 001 is another."""
    key = label_key(text)
    return str(key) if isinstance(key, int) else text


def _title(column: Mapping[str, Any]) -> str:
    return column["name"] or str(column["index"])
