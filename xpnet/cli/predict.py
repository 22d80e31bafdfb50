"""`xpnet predict`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import to_numpy
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.measures import coverage, coverage_line, measures_line, regression_measures
from xpnet.cli.model import check_kind
from xpnet.cli.options import add_data, add_reading, count, probability
from xpnet.cli.run_folder import read_model
from xpnet.cli.samples import Samples, fit, read_input, shape_of
from xpnet.cli.samples import read_samples as read_samples  # its name before it moved
from xpnet.cli.settings import DataSettings
from xpnet.cli.table import refuse_reading
from xpnet.core.reading import UnreadableFileError, printable, reading
from xpnet.data.frame import COLUMNAR
from xpnet.data.picture import SUFFIXES
from xpnet.io.intervals import around, calibration, usual_level
from xpnet.io.locks import check_apart
from xpnet.io.model import Saved, probabilities_of
from xpnet.io.writing import check_writable

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Settings(DataSettings):
    """The options of `xpnet predict`."""

    model: str
    samples: str | None = None
    input: str | None = None
    output: str | None = None
    top: int = 1
    probabilities: bool = False
    skip_damaged: bool = False
    interval: float | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet predict`."""
    parser.description = (
        "Apply a saved network to new samples, or to the test set of the data it was trained on. Samples are "
        "scaled as the training data: a table (.csv, .tsv, .parquet, .feather), .npy, .npz, a picture, or a "
        "folder or archive of pictures."
    )
    parser.add_argument("model", metavar="FILE", help="a model that `xpnet train` or xpnet.save saved")
    parser.add_argument("samples", nargs="?", metavar="SAMPLES", help="the samples: the same as --input")
    add_data(parser)
    parser.add_argument("--input", metavar="FILE", help="the samples")
    parser.add_argument("--output", metavar="FILE", help="write every prediction as CSV")
    parser.add_argument("--top", type=count, metavar="K", help="the K most probable classes (default: 1)")
    parser.add_argument(
        "--probabilities", action="store_true", help="in --output, the probability of every class, too"
    )
    parser.add_argument(
        "--interval",
        type=probability,
        metavar="P",
        help="of a model of --ensemble: how often the true number is to be inside (default: 0.9)",
    )
    parser.add_argument("--skip-damaged", action="store_true", help="leave out pictures that cannot be read")
    add_reading(parser)


def run(settings: Settings) -> int:
    """Load the model and the samples, print a label and its probability for each; the exit code."""
    with bad_input():
        if settings.samples is not None and settings.input is not None:
            raise BadInputError(f"samples are given twice: {settings.samples}, --input {settings.input}")
        asked = settings.samples if settings.samples is not None else settings.input
        if settings.output is not None:
            if Path(settings.output).suffix.lower() not in ("", ".csv", ".txt"):
                raise BadInputError(f"--output {settings.output}: expected a name that ends in .csv")
            read = (settings.model, asked, settings.path)
            check_apart([settings.output], [path for path in read if path is not None])
            check_writable(settings.output)
        choose_backend(settings)
        saved = _model(settings.model)
        check_kind(saved, settings.model)
        with reading(settings.model, "a model for prediction"):
            shape_of(saved), saved.class_names, usual_level(saved.metadata.get("intervals"))
        level = _level(saved, settings.interval)
        for option in ("top", "probabilities"):
            if saved.task == "regression" and getattr(settings, option) != getattr(Settings, option):
                raise BadInputError(f"--{option} is for classes; the model predicts a number")
        if settings.probabilities and not settings.output:
            raise BadInputError("--probabilities is for --output FILE.csv, which holds them")
        if asked is not None:
            if settings.data or settings.path:
                raise BadInputError("give --input FILE, or --data and --path, not both")
            found, source = read_input(asked, saved, settings, settings.skip_damaged), asked
        else:
            refuse_reading(settings, "the test set")
            if settings.skip_damaged:
                raise BadInputError("--skip-damaged is for pictures that are given: leave it out")
            found, source = _test_set(settings, saved)
        with reading(settings.model, "a model for these samples"):
            scores = saved.predict(found.x)
            if scores.shape[0] != len(found.rows):
                raise ValueError(f"it gives {tuple(scores.shape)} for {len(found.rows)} samples")
            if saved.task == "regression" and scores.shape[1:] != (1,):
                raise UnreadableFileError(
                    f"{settings.model}: it predicts {tuple(scores.shape[1:])} numbers a sample, this command "
                    "one: in Python, xpnet.load(FILE).predict(x) gives all"
                )
            if saved.task == "regression":
                intervals = saved.metadata.get("intervals")
                level = settings.interval or usual_level(intervals)
                ends = None if level is None else saved.predict_interval(found.x, level)
                result: _Numbers | _Classes = _Numbers(to_numpy(scores)[:, 0], found, ends, level, intervals)
            elif settings.interval is not None:
                raise BadInputError(
                    "--interval is for a number that is predicted; the model predicts classes"
                )
            else:
                result = _Classes(saved, probabilities_of(scores), found, settings, source)
    for note in found.notes:
        print(f"note: {printable(note)}")
    if settings.output:
        with bad_input():
            header, columns = result.table()
            formula = output.write_csv(settings.output, header, zip(*columns, strict=True))
        if formula is not None:
            print(
                f"note: {printable(formula)!r} and the like have an apostrophe before them in "
                f"{settings.output}: a spreadsheet would compute them"
            )
    print(f"{len(found.rows)} samples from {printable(source)}")
    result.show()
    if len(found.rows) > _SHOWN:
        more = f"... {len(found.rows) - _SHOWN} more"
        print(more + ("" if settings.output else "; --output FILE.csv writes them all"))
    if settings.output:
        print(f"saved the predictions in {settings.output}")
    return OK


