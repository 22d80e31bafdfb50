"""`xpnet export`."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from typing import Any

import numpy as np

from xpnet import to_numpy
from xpnet.cli.errors import FAILED, OK, BadInputError, bad_input
from xpnet.io.model import Saved, load

_TOLERANCE = 1e-4  # of deep networks in float32, whose sums are taken in another order


def export(options: argparse.Namespace) -> int:
    """Write the ONNX file, and where there is onnxruntime compare its output with xpnet's; the exit code."""
    with bad_input():
        saved = load(options.model)
        shape = options.shape or saved.facts.get("shape")
        if shape is None:
            raise BadInputError(f"{options.model} does not say the shape of a sample: add --shape 3,32,32")
        from xpnet.io import onnx

        names = saved.facts.get("class_names")
        onnx.export(
            saved.model,
            options.output,
            shape,
            saved.preprocessing,
            probabilities=options.probabilities,
            metadata={"class_names": json.dumps(names)} if names else None,
        )
    result = "probabilities" if options.probabilities else "output"
    with_preprocessing = "" if saved.preprocessing is None else ", preprocessing included"
    print(f"saved {options.output}: x (N, {', '.join(map(str, shape))}) -> {result}{with_preprocessing}")
    if find_spec("onnxruntime") is None:
        return OK
    difference = _difference(options.output, saved, shape, options.probabilities)
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
