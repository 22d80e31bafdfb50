"""What each layer of xpnet.nn becomes in evaluation mode, in operators of opset 18."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet import nn
from xpnet.nn.convolution import Size
from xpnet.onnx.graph import Graph, Value, translates

# ---- containers ----


@translates(nn.Sequential)
def sequential(graph: Graph, layer: nn.Sequential, x: Value) -> str:
    """One after the other."""
    for i, child in enumerate(layer):
        x = graph.apply(child, x, str(i))
    return x.name


@translates(nn.Residual)
def residual(graph: Graph, layer: nn.Residual, x: Value) -> str:
    """x + body(x)."""
    shortcut = x.name if layer.shortcut is None else graph.apply(layer.shortcut, x, "shortcut").name
    return graph.add("Add", shortcut, graph.apply(layer.body, x, "body").name)


# ---- affine ----


@translates(nn.Linear)
def linear(graph: Graph, layer: nn.Linear, x: Value) -> str:
    """Gemm takes two axes; more need a product and a sum."""
    bias = [] if layer.bias is None else [graph.constant(layer.bias, x.dtype)]
    if len(x.shape) == 2:
        return graph.add("Gemm", x.name, graph.constant(layer.weight, x.dtype), *bias, transB=1)
    y = graph.add("MatMul", x.name, graph.constant(layer.weight.numpy().T, x.dtype))
    return graph.add("Add", y, *bias) if bias else y


@translates(nn.Maxout)
def maxout(graph: Graph, layer: nn.Maxout, x: Value) -> str:
    """The maximum over the pieces of each unit."""
    units = layer.out_features // layer.pieces
    groups = graph.reshape(linear(graph, layer, x), [0] * (len(x.shape) - 1) + [units, layer.pieces])
    return graph.add("ReduceMax", groups, graph.axes(-1), keepdims=0)


@translates(nn.Flatten)
def flatten(graph: Graph, layer: nn.Flatten, x: Value) -> str:
    """Axes before start_dim stay."""
    return graph.reshape(x.name, [0] * (layer.start_dim % len(x.shape)) + [-1])


@translates(nn.Dropout, nn.Identity)
def nothing(graph: Graph, layer: Any, x: Value) -> str:
    """Nothing."""
    return x.name


# ---- activations ----


@translates(nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
def elementwise(graph: Graph, layer: Any, x: Value) -> str:
    """Operators that ONNX has."""
    names = {nn.ReLU: "Relu", nn.Sigmoid: "Sigmoid", nn.Tanh: "Tanh", nn.Softplus: "Softplus"}
    return graph.add(names[type(layer)], x.name)


@translates(nn.LeakyReLU)
def leaky_relu(graph: Graph, layer: nn.LeakyReLU, x: Value) -> str:
    """With its slope."""
    return graph.add("LeakyRelu", x.name, alpha=float(layer.negative_slope))


@translates(nn.ELU)
def elu(graph: Graph, layer: nn.ELU, x: Value) -> str:
    """With its alpha."""
    return graph.add("Elu", x.name, alpha=float(layer.alpha))


@translates(nn.LeCunTanh)
def lecun_tanh(graph: Graph, layer: nn.LeCunTanh, x: Value) -> str:
    """1.7159 tanh(2x/3)."""
    inner = graph.add("Mul", x.name, graph.constant(2 / 3, x.dtype))
    return graph.add("Mul", graph.add("Tanh", inner), graph.constant(1.7159, x.dtype))


@translates(nn.Hardtanh)
def hardtanh(graph: Graph, layer: nn.Hardtanh, x: Value) -> str:
    """Clipped to [-1, 1]."""
    return graph.add("Clip", x.name, graph.constant(-1, x.dtype), graph.constant(1, x.dtype))


@translates(nn.GELU)
def gelu(graph: Graph, layer: nn.GELU, x: Value) -> str:
    """x Phi(x) = x / 2 (1 + erf(x / sqrt 2)); opset 18 has no Gelu."""
    erf = graph.add("Erf", graph.add("Mul", x.name, graph.constant(math.sqrt(0.5), x.dtype)))
    phi = graph.add("Mul", graph.add("Add", erf, graph.constant(1, x.dtype)), graph.constant(0.5, x.dtype))
    return graph.add("Mul", x.name, phi)


@translates(nn.Softmax)
def softmax(graph: Graph, layer: nn.Softmax, x: Value) -> str:
    """Along its axis."""
    return graph.add("Softmax", x.name, axis=layer.axis)


# ---- convolution and pooling ----


def _pair(size: Size) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


@translates(nn.Conv2d)
def conv2d(graph: Graph, layer: nn.Conv2d, x: Value) -> str:
    """The layouts are the same."""
    bias = [] if layer.bias is None else [graph.constant(layer.bias, x.dtype)]
    return graph.add(
        "Conv",
        x.name,
        graph.constant(layer.weight, x.dtype),
        *bias,
        kernel_shape=list(layer.kernel_size),
        strides=_pair(layer.stride),
        pads=_pair(layer.padding) * 2,
        dilations=_pair(layer.dilation),
        group=layer.groups,
    )


@translates(nn.MaxPool2d, nn.AvgPool2d)
def pool2d(graph: Graph, layer: Any, x: Value) -> str:
    """The mean counts the padding's zeros."""
    average = isinstance(layer, nn.AvgPool2d)
    return graph.add(
        "AveragePool" if average else "MaxPool",
        x.name,
        kernel_shape=_pair(layer.kernel_size),
        strides=_pair(layer.kernel_size if layer.stride is None else layer.stride),
        pads=_pair(layer.padding) * 2,
        **({"count_include_pad": 1} if average else {}),
    )


