"""Distances and angles of pairs of vectors."""

from __future__ import annotations

import math

from xpnet import nn
from xpnet.io.onnx.graph import Graph, Value, translates


@translates(nn.CosineSimilarity)
def cosine_similarity(graph: Graph, layer: nn.CosineSimilarity, x1: Value, x2: Value) -> str:
    """x1 . x2 / (|x1| |x2|), no length below eps."""
    axes, least = graph.axes(layer.dim), graph.constant(layer.eps, x1.dtype)
    length = lambda x: graph.add("Max", graph.add("ReduceL2", x.name, axes, keepdims=0), least)
    dot = graph.add("ReduceSum", graph.add("Mul", x1.name, x2.name), axes, keepdims=0)
    return graph.add("Div", dot, graph.add("Mul", length(x1), length(x2)))


@translates(nn.PairwiseDistance)
def pairwise_distance(graph: Graph, layer: nn.PairwiseDistance, x1: Value, x2: Value) -> str:
    """The norm of x1 - x2 + eps over the last axis."""
    axes, keep = graph.axes(-1), {"keepdims": int(layer.keepdim)}
    difference = graph.add("Sub", x1.name, x2.name)
    x = graph.add("Abs", graph.add("Add", difference, graph.constant(layer.eps, x1.dtype)))
    if layer.p == math.inf:
        return graph.add("ReduceMax", x, axes, **keep)
    powers = graph.add("Pow", x, graph.constant(layer.p, x1.dtype))
    return graph.add(
        "Pow", graph.add("ReduceSum", powers, axes, **keep), graph.constant(1 / layer.p, x1.dtype)
    )
