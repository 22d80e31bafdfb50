"""Gated activations in operators of opset 18."""

from __future__ import annotations

from typing import Any

from xpnet import nn
from xpnet.functional.more_activations import ALPHA, SCALE
from xpnet.io.onnx.graph import Graph, Value, translates

_SAME = {nn.Mish: "Mish", nn.Hardswish: "HardSwish", nn.Softsign: "Softsign"}


@translates(*_SAME)
def elementwise(graph: Graph, layer: Any, x: Value) -> str:
    """Operators that ONNX has."""
    return graph.add(_SAME[type(layer)], x.name)


@translates(nn.SELU)
def selu(graph: Graph, layer: nn.SELU, x: Value) -> str:
    """With both of its constants."""
    return graph.add("Selu", x.name, alpha=ALPHA, gamma=SCALE)


@translates(nn.CELU)
def celu(graph: Graph, layer: nn.CELU, x: Value) -> str:
    """With its alpha."""
    return graph.add("Celu", x.name, alpha=layer.alpha)


@translates(nn.ReLU6)
def relu6(graph: Graph, layer: nn.ReLU6, x: Value) -> str:
    """Clipped."""
    return graph.add("Clip", x.name, graph.constant(0.0, x.dtype), graph.constant(6.0, x.dtype))


@translates(nn.Hardshrink)
def hardshrink(graph: Graph, layer: nn.Hardshrink, x: Value) -> str:
    """Without a bias."""
    return graph.add("Shrink", x.name, lambd=layer.lambd)


@translates(nn.Softshrink)
def softshrink(graph: Graph, layer: nn.Softshrink, x: Value) -> str:
    """Its bias is where it begins."""
    return graph.add("Shrink", x.name, lambd=layer.lambd, bias=layer.lambd)


@translates(nn.Tanhshrink)
def tanhshrink(graph: Graph, layer: nn.Tanhshrink, x: Value) -> str:
    """x - tanh(x)."""
    return graph.add("Sub", x.name, graph.add("Tanh", x.name))


@translates(nn.Threshold)
def threshold(graph: Graph, layer: nn.Threshold, x: Value) -> str:
    """A value where x is not above."""
    below = graph.add("LessOrEqual", x.name, graph.constant(layer.threshold, x.dtype))
    return graph.add("Where", below, graph.constant(layer.value, x.dtype), x.name)


@translates(nn.Softmin)
def softmin(graph: Graph, layer: nn.Softmin, x: Value) -> str:
    """Of -x."""
    return graph.add("Softmax", graph.add("Neg", x.name), axis=layer.axis)


@translates(nn.Hardsigmoid)
def hardsigmoid(graph: Graph, layer: nn.Hardsigmoid, x: Value) -> str:
    """With PyTorch's slope, which is not ONNX's default."""
    return graph.add("HardSigmoid", x.name, alpha=1 / 6, beta=0.5)


@translates(nn.SiLU)
def silu(graph: Graph, layer: nn.SiLU, x: Value) -> str:
    """x sigmoid(x)."""
    return graph.add("Mul", x.name, graph.add("Sigmoid", x.name))


@translates(nn.LogSigmoid)
def logsigmoid(graph: Graph, layer: nn.LogSigmoid, x: Value) -> str:
    """-softplus(-x)."""
    return graph.add("Neg", graph.add("Softplus", graph.add("Neg", x.name)))


@translates(nn.LogSoftmax)
def log_softmax(graph: Graph, layer: nn.LogSoftmax, x: Value) -> str:
    """Along its axis."""
    return graph.add("LogSoftmax", x.name, axis=layer.axis)


@translates(nn.PReLU)
def prelu(graph: Graph, layer: nn.PReLU, x: Value) -> str:
    """The slopes broadcast from the channels' axis."""
    shape = (layer.num_parameters, *(1,) * (len(x.shape) - 2)) if len(x.shape) > 1 else (1,)
    return graph.add("PRelu", x.name, graph.constant(layer.weight.numpy().reshape(shape), x.dtype))


@translates(nn.GLU, nn.SwiGLU)
def glu(graph: Graph, layer: Any, x: Value) -> str:
    """One half times the gate of the other."""
    n = x.shape[layer.dim] // 2
    a, b = (
        graph.add("Slice", x.name, graph.axes(start), graph.axes(start + n), graph.axes(layer.dim))
        for start in (0, n)
    )
    if isinstance(layer, nn.GLU):
        return graph.add("Mul", a, graph.add("Sigmoid", b))
    return graph.add("Mul", graph.add("Mul", a, graph.add("Sigmoid", a)), b)
