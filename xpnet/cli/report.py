"""`xpnet report`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import to_numpy
from xpnet.cli.data import choose_backend
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.measures import coverage, coverage_line
from xpnet.cli.model import check_kind
from xpnet.cli.options import add_backend, add_reading
from xpnet.cli.run_folder import read_model
from xpnet.cli.samples import Samples, columns_of, read_input, shape_of
from xpnet.cli.settings import ReadingSettings
from xpnet.core.reading import printable, reading
from xpnet.io.intervals import usual_level
from xpnet.io.locks import check_apart
from xpnet.io.model import Saved
from xpnet.report.model_page import write_model_page
from xpnet.report.report import check_report


@dataclass(frozen=True, kw_only=True)
class Settings(ReadingSettings):
    """The options of `xpnet report`."""

    model: str
    samples: str | None = None
    output: str | None = None
    skip_damaged: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet report`."""
    parser.description = (
        "Write a page about a saved network: what it is, how it was trained, and, given samples whose labels "
        "are known, how good it is on them."
    )
    parser.add_argument("model", metavar="FILE", help="a model that `xpnet train` or xpnet.save saved")
    parser.add_argument(
        "samples",
        nargs="?",
        metavar="SAMPLES",
        help="a table with the target, .npz with x and y, or a folder of pictures in class folders",
    )
    parser.add_argument("--output", metavar="FILE", help="the page (default: MODEL.html)")
    parser.add_argument("--skip-damaged", action="store_true", help="leave out pictures that cannot be read")
    add_backend(parser)
    add_reading(parser)


def run(settings: Settings) -> int:
    """Write the page; the exit code."""
    output = settings.output or str(Path(settings.model).with_suffix(".html"))
    with bad_input():
        if Path(output).suffix.lower() not in (".html", ".htm"):
            raise BadInputError(f"--output {output}: expected a name that ends in .html")
        check_apart([output], [path for path in (settings.model, settings.samples) if path is not None])
        check_report(output)
        choose_backend(settings)
        saved = read_model(settings.model)
        check_kind(saved, settings.model)
        with reading(settings.model, "a model"):
            shape, names = shape_of(saved), saved.class_names
        result: dict[str, Any] = {}
        if settings.samples is not None:
            found = read_input(settings.samples, saved, settings, settings.skip_damaged)
            if found.labels is None:
                raise BadInputError(f"{settings.samples}: no labels to compare with (xpnet predict)")
            found, known = found.of_labelled()
            scores = to_numpy(saved.predict(found.x))
            if saved.task != "regression" and scores.shape[1] == 1:  # one score is that of the second class
                scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
            if saved.task == "regression":
                labels = known.astype(np.float64)
            else:
                labels = known
                if labels.dtype.kind == "f" or labels.min() < 0 or labels.max() >= scores.shape[1]:
                    raise BadInputError(f"{settings.samples}: labels that are none of the model's classes")
            intervals: Any = saved.metadata.get("intervals")
            level = usual_level(intervals)
            if level is not None and saved.task == "regression":
                ends = saved.predict_interval(found.x, level)
                result["intervals"] = coverage_line(coverage(labels, *ends, level), intervals)
            result |= {"scores": scores, "targets": labels, "pictures": _pictures(saved, found)}
            for note in found.notes:
                print(f"note: {printable(note)}")
        columns = columns_of(saved)
        write_model_page(
            output,
            saved.model,
            saved.metadata,
            title=Path(settings.model).name,
            shape=shape,
            class_names=names,
            features=None if columns is None else columns.features,
            preprocessing=saved.preprocessing,
            source=settings.samples,
            **result,
        )
    print(f"saved the page in {output}")
    return OK


def _pictures(saved: Saved, found: Samples) -> np.ndarray | None:
    """The samples as they can be shown, if they are pictures."""
    shape = saved.metadata.get("picture", saved.metadata.get("shape"))
    if not isinstance(shape, list) or len(shape) != 3 or shape[0] not in (1, 3):
        return None
    x = np.asarray(found.x, dtype=np.float32).reshape(-1, *shape)
    return x / max(float(x.max()), 1.0)
