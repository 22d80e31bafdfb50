"""`xpnet predict`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import to_numpy
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.model import load_model
from xpnet.cli.options import add_data
from xpnet.cli.settings import DataSettings
from xpnet.core.reading import printable, read_file, reading
from xpnet.data.dataset import check_finite
from xpnet.data.folder import SUFFIXES, decode
from xpnet.data.npy import read_npy, read_npz
from xpnet.data.table import read_table
from xpnet.io.locks import check_apart
from xpnet.io.writing import check_writable
from xpnet.train import predict

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Settings(DataSettings):
    """The options of `xpnet predict`."""

    model: str
    input: str | None = None
    output: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet predict`."""
    parser.description = (
        "Apply a saved network to new samples, or to the test set of the data it was trained on."
    )
    parser.add_argument("model", metavar="FILE", help="a model that `xpnet train` saved")
    add_data(parser)
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="samples as the training data are scaled: .npy, .npz, or .csv, one a line; or a picture",
    )
    parser.add_argument("--output", metavar="FILE", help="write every prediction as CSV")


def run(settings: Settings) -> int:
    """Load the model and the samples, print a label and its probability for each; the exit code."""
    with bad_input():
        if settings.output is not None:
            read = (settings.model, settings.input, settings.path)
            check_apart([settings.output], [path for path in read if path is not None])
            check_writable(settings.output)
        choose_backend(settings)
        model, scaler, metadata = load_model(settings.model)
        labels = None
        if settings.input is not None:
            if settings.data or settings.path:
                raise BadInputError("give --input FILE, or --data and --path, not both")
            picture = metadata.get("picture", metadata["shape"])
            x, source = read_samples(settings.input, metadata["shape"], picture), settings.input
        else:
            name = choose(settings, metadata["data"])
            *_, test = SOURCES[name].load(settings.path, metadata.get("size"))
            labels, source = to_numpy(test.y), f"the {name} test set"
            x = _fit(to_numpy(test.x), metadata["shape"], source)
        classes = metadata["model"]["classes"]
        if labels is not None and labels.max() >= classes:
            raise ValueError(f"{source} has a class {labels.max()}, the model only those below {classes}")
        with reading(settings.model, "a model for these samples"):
            scores = predict(model, scaler.transform(x))
            if tuple(scores.shape) != (len(x), classes):
                raise ValueError(f"it gives {tuple(scores.shape)}, expected {(len(x), classes)}")
            probabilities = to_numpy(F.softmax(scores))
    names = np.array(metadata["class_names"] or [str(k) for k in range(classes)])
    predicted = probabilities.argmax(axis=1)
    certainty = probabilities.max(axis=1)

    shown = [printable(name) for name in names]
    width = max(10, *map(len, shown))
    if settings.output:
        header, columns = (
            ["sample", "prediction", "probability"],
            [range(len(x)), names[predicted], certainty],
        )
        if labels is not None:
            header, columns = [*header, "label"], [*columns, names[labels]]
        with bad_input():
            output.write_csv(settings.output, header, zip(*columns, strict=True))
    print(f"{len(x)} samples from {printable(source)}")
    if labels is not None:
        print(f"accuracy {np.mean(predicted == labels):.2%}")
    print(f"sample  {'prediction':>{width}}  probability" + ("  label" if labels is not None else ""))
    for i in range(min(len(x), _SHOWN)):
        line = f"{i:6d}  {shown[predicted[i]]:>{width}}  {certainty[i]:11.4f}"
        print(line + (f"  {shown[labels[i]]:>5}" if labels is not None else ""))
    if len(x) > _SHOWN:
        print(
            f"... {len(x) - _SHOWN} more" + ("" if settings.output else "; --output FILE.csv writes them all")
        )
    if settings.output:
        print(f"saved the predictions in {settings.output}")
    return OK


def read_samples(path: str, shape: Sequence[int], picture: Sequence[int] | None = None) -> np.ndarray:
    """Samples from a file, (n, *shape) float32.

    Args:
        path: .npy, .npz (the array `x`, or the only one), or text with a sample a line, as `load_csv` reads
            it, split by commas, semicolons or tabs; or one picture.
        shape: of a sample, which the values are given.
        picture: (C, H, W), if a flat sample is one; default: `shape`.

    Raises:
        ValueError: another format, NaN, or samples of another size.
        OSError: the file cannot be read.
    """
    with reading(path, "a .npy, .npz or .csv file, or a picture,"):
        array: Any = _read(path, picture or shape)
        if array.dtype.kind not in "iufb":
            raise ValueError(f"{path}: holds {array.dtype}, expected numbers")
        if array.ndim > 0 and array.size == math.prod(shape):  # one sample, whatever its shape
            array = array[None]
        if array.ndim == 0 or array.size == 0:
            raise ValueError(f"{path}: holds no samples: its shape is {array.shape}")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            array = _fit(array.astype(np.float32), shape, path)
        check_finite(array, path)
        return array


def _read(path: str, shape: Sequence[int]) -> np.ndarray:
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        if len(shape) != 3:
            raise ValueError("the model takes flat samples, not pictures")
        side = shape[1] if shape[1] == shape[2] else None
        return decode(read_file(path), side, "L" if shape[0] == 1 else "RGB", path)
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".npz":
        return read_npz(path, _samples)[0]
    table = read_table(path, delimiter=None)
    return table.numbers(range(len(table.rows[0])))


def _samples(names: list[str]) -> list[str]:
    """The array of samples among those of an .npz file."""
    if "x" not in names and len(names) != 1:
        raise ValueError(f"it has the arrays {', '.join(names)}, and none is called x")
    return ["x" if "x" in names else names[0]]


def _fit(x: np.ndarray, shape: Sequence[int], source: str) -> np.ndarray:
    """The samples in the shape that the model takes."""
    found, wanted = math.prod(x.shape[1:]), math.prod(shape)
    if found != wanted:
        raise ValueError(f"{source}: {found} values a sample, the model takes {wanted}")
    return x.reshape(len(x), *shape)
