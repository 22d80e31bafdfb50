"""What preprocessing becomes: the statistics of the training set are constants of the graph."""

from __future__ import annotations

import numpy as np

from xpnet.data.pipeline import Pipeline
from xpnet.data.preprocessing import ChannelMean, MeanImage, MinMax, Preprocessing, Standardize
from xpnet.data.whitening import ZCA, PCAWhiten
from xpnet.io.onnx.graph import Graph, Value, translates

_DIGITS = 2.0**9  # float32 rounds by 2^-24 of a value, which is then 3e-5 of a deviation


def needs_float64(preprocessing: Preprocessing | None) -> bool:
    """Whether samples in float32 would lose what the model is to see: the times of a day, of 1.7e9 seconds.

    So it is where float64 statistics say that a feature lies further than 512 deviations from 0.
    """
    first = getattr(preprocessing, "steps", [preprocessing])[0]
    if not isinstance(first, Standardize | MinMax):
        return False
    shift, scale = first.state_dict().values()
    return shift.dtype == np.float64 and bool((np.abs(shift) > _DIGITS * scale).any())


@translates(Pipeline)
def pipeline(graph: Graph, steps: Pipeline, x: Value) -> str:
    """One step after the other."""
    for i, step in enumerate(steps.steps):
        x = graph.apply(step, x, str(i))
    return x.name


@translates(Standardize, MinMax, MeanImage, ChannelMean)
def shift_scale(graph: Graph, step: Preprocessing, x: Value) -> str:
    """(x - shift) / scale."""
    y, per_channel = x.name, (-1, *(1 for _ in x.shape[2:]))
    for op, values in zip(("Sub", "Div"), step.state_dict().values(), strict=False):
        values = values.reshape(per_channel) if isinstance(step, ChannelMean) else values
        y = graph.add(op, y, graph.constant(values, x.dtype))
    return y


@translates(PCAWhiten, ZCA)
def whiten(graph: Graph, step: Preprocessing, x: Value) -> str:
    """(x - mean) W, with samples as rows."""
    state = step.state_dict()
    centered = graph.add("Sub", x.name, graph.constant(state["mean"], x.dtype))
    rows = graph.reshape(centered, [-1, int(np.prod(state["mean"].shape))])
    y = graph.add("MatMul", rows, graph.constant(state["matrix"], x.dtype))
    return graph.reshape(y, [-1, *x.shape[1:]]) if isinstance(step, ZCA) else y
