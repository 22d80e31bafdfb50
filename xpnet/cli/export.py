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
from xpnet.cli.settings import Settings as Base
from xpnet.io.locks import check_apart
from xpnet.io.model import Saved, load

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
        saved = load(settings.model)
        shape = settings.shape or saved.metadata.get("shape")
        if shape is None:
            raise BadInputError(f"{settings.model} does not say the shape of a sample: add --shape 3,32,32")
        from xpnet.io import onnx

        names = saved.metadata.get("class_names")
        onnx.export(
            saved.model,
            settings.output,
            shape,
            saved.preprocessing,
            probabilities=settings.probabilities,
            metadata={"class_names": json.dumps(names)} if names else None,
        )
    result = "probabilities" if settings.probabilities else "output"
    with_preprocessing = "" if saved.preprocessing is None else ", preprocessing included"
    print(f"saved {settings.output}: x (N, {', '.join(map(str, shape))}) -> {result}{with_preprocessing}")
    if find_spec("onnxruntime") is None:
        return OK
    difference = _difference(settings.output, saved, shape, settings.probabilities)
    print(f"in onnxruntime it gives what xpnet gives, to {difference:.1e}")
    return OK if difference <= _TOLERANCE else FAILED


def _difference(path: str, saved: Saved, shape: Any, probabilities: bool) -> float:
    """The largest difference over random samples, relative to the largest output."""
    import onnxruntime

    from xpnet.functional import softmax

    x = np.random.default_rng(0).normal(size=(16, *shape)).astype(np.float32)
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    scores = saved.predict(x)
    expected = to_numpy(softmax(scores) if probabilities else scores)
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
