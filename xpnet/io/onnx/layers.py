"""What each layer of xpnet.nn becomes in evaluation mode, in operators of opset 18."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto

from xpnet import nn
from xpnet.io.onnx.graph import Graph, Value, translates

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


@translates(nn.Average)
def average(graph: Graph, layer: nn.Average, x: Value) -> str:
    """Of the outputs; or log mean p = logsumexp log p - log K."""
    outputs = [graph.apply(child, x, str(i)).name for i, child in enumerate(layer.layers)]
    return _mean_of(graph, outputs, layer.probabilities, x.dtype)


@translates(nn.Mirrored)
def mirrored(graph: Graph, layer: nn.Mirrored, x: Value) -> str:
    """Likewise of the pictures and their mirror images."""
    ends = graph.axes(-1), graph.axes(np.iinfo(np.int64).min), graph.axes(-1), graph.axes(-1)
    image = Value(graph.add("Slice", x.name, *ends), x.example)
    outputs = [graph.apply(layer.module, picture, "module").name for picture in (x, image)]
    return _mean_of(graph, outputs, True, x.dtype)


def _mean_of(graph: Graph, outputs: list[str], probabilities: bool, dtype: Any) -> str:
    if not probabilities:
        return graph.add("Mean", *outputs)
    logs = [graph.add("Unsqueeze", graph.add("LogSoftmax", y, axis=-1), graph.axes(0)) for y in outputs]
    total = graph.add("ReduceLogSumExp", graph.add("Concat", *logs, axis=0), graph.axes(0), keepdims=0)
    return graph.add("Sub", total, graph.constant(math.log(len(outputs)), dtype))


@translates(nn.CategoryEmbedding)
def category_embedding(graph: Graph, layer: nn.CategoryEmbedding, x: Value) -> str:
    """Slices of numbers, and rows of tables between them."""
    axis, parts, start = graph.axes(1), [], 0
    for place, table in zip(layer.places, layer.tables, strict=True):
        if place > start:
            parts.append(graph.add("Slice", x.name, graph.axes(start), graph.axes(place), axis))
        codes = graph.add("Gather", x.name, graph.constant(place, np.int64), axis=1)
        ends = (graph.constant(end, x.dtype) for end in (0, table.num_embeddings - 1))
        rows = graph.add("Cast", graph.add("Clip", codes, *ends), to=TensorProto.INT64)
        parts.append(graph.add("Gather", graph.constant(table.weight, x.dtype), rows))
        start = place + 1
    if start < x.shape[1]:
        parts.append(graph.add("Slice", x.name, graph.axes(start), graph.axes(x.shape[1]), axis))
    return graph.add("Concat", *parts, axis=1)


# ---- affine ----


@translates(nn.Linear)
def linear(graph: Graph, layer: nn.Linear, x: Value) -> str:
    """Gemm takes two axes; more need a product and a sum."""
    bias = [] if layer.bias is None else [graph.constant(layer.bias, x.dtype)]
    if len(x.shape) == 2:
        return graph.add("Gemm", x.name, graph.constant(layer.weight, x.dtype), *bias, transB=1)
    y = graph.add("MatMul", x.name, graph.constant(layer.weight.numpy().T, x.dtype))
    return graph.add("Add", y, *bias) if bias else y


@translates(nn.Bilinear)
def bilinear(graph: Graph, layer: nn.Bilinear, input1: Value, input2: Value) -> str:
    """x1^T W x2 for each output."""
    weight = graph.constant(layer.weight, input1.dtype)
    y = graph.add("Einsum", input1.name, weight, input2.name, equation="...i,oij,...j->...o")
    return y if layer.bias is None else graph.add("Add", y, graph.constant(layer.bias, input1.dtype))


@translates(nn.Maxout)
def maxout(graph: Graph, layer: nn.Maxout, x: Value) -> str:
    """The maximum over the pieces of each unit."""
    units = layer.out_features // layer.pieces
    groups = graph.reshape(linear(graph, layer, x), [0] * (len(x.shape) - 1) + [units, layer.pieces])
    return graph.add("ReduceMax", groups, graph.axes(-1), keepdims=0)


@translates(nn.Flatten)
def flatten(graph: Graph, layer: nn.Flatten, x: Value) -> str:
    """Axes before start_dim and after end_dim stay."""
    first, last = layer.start_dim % len(x.shape), layer.end_dim % len(x.shape)
    return graph.reshape(x.name, [0] * first + [-1] + list(x.shape[last + 1 :]))


@translates(nn.Unflatten)
def unflatten(graph: Graph, layer: nn.Unflatten, x: Value) -> str:
    """Axes before it stay."""
    dim = layer.dim % len(x.shape)
    return graph.reshape(x.name, [*[0] * dim, *layer.unflattened_size, *x.shape[dim + 1 :]])


@translates(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.DropPath, nn.Identity)
def nothing(graph: Graph, layer: Any, x: Value) -> str:
    """Nothing."""
    return x.name


# ---- activations ----


@translates(nn.ReLU, nn.Sigmoid, nn.Tanh)
def elementwise(graph: Graph, layer: Any, x: Value) -> str:
    """Operators that ONNX has."""
    names = {nn.ReLU: "Relu", nn.Sigmoid: "Sigmoid", nn.Tanh: "Tanh"}
    return graph.add(names[type(layer)], x.name)


@translates(nn.Softplus)
def softplus(graph: Graph, layer: nn.Softplus, x: Value) -> str:
    """log(1 + exp(beta x)) / beta, and x above the threshold."""
    if layer.beta == 1 and layer.threshold == 20:  # ONNX bends on, by less than 1e-8
        return graph.add("Softplus", x.name)
    beta = graph.constant(layer.beta, x.dtype)
    scaled = graph.add("Mul", x.name, beta)
    bend = graph.add("Div", graph.add("Softplus", scaled), beta)
    line = graph.add("Greater", scaled, graph.constant(layer.threshold, x.dtype))
    return graph.add("Where", line, x.name, bend)


@translates(nn.LeakyReLU)
def leaky_relu(graph: Graph, layer: nn.LeakyReLU, x: Value) -> str:
    """With its negative slope."""
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
    """Clipped."""
    low, high = (graph.constant(end, x.dtype) for end in (layer.min_val, layer.max_val))
    return graph.add("Clip", x.name, low, high)


@translates(nn.GELU)
def gelu(graph: Graph, layer: nn.GELU, x: Value) -> str:
    """x Phi(x) = x / 2 (1 + erf(x / sqrt 2)), or with tanh; opset 18 has no Gelu."""
    if layer.approximate == "tanh":
        cube = graph.add("Mul", x.name, graph.add("Mul", x.name, x.name))
        inner = graph.add("Add", x.name, graph.add("Mul", cube, graph.constant(0.044715, x.dtype)))
        erf = graph.add("Tanh", graph.add("Mul", inner, graph.constant(math.sqrt(2 / math.pi), x.dtype)))
    else:
        erf = graph.add("Erf", graph.add("Mul", x.name, graph.constant(math.sqrt(0.5), x.dtype)))
    phi = graph.add("Mul", graph.add("Add", erf, graph.constant(1, x.dtype)), graph.constant(0.5, x.dtype))
    return graph.add("Mul", x.name, phi)


@translates(nn.Softmax)
def softmax(graph: Graph, layer: nn.Softmax, x: Value) -> str:
    """Along its axis."""
    return graph.add("Softmax", x.name, axis=layer.axis)


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
    if layer.bias is None:
        return scaled
    return graph.add("Add", scaled, graph.constant(layer.bias.numpy().reshape(shape), x.dtype))


@translates(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def batch_norm(graph: Graph, layer: Any, x: Value) -> str:
    """With the running statistics, or without them those of the samples at hand."""
    if layer.running_mean is None:
        axes = [0, *range(2, len(x.shape))]
        return _scale_channels(graph, _standardize(graph, x.name, axes, layer.eps, x.dtype), layer, x)
    plain = np.ones(layer.num_features), np.zeros(layer.num_features)
    weight = plain[0] if layer.weight is None else layer.weight
    bias = plain[1] if layer.bias is None else layer.bias
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


@translates(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
def instance_norm(graph: Graph, layer: Any, x: Value) -> str:
    """Over all positions; with the running statistics where there are some."""
    if layer.running_mean is not None:
        return batch_norm(graph, layer, x)
    return _scale_channels(
        graph, _standardize(graph, x.name, list(range(2, len(x.shape))), layer.eps, x.dtype), layer, x
    )