@translates(nn.GlobalAvgPool2d)
def global_avg_pool2d(graph: Graph, layer: nn.GlobalAvgPool2d, x: Value) -> str:
    """The mean over height and width."""
    return graph.add("ReduceMean", x.name, graph.axes(2, 3), keepdims=0)


# ---- normalisation ----


def _standardize(graph: Graph, x: str, axes: list[int], eps: float, dtype: np.dtype) -> str:
    """(x - mean) / sqrt(variance + eps) over some axes."""
    mean = graph.add("ReduceMean", x, graph.axes(*axes))
    centered = graph.add("Sub", x, mean)
    variance = graph.add("ReduceMean", graph.add("Mul", centered, centered), graph.axes(*axes))
    std = graph.add("Sqrt", graph.add("Add", variance, graph.constant(eps, dtype)))
    return graph.add("Div", centered, std)


def _scale_channels(graph: Graph, y: str, layer: Any, x: Value) -> str:
    """y * weight + bias for each channel, if the layer has them."""
    if layer.weight is None:
        return y
    shape = (-1, *(1 for _ in x.shape[2:]))
    scaled = graph.add("Mul", y, graph.constant(layer.weight.numpy().reshape(shape), x.dtype))
    return graph.add("Add", scaled, graph.constant(layer.bias.numpy().reshape(shape), x.dtype))


@translates(nn.BatchNorm1d, nn.BatchNorm2d)
def batch_norm(graph: Graph, layer: Any, x: Value) -> str:
    """With the running statistics, or without them those of the samples at hand."""
    if layer.running_mean is None:
        axes = [0, *range(2, len(x.shape))]
        return _scale_channels(graph, _standardize(graph, x.name, axes, layer.eps, x.dtype), layer, x)
    plain = np.ones(layer.num_features), np.zeros(layer.num_features)
    weight, bias = plain if layer.weight is None else (layer.weight, layer.bias)
    statistics = weight, bias, layer.running_mean, layer.running_var
    constants = [graph.constant(values, x.dtype) for values in statistics]
    return graph.add("BatchNormalization", x.name, *constants, epsilon=float(layer.eps))


@translates(nn.LayerNorm)
def layer_norm(graph: Graph, layer: nn.LayerNorm, x: Value) -> str:
    """Over the last axes."""
    shape = layer.normalized_shape
    weight = np.ones(shape) if layer.weight is None else layer.weight
    inputs = [weight] if layer.bias is None else [weight, layer.bias]
    constants = [graph.constant(values, x.dtype) for values in inputs]
    return graph.add("LayerNormalization", x.name, *constants, axis=-len(shape), epsilon=float(layer.eps))


@translates(nn.GroupNorm)
def group_norm(graph: Graph, layer: nn.GroupNorm, x: Value) -> str:
    """Each group of channels becomes one axis, is standardised, and gets its shape back."""
    groups = graph.reshape(x.name, [0, layer.num_groups, -1])
    y = graph.reshape(_standardize(graph, groups, [2], layer.eps, x.dtype), [-1, *x.shape[1:]])
    return _scale_channels(graph, y, layer, x)


@translates(nn.InstanceNorm2d)
def instance_norm(graph: Graph, layer: nn.InstanceNorm2d, x: Value) -> str:
    """Over height and width."""
    return _scale_channels(graph, _standardize(graph, x.name, [2, 3], layer.eps, x.dtype), layer, x)
