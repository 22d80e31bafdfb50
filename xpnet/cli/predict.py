"""`xpnet predict`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import to_numpy
from xpnet.cli import output
from xpnet.cli.data import SOURCES, choose, choose_backend
from xpnet.cli.errors import OK, BadInputError, bad_input
from xpnet.cli.model import load_model
from xpnet.data.dataset import check_finite
from xpnet.train import predict as apply
from xpnet.train.checkpoint import check_writable

_SHOWN = 10


def predict(options: argparse.Namespace) -> int:
    """Load the model and the samples, print a label and its probability for each; the exit code."""
    with bad_input():
        if options.output is not None:
            check_writable(options.output)
        choose_backend(options)
        model, scaler, facts = load_model(options.model)
        labels = None
        if options.input is not None:
            if options.data or options.path:
                raise BadInputError("give --input FILE, or --data and --path, not both")
            x, source = read_samples(options.input, facts["model"]["inputs"]), options.input
        else:
            name = choose(options, facts["data"])
            _, test = SOURCES[name].load(options.path)
            x, labels, source = to_numpy(test.x), to_numpy(test.y), f"the {name} test set"
            _check_width(x, facts["model"]["inputs"], source)
        scores = apply(model, scaler.transform(x))
    probabilities = to_numpy(F.softmax(scores))
    predicted = probabilities.argmax(axis=1)
    certainty = probabilities.max(axis=1)

    print(f"{len(x)} samples from {source}")
    if labels is not None:
        print(f"accuracy {np.mean(predicted == labels):.2%}")
    print("sample  prediction  probability" + ("  label" if labels is not None else ""))
    for i in range(min(len(x), _SHOWN)):
        line = f"{i:6d}  {predicted[i]:10d}  {certainty[i]:11.4f}"
        print(line + (f"  {labels[i]:5d}" if labels is not None else ""))
    if len(x) > _SHOWN:
        print(
            f"... {len(x) - _SHOWN} more" + ("" if options.output else "; --output FILE.csv writes them all")
        )
    if options.output:
        header, columns = ["sample", "prediction", "probability"], [range(len(x)), predicted, certainty]
        if labels is not None:
            header, columns = [*header, "label"], [*columns, labels]
        with bad_input():
            output.write_csv(options.output, header, zip(*columns, strict=True))
        print(f"saved the predictions in {options.output}")
    return OK


def read_samples(path: str, width: int) -> np.ndarray:
    """Samples from a file, (n, width) float32.

    Args:
        path: .npy, .npz (the array `x`, or the only one), or text with a sample a line, split by commas.
        width: values in a sample; pictures are flattened.

    Raises:
        ValueError: another format, NaN, or samples of another size.
        OSError: the file cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        array: Any = _read(path)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path}: cannot be read as samples ({error}); expected .npy, .npz or .csv"
        ) from None
    if array.dtype.kind not in "iufb":
        raise ValueError(f"{path}: holds {array.dtype}, expected numbers")
    if array.ndim > 0 and array.size == width:  # one sample, whatever its shape
        array = array.reshape(1, width)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{path}: holds no samples: its shape is {array.shape}")
    array = array.reshape(len(array), -1).astype(np.float32)
    _check_width(array, width, path)
    check_finite(array, path)
    return array


def _read(path: str) -> np.ndarray:
    if path.endswith((".npy", ".npz")):
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            name = "x" if "x" in content.files else content.files[0] if len(content.files) == 1 else None
            if name is None:
                raise ValueError(f"it has the arrays {', '.join(content.files)}, and none is called x")
            return content[name]
    return np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)


def _check_width(x: np.ndarray, width: int, source: str) -> None:
    if x.shape[1] != width:
        raise ValueError(f"{source}: {x.shape[1]} values a sample, the model takes {width}")
