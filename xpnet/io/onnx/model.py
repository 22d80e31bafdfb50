"""A model as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
from onnx import ModelProto, checker, helper, shape_inference

from xpnet import nn
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of
from xpnet.core.version import __version__
from xpnet.data.preprocessing import Preprocessing
from xpnet.io.onnx.graph import Graph, Value
from xpnet.io.onnx.preprocessing import needs_float64
from xpnet.io.writing import atomic_write
from xpnet.nn.inference import evaluating
from xpnet.nn.language import LanguageModel
from xpnet.nn.module import Module

IR_VERSION, OPSET = 10, 18  # read by every onnxruntime from 1.18 on; LayerNormalization came with 17


def to_onnx(
    model: Module,
    shape: Sequence[int],
    preprocessing: Preprocessing | None = None,
    *,
    probabilities: bool = False,
    metadata: Mapping[str, str] | None = None,
    dtype: str | None = None,
) -> ModelProto:
    """The graph of a model in evaluation mode, as an `onnx.ModelProto`; arguments as for `export`."""
    graph = Graph()
    steps: list[tuple[str, object]] = [] if preprocessing is None else [("preprocessing", preprocessing)]
    steps.append(("model", model))
    if probabilities:
        steps.append(("probabilities", nn.Softmax()))
    taken = _example(model, shape, dtype)
    wide = dtype is None and dtype_name(taken.dtype) == "float32" and needs_float64(preprocessing)
    x = value = Value("x", asarray(taken, "float64") if wide else taken)
    with evaluating(model):
        for name, step in steps:
            if wide and step is model:
                value = _float32(graph, value)
            value = graph.apply(step, value, name)
    output = "probabilities" if probabilities else "output"
    graph.nodes.append(helper.make_node("Identity", [value.name], [output], name=output))
    described = helper.make_graph(
        graph.nodes,
        type(model).__name__,
        [helper.make_tensor_value_info("x", _element(x), ["N", *x.shape[1:]])],
        [helper.make_tensor_value_info(output, _element(value), ["N", *value.shape[1:]])],
        graph.constants,
    )
    proto = helper.make_model(
        described,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="xpnet",
        producer_version=__version__,
    )
    helper.set_model_props(proto, dict(metadata or {}))
    checker.check_model(proto)
    shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    return proto


def export(
    model: Module,
    path: str | PathLike[str],
    shape: Sequence[int],
    preprocessing: Preprocessing | None = None,
    *,
    probabilities: bool = False,
    metadata: Mapping[str, str] | None = None,
    dtype: str | None = None,
) -> None:
    """Write a model in evaluation mode as an ONNX file, for onnxruntime and others: ir_version 10, opset 18.

    Args:
        model: made of layers of xpnet.nn, or of others that `translates` knows; on any backend.
        path: the file, replaced if it exists.
        shape: of one sample, without preprocessing: `(64,)`, `(3, 32, 32)`.
        preprocessing: becomes part of the graph, so that it takes raw samples.
        probabilities: end with a softmax.
        metadata: strings kept in the file.
        dtype: of x; default: that of the model, or int64 if it begins with an Embedding, or float64 if
            float32 would lose digits that the preprocessing keeps: a feature is further than 512 deviations
            from 0, as times of 1.7e9 seconds are. The graph standardises it and then rounds.

    The graph takes `x`, (N, *shape) of that dtype for any N, and gives `output`, or `probabilities`.

    Raises:
        TypeError: a layer that nobody has translated.
        ValueError: the shape is not one the model takes.
        OSError: the file cannot be written.

    >>> import os, tempfile
    >>> from xpnet import nn
    >>> from xpnet.io.onnx import export
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    >>> export(model, os.path.join(tempfile.mkdtemp(), "model.onnx"), (4,))
    """
    options = {"probabilities": probabilities, "metadata": metadata, "dtype": dtype}
    proto = to_onnx(model, shape, preprocessing, **options)  # type: ignore[arg-type]
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _example(model: Module, shape: Sequence[int], dtype: str | None) -> Array:
    """Two samples, where the model is and of the dtype that it takes."""
    zeros = np.zeros((2, *shape), dtype=np.float32)
    if dtype is None and isinstance(_first(model), nn.Embedding | LanguageModel):
        dtype = "int64"
    for data in model.state_dict().values():
        return asarray(zeros, dtype or dtype_name(data.dtype), backend=backend_of(data))
    return asarray(zeros, dtype or "float32")


def _float32(graph: Graph, x: Value) -> Value:
    name = graph.add("Cast", x.name, to=helper.np_dtype_to_tensor_dtype(np.dtype(np.float32)))
    return Value(name, asarray(x.example, "float32"))


def _first(model: Module) -> Module:
    """The layer that a chain begins with."""
    while isinstance(model, nn.Sequential) and len(model):
        model = model[0]
    return model


def _element(value: Value) -> int:
    return helper.np_dtype_to_tensor_dtype(value.dtype)
