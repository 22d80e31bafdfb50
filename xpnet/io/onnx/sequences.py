"""Layers of sequences in operators of opset 18."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import nn
from xpnet.core.convert import to_numpy
from xpnet.io.onnx.graph import Graph, Value, refuse, translates

refuse("it takes several inputs, and a chain of layers has one")(
    nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MultiheadAttention, nn.TransformerDecoderLayer, nn.TransformerDecoder
)


refuse("it gives several outputs, or takes several inputs, and a chain of layers has one")(
    nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell
)


@translates(nn.Embedding)
def embedding(graph: Graph, layer: nn.Embedding, x: Value) -> str:
    """Rows by number."""
    return graph.add("Gather", graph.constant(layer.weight, layer.weight.numpy().dtype), x.name)


@translates(nn.RMSNorm)
def rms_norm(graph: Graph, layer: nn.RMSNorm, x: Value) -> str:
    """x / sqrt(mean(x^2) + eps); opset 18 has no RMSNormalization."""
    axes = graph.axes(*range(-len(layer.normalized_shape), 0))
    square = graph.add("ReduceMean", graph.add("Mul", x.name, x.name), axes)
    eps = float(np.finfo(x.dtype).eps) if layer.eps is None else layer.eps
    y = graph.add("Div", x.name, graph.add("Sqrt", graph.add("Add", square, graph.constant(eps, x.dtype))))
    return y if layer.weight is None else graph.add("Mul", y, graph.constant(layer.weight, x.dtype))


def _places(layer: Any, x: Value) -> tuple[int, int]:
    """The length of a sequence and its features, which must not be the axis of samples."""
    if len(x.shape) < 3:
        raise TypeError(f"{type(layer).__name__} of samples without an axis of places is not ONNX's")
    return x.shape[-2], x.shape[-1]


@translates(nn.SinusoidalEncoding)
def sinusoidal_encoding(graph: Graph, layer: nn.SinusoidalEncoding, x: Value) -> str:
    """x and a constant."""
    length, _ = _places(layer, x)
    return graph.add("Add", x.name, graph.constant(layer.encoding.numpy()[:length], x.dtype))


@translates(nn.RotaryEmbedding)
def rotary_embedding(graph: Graph, layer: nn.RotaryEmbedding, x: Value) -> str:
    """x cos + (x R) sin, R the turn of each pair by 90 degrees."""
    length, dim = _places(layer, x)
    quarter = np.zeros((dim, dim))
    first = np.arange(0, dim, 2) if layer.interleaved else np.arange(dim // 2)
    second = first + (1 if layer.interleaved else dim // 2)
    quarter[first, second], quarter[second, first] = 1, -1
    turns = to_numpy(F.sinusoidal_encoding(length, dim, dtype="float64", base=layer.base))
    sin, cos = np.empty((length, dim)), np.empty((length, dim))
    for places in (first, second):
        sin[:, places], cos[:, places] = turns[:, ::2], turns[:, 1::2]
    turned = graph.add("MatMul", x.name, graph.constant(quarter, x.dtype))
    parts = (graph.add("Mul", a, graph.constant(b, x.dtype)) for a, b in ((x.name, cos), (turned, sin)))
    return graph.add("Add", *parts)


def _affine(graph: Graph, layer: Any, x: str, dtype: np.dtype) -> str:
    """x W^T + b."""
    y = graph.add("MatMul", x, graph.constant(layer.weight.numpy().T, dtype))
    return y if layer.bias is None else graph.add("Add", y, graph.constant(layer.bias, dtype))


def attention(graph: Graph, layer: nn.MultiheadAttention, x: str, example: Value, causal: bool) -> str:
    """Attention of a sequence to itself."""
    dtype, e, heads = example.dtype, layer.embed_dim, layer.num_heads
    middle = example.shape[1]  # the axis behind that of samples: places if batch_first, else the batch
    order = [0, 2, 1, 3] if layer.batch_first else [1, 2, 0, 3]
    parts = []
    for i in range(3):
        weight = layer.in_proj_weight.numpy()[i * e : (i + 1) * e].T
        y = graph.add("MatMul", x, graph.constant(weight, dtype))
        if layer.in_proj_bias is not None:
            y = graph.add("Add", y, graph.constant(layer.in_proj_bias.numpy()[i * e : (i + 1) * e], dtype))
        y = graph.reshape(y, [0, middle, heads, e // heads])
        parts.append(graph.add("Transpose", y, perm=order))
    q, k, v = parts
    scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = graph.add("Mul", scores, graph.constant((e // heads) ** -0.5, dtype))
    if causal:
        later = np.triu(np.full((middle, middle), -np.inf), 1)
        scores = graph.add("Add", scores, graph.constant(later, dtype))
    y = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), v)
    back = [0, 2, 1, 3] if layer.batch_first else [2, 0, 1, 3]
    y = graph.reshape(graph.add("Transpose", y, perm=back), [0, middle, e])
    return _affine(graph, layer.out_proj, y, dtype)


@translates(nn.TransformerEncoderLayer)
def encoder_layer(graph: Graph, layer: nn.TransformerEncoderLayer, x: Value) -> str:
    """Every place looks at all others."""
    return _encoder_layer(graph, layer, x, False)


def _encoder_layer(graph: Graph, layer: nn.TransformerEncoderLayer, x: Value, causal: bool) -> str:
    """Two branches, each added to its input."""

    def feed_forward(z: Value) -> str:
        inner = _affine(graph, layer.linear1, z.name, x.dtype)
        kinds: dict[str, Any] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
        wide = Value(inner, layer.linear1(z.example).data)
        activated = graph.apply(kinds[layer.activation](), wide, "activation")
        return _affine(graph, layer.linear2, activated.name, x.dtype)

    branches = (
        (lambda z: attention(graph, layer.self_attn, z.name, z, causal), layer.norm1),
        (feed_forward, layer.norm2),
    )
    for branch, norm in branches:
        if layer.norm_first:
            x = Value(graph.add("Add", x.name, branch(graph.apply(norm, x, "norm"))), x.example)
        else:
            x = graph.apply(norm, Value(graph.add("Add", x.name, branch(x)), x.example), "norm")
    return x.name


@translates(nn.TransformerEncoder)
def encoder(graph: Graph, layer: nn.TransformerEncoder, x: Value) -> str:
    """One after the other."""
    for i, child in enumerate(layer.layers):
        x = graph.apply(child, x, f"layers.{i}")
    return x.name if layer.norm is None else graph.apply(layer.norm, x, "norm").name


@translates(nn.GPT)
def gpt(graph: Graph, layer: nn.GPT, x: Value) -> str:
    """Tokens and places, the layers, and products with the table of tokens."""
    length, weight = x.shape[1], layer.token.weight.numpy()
    dtype = weight.dtype
    table = graph.constant(weight, dtype)
    places = graph.constant(layer.place.weight.numpy()[:length], dtype)
    name = graph.add("Add", graph.add("Gather", table, x.name), places)
    y = Value(name, layer.token(x.example).data)
    for block in layer.blocks:
        y = Value(_encoder_layer(graph, block, y, True), y.example)
    y = graph.apply(layer.norm, y, "norm")
    return graph.add("MatMul", y.name, graph.constant(weight.T, dtype))


@translates(nn.LSTMLanguageModel)
def lstm(graph: Graph, layer: nn.LSTMLanguageModel, x: Value) -> str:
    """ONNX's gates are input, output, forget and cell, PyTorch's input, forget, cell and output."""
    dtype, h = layer.token.weight.numpy().dtype, layer.width
    order = np.concatenate([np.arange(h) + k * h for k in (0, 3, 1, 2)])
    state = {name: to_numpy(array)[order] for name, array in layer.lstm.state_dict().items()}
    y = graph.add("Gather", graph.constant(layer.token.weight, dtype), x.name)
    y = graph.add("Transpose", y, perm=[1, 0, 2])
    for i in range(layer.depth):
        w, r = (graph.constant(state[f"weight_{kind}_l{i}"][None], dtype) for kind in ("ih", "hh"))
        both = np.concatenate([state[f"bias_ih_l{i}"], state[f"bias_hh_l{i}"]])[None]
        y = graph.add("LSTM", y, w, r, graph.constant(both, dtype), hidden_size=h)
        y = graph.add("Squeeze", y, graph.axes(1))  # of the directions, of which there is one
    return _affine(graph, layer.head, graph.add("Transpose", y, perm=[1, 0, 2]), dtype)