def _model(path: str) -> Saved:
    """The saved model.

    Raises:
        BadInputError: it is a file of samples.
    """
    if Path(path).suffix.lower() in (".csv", ".tsv", ".txt", ".gz", *COLUMNAR, *SUFFIXES):
        raise BadInputError(
            f"{path} is no model: the model comes first, as in xpnet predict MODEL.safetensors FILE"
        )
    return read_model(path)


def _level(saved: Saved, asked: float | None) -> float | None:
    """That of the intervals, if there are such.

    Raises:
        BadInputError: there are none of the level that was asked for.
    """
    if saved.task != "regression":
        if asked is not None:
            raise BadInputError("--interval is for numbers; the model predicts classes")
        return None
    intervals = saved.metadata.get("intervals")
    if asked is not None:
        try:
            around(np.zeros((1, 1)), intervals, asked)
        except (KeyError, TypeError, ValueError) as error:  # the others: of a damaged file
            raise BadInputError(f"--interval {asked:g}: {error}") from error
    return usual_level(intervals) if asked is None else asked


def _test_set(settings: Settings, saved: Saved) -> tuple[Samples, str]:
    """Of the data that the model was trained on."""
    known = saved.metadata.get("data")
    if (known not in SOURCES or known == "table") and not settings.data:
        raise BadInputError(f"give the samples: xpnet predict {settings.model} FILE")
    name = choose(settings, str(known))
    *_, test = SOURCES[name].load(settings.path, saved.metadata.get("size"))
    x = to_numpy(test.x)
    shape = saved.metadata.get("shape")
    x = x if shape is None else fit(x, shape, f"the {name} test set")
    return Samples(x, np.arange(len(x)), None, to_numpy(test.y)), f"the {name} test set"


def _first_columns(found: Samples) -> tuple[list[str], list[Any]]:
    names = (["file"], [found.files]) if found.files is not None else ([], [])
    return ["sample", *names[0]], [found.rows, *names[1]]


def _written(labels: list[Any], found: Samples) -> list[Any]:
    """Labels for a file, with nothing where there is none."""
    known = {*found.labelled.tolist()}
    return [label if i in known else "" for i, label in enumerate(labels)]


