"""Elements beyond the ends of the last axes."""

from __future__ import annotations

from typing import Any

from xpnet.functional.padding import places
from xpnet.io.onnx.graph import Graph, Value
from xpnet.nn.edges import sides


def beyond(graph: Graph, x: Value, before: list[int], after: list[int], mode: str, value: float = 0.0) -> str:
    """More elements, or fewer, at the ends of all axes but the first two."""
    if mode == "constant":
        pads = graph.axes(*[0, 0, *before, 0, 0, *after])
        return graph.add("Pad", x.name, pads, graph.constant(value, x.dtype))
    name = x.name
    for i, (b, a) in enumerate(zip(before, after, strict=True)):
        if b or a:
            index = graph.axes(*places(mode, x.shape[2 + i], b, a))
            name = graph.add("Gather", name, index, axis=2 + i)
    return name


def extended(graph: Graph, layer: Any, x: Value) -> tuple[str, list[int]]:
    """The input of a convolution and the zeros that are left to add, before each axis and then after it."""
    before, after = (list(widths) for widths in zip(*sides(layer), strict=True))
    if layer.padding_mode == "zeros":
        return x.name, before + after
    return beyond(graph, x, before, after, layer.padding_mode), [0] * 2 * len(before)
