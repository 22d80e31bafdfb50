"""Layers of sequences in operators of opset 18."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import nn
from xpnet.core.convert import to_numpy
from xpnet.io.onnx.graph import Graph, Value, translates


@translates(nn.Embedding)
def embedding(graph: Graph, layer: nn.Embedding, x: Value) -> str:
    """Rows by number."""
    return graph.add("Gather", _table(graph, layer), x.name)


def _table(graph: Graph, layer: nn.Embedding) -> str:
    """The rows; with a `max_norm` as a look-up would make them."""
    rows: Any = layer.weight
    if layer.max_norm is not None:
        numbers, table = np.arange(layer.num_embeddings), layer.weight.numpy().copy()
        rows = F.embedding(numbers, table, None, layer.max_norm, layer.norm_type)
    return graph.constant(rows, layer.weight.numpy().dtype)


@translates(nn.EmbeddingBag)
def embedding_bag(graph: Graph, layer: nn.EmbeddingBag, x: Value) -> str:
    """Rows by number, and what becomes of them along their bag."""
    if len(x.shape) != 2 or layer.padding_idx is not None:
        raise TypeError("EmbeddingBag of flat bags or with a padding_idx is not ONNX's: give rows of x, full")
    rows = graph.add("Gather", _table(graph, layer), x.name)
    of = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax"}[layer.mode]
    return graph.add(of, rows, graph.axes(1), keepdims=0)


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
def rotary_embedding(graph: Graph, layer: nn.RotaryEmbedding, x: Value, offset: int = 0) -> str:
    """x cos + (x R) sin, R the turn of each pair by 90 degrees."""
    length, dim = _places(layer, x)
    quarter = np.zeros((dim, dim))
    first = np.arange(0, dim, 2) if layer.interleaved else np.arange(dim // 2)
    second = first + (1 if layer.interleaved else dim // 2)
    quarter[first, second], quarter[second, first] = 1, -1
    turns = to_numpy(F.sinusoidal_encoding(offset + length, dim, dtype="float64", base=layer.base))[offset:]
    sin, cos = np.empty((length, dim)), np.empty((length, dim))
    for places in (first, second):
        sin[:, places], cos[:, places] = turns[:, ::2], turns[:, 1::2]
    turned = graph.add("MatMul", x.name, graph.constant(quarter, x.dtype))
    parts = (graph.add("Mul", a, graph.constant(b, x.dtype)) for a, b in ((x.name, cos), (turned, sin)))
    return graph.add("Add", *parts)


def affine(graph: Graph, layer: Any, x: str, dtype: np.dtype) -> str:
    """x W^T + b."""
    y = graph.add("MatMul", x, graph.constant(layer.weight.numpy().T, dtype))
    return y if layer.bias is None else graph.add("Add", y, graph.constant(layer.bias, dtype))
