"""`xpnet export`."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from xpnet import to_numpy
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.cli.options import sizes
from xpnet.cli.run_folder import read_model
from xpnet.cli.samples import columns_of, shape_of
from xpnet.cli.settings import Settings as Base
from xpnet.core.reading import printable, reading
from xpnet.data import MinMax, Standardize
from xpnet.io.locks import check_apart
from xpnet.io.model import Saved
from xpnet.nn.inference import in_batches, outputs
from xpnet.nn.language import LanguageModel

_TOLERANCE = 1e-4  # of deep networks in float32, whose sums are taken in another order


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """The options of `xpnet export`."""

    model: str
    output: str
    probabilities: bool = False
    shape: tuple[int, ...] | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet export`."""
    parser.description = (
        "Write a saved network, its preprocessing included, as an ONNX file, for onnxruntime and "
        "others; it takes samples as the training data are scaled."
    )
    parser.add_argument("model", metavar="FILE", help="a model that `xpnet train` or xpnet.save saved")
    parser.add_argument("output", metavar="ONNX", help="the file to write")
    parser.add_argument(
        "--probabilities", action="store_true", help="end with a softmax (default: the scores)"
    )
    parser.add_argument("--shape", type=sizes, metavar="N,N", help="of a sample (default: as the file says)")


def run(settings: Settings) -> int:
    """Write the ONNX file, and where there is onnxruntime compare its output with xpnet's; the exit code."""
    with bad_input():
        check_apart([settings.output], [settings.model])
        if not settings.output.lower().endswith(".onnx"):
            raise BadInputError(f"{settings.output}: the name of an ONNX file ends in .onnx")
        saved = read_model(settings.model)
        with reading(settings.model, "a model"):
            shape = settings.shape or shape_of(saved)
        if shape is None:
            raise BadInputError(f"{settings.model} does not say the shape of a sample: add --shape 3,32,32")
        if settings.probabilities and saved.task == "regression":
            raise BadInputError("--probabilities is for classes; the model predicts a number")
        from xpnet.io import onnx
        from xpnet.io.onnx.preprocessing import needs_float64

        names, columns, text = saved.class_names, columns_of(saved), saved.task == "text"
        features = None if columns is None else columns.features
        numbered = {} if columns is None else columns.numbered
        said = {"class_names": names, "features": features, "categories": numbered}
        scaling = None if text else saved.preprocessing if columns is None else columns.scaling
        onnx.export(
            saved.model,
            settings.output,
            shape,
            scaling,
            probabilities=settings.probabilities,
            metadata={key: json.dumps(value) for key, value in said.items() if value},
        )
    from onnx import load_model

    result = ", ".join(output.name for output in load_model(settings.output).graph.output)
    with_preprocessing = "" if saved.preprocessing is None or text else ", preprocessing included"
    print(f"saved {settings.output}: x (N, {', '.join(map(str, shape))}) -> {result}{with_preprocessing}")
    if columns is not None:
        print(f"x are the features {', '.join(map(printable, columns.features))}; numbers as in the table")
        for name, values in numbered.items():
            first = f"1 is {printable(values[0])}, and so on, as the file's `categories` say"
            print(f"{printable(name)}: {first}; 0 is any other")
    if needs_float64(scaling):
        print("x is float64, tensor(double): float32 would lose digits of features that are far from 0")
    if find_spec("onnxruntime") is None:
        return OK
    difference = _difference(settings.output, saved, shape, settings.probabilities)
    print(f"in onnxruntime it gives what xpnet gives, to {difference:.1e}")
    return OK if difference <= _TOLERANCE else FAILED


def _difference(path: str, saved: Saved, shape: Any, probabilities: bool) -> float:
    """The largest difference over random samples, relative to the largest output.

    They are scaled as the training data are, and float64, whatever the graph takes.
    """
    import onnxruntime

    from xpnet.functional import softmax

    rng = np.random.default_rng(0)
    columns = columns_of(saved)  # of a table, x are its features, which need no table any more
    x: np.ndarray = rng.normal(size=(16, *shape))
    if isinstance(saved.model, LanguageModel):
        samples = x = rng.integers(0, saved.model.vocab_size, (4, *shape))
    else:
        scaling = saved.preprocessing if columns is None else columns.scaling
        first = getattr(scaling, "steps", [scaling])[0]
        if isinstance(first, Standardize | MinMax):
            x = first.inverse(x)
        samples = to_numpy(saved.samples(x) if columns is None else columns.scaled(x))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = {"tensor(float)": np.float32, "tensor(int64)": np.int64}.get(
        session.get_inputs()[0].type, x.dtype
    )
    arrays = map(to_numpy, saved.model.state_dict().values())
    weights = next((a.dtype for a in arrays if a.dtype.kind == "f"), np.dtype(np.float32))
    scores = outputs(
        saved.model, in_batches(samples if samples.dtype.kind == "i" else samples.astype(weights))
    )
    found = session.run(None, {"x": x.astype(taken)})
    if probabilities:
        scores = softmax(scores)
    pairs = zip(found, map(to_numpy, scores if isinstance(scores, tuple) else (scores,)), strict=True)
    return max(float(np.abs(a - b).max() / max(1.0, float(np.abs(b).max()))) for a, b in pairs)