class _Numbers:
    """Predicted numbers, to be written and shown."""

    def __init__(
        self,
        values: np.ndarray,
        found: Samples,
        ends: tuple[np.ndarray, np.ndarray] | None,
        level: float | None,
        intervals: Any,
    ) -> None:
        self.values, self.found, self.ends, self.level = values, found, ends, level
        self.intervals = intervals

    def table(self) -> tuple[list[str], list[Any]]:
        """The header and the columns of the file."""
        header, columns = _first_columns(self.found)
        header, columns = [*header, "prediction"], [*columns, self.values.tolist()]
        if self.ends is not None:
            header, columns = [*header, "low", "high"], [*columns, *(end.tolist() for end in self.ends)]
        if self.found.labels is not None:
            header, columns = [*header, "label"], [*columns, _written(self.found.labels.tolist(), self.found)]
        return header, columns

    def show(self) -> None:
        """The first ones."""
        labels = self.found.labels
        if labels is not None:
            known = self.found.labelled
            print(measures_line(regression_measures(labels[known], self.values[known])))
        ends = () if self.ends is None else self.ends
        if self.ends is not None and self.level is not None:
            sure = "" if labels is not None else f" ({calibration(self.intervals, self.level)})"
            print(f"between low and high: the true number, with a probability of {self.level:.0%}{sure}")
            if labels is not None:
                low, high = (end[known] for end in ends)
                print(coverage_line(coverage(labels[known], low, high, self.level), self.intervals))
        header = "".join(f"  {name:>14}" for name in ("low", "high")[: len(ends)])
        print(f"sample  {'prediction':>14}{header}" + (f"  {'label':>14}" if labels is not None else ""))
        for i in range(min(len(self.values), _SHOWN)):
            line = f"{self.found.rows[i]:6d}  {self.values[i]:14.6g}"
            line += "".join(f"  {end[i]:14.6g}" for end in ends)
            print(line + (f"  {labels[i]:14.6g}" if labels is not None and np.isfinite(labels[i]) else ""))


class _Classes:
    """Probabilities of classes, to be written and shown."""

    def __init__(
        self, saved: Saved, probabilities: np.ndarray, found: Samples, settings: Settings, source: str
    ) -> None:
        self.probabilities, self.found, self.settings = probabilities, found, settings
        classes = probabilities.shape[1]
        names = saved.class_names or [str(k) for k in range(classes)]
        if len(names) != classes:
            raise ValueError(f"it has {len(names)} names of classes, and gives {classes} scores")
        if found.labels is not None and found.labels.max() >= classes:
            highest = found.labels.max()
            raise ValueError(f"{source} has a class {highest}, the model only those below {classes}")
        self.names = np.array(names)
        top = min(settings.top, classes)
        self.best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        self.certainty = np.take_along_axis(probabilities, self.best, axis=1)

    def table(self) -> tuple[list[str], list[Any]]:
        """The header and the columns of the file."""
        header, columns = _first_columns(self.found)
        for k in range(self.best.shape[1]):
            end = "" if k == 0 else f" {k + 1}"
            header += [f"prediction{end}", f"probability{end}"]
            columns += [self.names[self.best[:, k]], self.certainty[:, k]]
        if self.found.labels is not None:
            names = _written(self.names[self.found.labels].tolist(), self.found)
            header, columns = [*header, "label"], [*columns, names]
        if self.settings.probabilities:
            header += [f"p({name})" for name in self.names]
            columns += list(self.probabilities.T)
        return header, columns

    def show(self) -> None:
        """The first ones."""
        labels, files = self.found.labels, self.found.files
        shown = [printable(name) for name in self.names]
        width = max(10, *map(len, shown))
        if labels is not None:
            known = self.found.labelled
            print(f"accuracy {np.mean(self.best[known, 0] == labels[known]):.2%}")
        pairs = f"  {'prediction':>{width}}  probability" * self.best.shape[1]
        print(f"sample{pairs}" + ("  label" if labels is not None else "") + ("  file" if files else ""))
        for i in range(min(len(self.found.rows), _SHOWN)):
            line = f"{self.found.rows[i]:6d}"
            for k, certainty in zip(self.best[i], self.certainty[i], strict=True):
                line += f"  {shown[k]:>{width}}  {certainty:11.4f}"
            line += f"  {shown[labels[i]] if labels[i] >= 0 else '':>5}" if labels is not None else ""
            print(line + (f"  {printable(files[i])}" if files else ""))
