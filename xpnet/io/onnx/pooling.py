"""Pooling in operators of opset 18."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import numpy_helper

from xpnet import nn
from xpnet.core.convert import to_numpy
from xpnet.functional.pooling import Windows, shares, windows_over
from xpnet.io.onnx.graph import Graph, Value, translates


def _windows(layer: Any, x: Value, dilation: Any = 1) -> tuple[Windows, dict[str, Any]]:
    """Where windows are, and what ONNX calls that.

    ONNX's ceil_mode of opset 18 has windows that begin behind the image: the padding says how many there are.
    """
    axes = getattr(layer, "axes", 2)
    if len(x.shape) != axes + 2:
        raise TypeError(f"{type(layer).__name__} of samples without an axis of channels is not ONNX's")
    sizes = layer.kernel_size, layer.stride, layer.padding, dilation
    found = windows_over(x.example, *sizes, layer.ceil_mode, type(layer).__name__, axes)
    ends = [side for sides in zip(*found.widths[2:], strict=True) for side in sides]
    return found, {"kernel_shape": found.kernel, "strides": found.stride, "pads": ends}


@translates(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
def max_pool(graph: Graph, layer: Any, x: Value) -> str:
    """ONNX's padding is less than a window without its gaps; more of it is there before."""
    if layer.return_indices:
        raise TypeError(
            f"{type(layer).__name__} with return_indices has two outputs, and a chain of layers has one"
        )
    _, options = _windows(layer, x, layer.dilation)
    name, kernel, axes = x.name, options["kernel_shape"], len(x.shape) - 2
    spread = [layer.dilation] * axes if isinstance(layer.dilation, int) else list(layer.dilation)
    if any(side >= k for side, k in zip(options["pads"], kernel * 2, strict=True)):
        pads, least = options["pads"], graph.constant(-np.inf, x.dtype)
        name = graph.add("Pad", name, graph.axes(0, 0, *pads[:axes], 0, 0, *pads[axes:]), least)
        options["pads"] = [0] * 2 * axes
    return graph.add("MaxPool", name, dilations=spread, **options)


@translates(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def avg_pool(graph: Graph, layer: Any, x: Value) -> str:
    """Averages that count all padding, times what each window is to be divided by instead."""
    found, options = _windows(layer, x)
    divisor = getattr(layer, "divisor_override", None)
    wanted = np.asarray(to_numpy(shares(x.example, found, layer.count_include_pad, divisor)))
    wanted = wanted * math.prod(found.kernel)
    y = graph.add("AveragePool", x.name, count_include_pad=1, **options)
    if (wanted == 1).all():
        return y
    return graph.add("Mul", y, graph.constant(wanted, x.dtype))


@translates(nn.GlobalAvgPool2d)
def global_avg_pool2d(graph: Graph, layer: nn.GlobalAvgPool2d, x: Value) -> str:
    """The mean over height and width."""
    return graph.add("ReduceMean", x.name, graph.axes(2, 3), keepdims=0)


@translates(nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d)
def max_unpool(graph: Graph, layer: Any, x: Value, indices: Value, output_size: Any = None) -> str:
    """Zeros, with x at its places in each channel; ONNX's MaxUnpool counts places across samples."""
    sizes = layer(x.example, indices.example, output_size).shape[2:]
    rows = lambda y: graph.reshape(y, [0, 0, -1])
    lead = graph.add("Shape", x.name, start=0, end=2)
    shape = graph.add("Concat", lead, graph.axes(math.prod(sizes)), axis=0)
    zeros = graph.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, x.dtype)))
    y = graph.add("ScatterElements", zeros, rows(indices.name), rows(x.name), axis=2)
    return graph.reshape(y, [0, 0, *sizes])
