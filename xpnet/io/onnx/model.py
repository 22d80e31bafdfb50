"""A model as an ONNX file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from onnx import ModelProto, checker, helper, shape_inference

from xpnet import nn
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.places import backend_of
from xpnet.core.version import __version__
from xpnet.data.preprocessing import Preprocessing
from xpnet.io.onnx.graph import Graph, Input, Value, arrays_of, example_of
from xpnet.io.onnx.preprocessing import needs_float64
from xpnet.io.writing import atomic_write
from xpnet.nn.inference import evaluating
from xpnet.nn.language import LanguageModel
from xpnet.nn.module import Module

IR_VERSION, OPSET = 10, 18  # read by every onnxruntime from 1.18 on; LayerNormalization came with 17


def to_onnx(
    model: Module,
    shape: Sequence[int | str],
    preprocessing: Preprocessing | None = None,
    *,
    probabilities: bool = False,
    metadata: Mapping[str, str] | None = None,
    dtype: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> ModelProto:
    """The graph of a model in evaluation mode, as an `onnx.ModelProto`; arguments as for `export`."""
    graph = Graph()
    whole = (*shape,) if "N" in shape else ("N", *shape)
    taken = _example(model, _sized(whole), dtype)
    wide = dtype is None and dtype_name(taken.dtype) == "float32" and needs_float64(preprocessing)
    x = value = Value("x", asarray(taken, "float64") if wide else taken)
    given = inputs or {}
    more = {name: _argument(model, name, argument, x, 2) for name, argument in given.items()}
    with evaluating(model):
        if preprocessing is not None:
            value = graph.apply(preprocessing, value, "preprocessing")
        if wide:
            value = _float32(graph, value)
        found = graph.apply_several(model, value, "model", **more)
        shapes = _shapes(model, value, whole, given, found.values())
        if probabilities and len(found) > 1:
            raise TypeError(f"ONNX: probabilities are of one output, {type(model).__name__} has {len(found)}")
        if probabilities:
            found = {"probabilities": graph.apply(nn.Softmax(), found["output"], "probabilities")}
    graph.nodes.extend(helper.make_node("Identity", [y.name], [name], name=name) for name, y in found.items())
    taken_too = {key: y for name, argument in given.items() for key, y in _inputs(name, argument).items()}
    described = helper.make_graph(
        graph.nodes,
        type(model).__name__,
        [
            helper.make_tensor_value_info("x", _element(x), whole),
            *(
                helper.make_tensor_value_info(
                    name, _element(Value(name, _example(model, _sized(y.shape), y.dtype))), y.shape
                )
                for name, y in taken_too.items()
            ),
        ],
        [
            helper.make_tensor_value_info(name, _element(y), sizes)
            for (name, y), sizes in zip(found.items(), shapes, strict=True)
        ],
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
    shape: Sequence[int | str],
    preprocessing: Preprocessing | None = None,
    *,
    probabilities: bool = False,
    metadata: Mapping[str, str] | None = None,
    dtype: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> None:
    """Write a model in evaluation mode as an ONNX file, for onnxruntime and others: ir_version 10, opset 18.

    Args:
        model: made of layers of xpnet.nn, or of others that `translates` knows; on any backend.
        path: the file, replaced if it exists.
        shape: of one sample, without preprocessing: `(64,)`, `(3, 32, 32)`; or of x, with "N" where the
            samples are: `(35, "N", 8)` for a recurrent layer whose sequences are not `batch_first`.
        preprocessing: becomes part of the graph, so that it takes raw samples.
        probabilities: end with a softmax.
        metadata: strings kept in the file.
        dtype: of x; default: that of the model, or int64 if it begins with an Embedding, or float64 if
            float32 would lose digits that the preprocessing keeps: a feature is further than 512 deviations
            from 0, as times of 1.7e9 seconds are. The graph standardises it and then rounds.
        inputs: further arguments of the model's `forward` by name: an `Input` becomes an input of the graph,
            "x" is x once more, a mask (L, S) or an option is a constant of it. A pair of Inputs, such as the
            states and cells of an LSTM, `hx`, becomes `hx_0` and `hx_1`.

    The graph takes `x`, (N, *shape) of that dtype for any N, and gives `output`, or `probabilities`; and
    what more the model gives: of recurrent layers `h_n` and `c_n`, of attention `weights`, of a VAE `mean`
    and `log_variance`.

    Raises:
        TypeError: a layer that nobody has translated, or inputs that it does not take.
        ValueError: the shape is not one the model takes.
        OSError: the file cannot be written.

    >>> import os, tempfile
    >>> from xpnet import nn
    >>> from xpnet.io.onnx import export
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    >>> export(model, os.path.join(tempfile.mkdtemp(), "model.onnx"), (4,))
    >>> from xpnet.io.onnx import Input
    >>> layer, keys = nn.MultiheadAttention(6, 2, batch_first=True), Input("N", 4, 6)
    >>> path = os.path.join(tempfile.mkdtemp(), "attention.onnx")
    >>> export(layer, path, (5, 6), inputs={"key": keys, "value": keys})
    """
    options: dict[str, Any] = {"metadata": metadata, "dtype": dtype, "inputs": inputs}
    proto = to_onnx(model, shape, preprocessing, probabilities=probabilities, **options)
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _inputs(name: str, given: Any) -> dict[str, Input]:
    """The inputs of the graph in an argument of `forward`."""
    if isinstance(given, tuple | list):
        return {key: x for i, part in enumerate(given) for key, x in _inputs(f"{name}_{i}", part).items()}
    return {name: given} if isinstance(given, Input) else {}


def _argument(model: Module, name: str, given: Any, x: Value, n: int) -> Any:
    """An argument beside x, of n samples."""
    if isinstance(given, tuple | list) and any(isinstance(part, Input) for part in given):
        return tuple(_argument(model, f"{name}_{i}", part, x, n) for i, part in enumerate(given))
    if isinstance(given, Input):
        return Value(name, _example(model, _sized(given.shape, n), given.dtype))
    if isinstance(given, str) and given != "x":
        raise ValueError(f'ONNX: inputs: {name} is an Input, "x" or a constant, got {given!r}')
    return x if isinstance(given, str) else given


def _shapes(
    model: Module, x: Value, whole: Sequence[int | str], inputs: Mapping[str, Any], outputs: Iterable[Value]
) -> list[list[int | str | None]]:
    """Those of the outputs, with "N" where they grow with the samples, of which x has two."""
    sizes = [3 if size == "N" else n for size, n in zip(whole, x.shape, strict=False)]
    zeros = np.zeros([*sizes, *x.shape[len(sizes) :]])
    three = Value(x.name, asarray(zeros, dtype_name(x.example.dtype), backend=backend_of(x.example)))
    more = {name: example_of(_argument(model, name, y, three, 3)) for name, y in inputs.items()}
    found = arrays_of(model(three.example, **more))
    name = lambda a, b: a if a == b else "N" if (a, b) == (2, 3) else None
    return [
        [name(a, b) for a, b in zip(y.shape, z.shape, strict=True)]
        for y, z in zip(outputs, found, strict=True)
    ]


def _sized(shape: Sequence[int | str], n: int = 2) -> tuple[int, ...]:
    """A shape with n samples."""
    return tuple(n if size == "N" else int(size) for size in shape)


def _example(model: Module, shape: Sequence[int], dtype: str | None) -> Array:
    """Zeros, where the model is and of the dtype that it takes."""
    zeros = np.zeros(shape, dtype=np.float32)
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
