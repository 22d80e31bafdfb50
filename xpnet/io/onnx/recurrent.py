"""Recurrent layers and their cells in operators of opset 18."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import nn
from xpnet.core.convert import to_numpy
from xpnet.io.onnx.graph import Graph, Value, translates
from xpnet.io.onnx.sequences import affine

# the operator, and which of PyTorch's gates are ONNX's: of an LSTM input, output, forget, cell
_CELLS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "tanh": ("RNN", (0,), 1),
    "relu": ("RNN", (0,), 1),
    "gru": ("GRU", (1, 0, 2), 1),
    "lstm": ("LSTM", (0, 3, 1, 2), 2),
}


def _run(graph: Graph, layer: Any, x: str, ways: list[list[Any]], first: list[str], dtype: Any) -> list[str]:
    """One operator: outputs (L, ways, N, H), and the last of each kind of state, (ways, N, H).

    Args:
        graph: it grows.
        layer: says which cell, and H.
        x: (L, N, features).
        ways: weights and biases of each direction.
        first: the states before the first step, (ways, N, H), or none.
        dtype: of x.
    """
    if dtype != np.float32:
        raise TypeError(
            f"ONNX: {graph.path} is of {dtype}, and onnxruntime has recurrent layers in float32: "
            'model.to(dtype="float32")'
        )
    cell, h = layer._cell, layer.hidden_size
    op, gates, kinds = _CELLS[cell]
    order = np.concatenate([np.arange(h) + k * h for k in gates])
    stack = lambda arrays: np.stack([to_numpy(a.data)[order] for a in arrays])
    weights = [graph.constant(stack([way[i] for way in ways]), dtype) for i in (0, 1)]
    if layer.bias:
        both = np.concatenate([stack([way[i] for way in ways]) for i in (2, 3)], axis=1)
        weights.append(graph.constant(both, dtype))
    if first:
        weights += [""] * (4 - len(weights)) + first  # "" are the lengths
    options: dict[str, Any] = {"direction": "bidirectional"} if len(ways) == 2 else {}
    if cell == "relu":
        options["activations"] = ["Relu"] * len(ways)
    if cell == "gru":
        options["linear_before_reset"] = 1
    return graph.add_several(op, 1 + kinds, x, *weights, hidden_size=h, **options)


def _states(layer: Any, hx: Any) -> list[Value]:
    """The kinds of states that a layer is given."""
    given = list(hx) if isinstance(hx, tuple | list) else [] if hx is None else [hx]
    if not all(isinstance(state, Value) for state in given):
        raise TypeError(
            f"ONNX: {type(layer).__name__}: hx must be onnx.Input, as its size is that of a batch"
        )
    return given


@translates(nn.RNN, nn.GRU, nn.LSTM)
def recurrent(graph: Graph, layer: Any, x: Value, hx: Any = None, lengths: Any = None) -> dict[str, str]:
    """One operator a layer."""
    if lengths is not None:
        raise TypeError(f"ONNX: {type(layer).__name__} with lengths cannot be exported: leave them out")
    alone, name, suffixes = len(x.shape) == 2, x.name, layer.directions()
    states = [state.name for state in _states(layer, hx)]
    if alone:
        name = graph.add("Unsqueeze", name, graph.axes(1))
        states = [graph.add("Unsqueeze", state, graph.axes(1)) for state in states]
    elif layer.batch_first:
        name = graph.add("Transpose", name, perm=[1, 0, 2])
    n, last = len(suffixes), list[list[str]]()
    for i in range(layer.num_layers):
        ends = (i * n, i * n + n, 0)
        first = [graph.add("Slice", state, *map(graph.axes, ends)) for state in states]
        ways = [layer.parameters_of(f"l{i}{suffix}") for suffix in suffixes]
        y, *found = _run(graph, layer, name, ways, first, x.dtype)
        last.append(found)
        name = graph.reshape(graph.add("Transpose", y, perm=[0, 2, 1, 3]), [0, 0, n * layer.hidden_size])
    ends_of = [graph.add("Concat", *found, axis=0) for found in zip(*last, strict=True)]
    if alone:
        name, *ends_of = (graph.add("Squeeze", y, graph.axes(1)) for y in (name, *ends_of))
    elif layer.batch_first:
        name = graph.add("Transpose", name, perm=[1, 0, 2])
    return {"output": name, **dict(zip(("h_n", "c_n"), ends_of, strict=False))}


@translates(nn.RNNCell, nn.GRUCell, nn.LSTMCell)
def cell(graph: Graph, layer: Any, x: Value, hx: Any = None) -> dict[str, str]:
    """A sequence of one step."""
    if len(x.shape) != 2:
        raise TypeError(f"ONNX: {type(layer).__name__} of one sample alone is not ONNX's")
    name, *first = (graph.add("Unsqueeze", y.name, graph.axes(0)) for y in (x, *_states(layer, hx)))
    ways = [[layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh]]
    _, *last = _run(graph, layer, name, ways, first, x.dtype)
    return {
        name: graph.add("Squeeze", y, graph.axes(0)) for name, y in zip(("output", "c_n"), last, strict=False)
    }


@translates(nn.LSTMLanguageModel)
def language_model(graph: Graph, layer: nn.LSTMLanguageModel, x: Value) -> str:
    """Rows of a table, the layers, and scores."""
    dtype = layer.token.weight.numpy().dtype
    tokens = graph.apply(layer.token, x, "token")
    return affine(graph, layer.head, recurrent(graph, layer.lstm, tokens)["output"], dtype)
