"""Ready models in operators of opset 18."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import nn
from xpnet.core.operators import add, getitem, mean, transpose
from xpnet.core.structure import concat
from xpnet.core.tensor import array_of
from xpnet.io.onnx.attention import attention
from xpnet.io.onnx.graph import Graph, Value, translates
from xpnet.nn.vit import in_patches


def chain(graph: Graph, x: Value, *parts: Any) -> Value:
    """One after the other."""
    for part in parts:
        x = graph.apply(part, x)
    return x


def _sum(graph: Graph, a: Value, b: Value) -> Value:
    return Value(graph.add("Add", a.name, b.name), array_of(add(a.example, b.example)))


def _transposed(graph: Graph, x: Value) -> Value:
    return Value(graph.add("Transpose", x.name, perm=[0, 2, 1]), array_of(transpose(x.example, (0, 2, 1))))


@translates(nn.ResNet)
def resnet(graph: Graph, layer: nn.ResNet, x: Value) -> str:
    """Its stages, block by block."""
    x = chain(graph, x, layer.conv1, layer.bn1, nn.ReLU(), layer.maxpool)
    for i in range(4):
        for block in getattr(layer, f"layer{i + 1}"):
            y = chain(graph, x, block.conv1, block.bn1, nn.ReLU(), block.conv2, block.bn2)
            if layer.block == "bottleneck":
                y = chain(graph, y, nn.ReLU(), block.conv3, block.bn3)
            around = x if block.downsample is None else chain(graph, x, block.downsample)
            x = chain(graph, Value(graph.add("Add", y.name, around.name), y.example), nn.ReLU())
    return chain(graph, x, nn.GlobalAvgPool2d(), layer.fc).name


@translates(nn.VGG)
def vgg(graph: Graph, layer: nn.VGG, x: Value) -> str:
    """Convolutions, a mean of each part of the picture, affine maps."""
    return chain(graph, x, layer.features, layer.avgpool, nn.Flatten(), layer.classifier).name


@translates(nn.UNet)
def unet(graph: Graph, layer: nn.UNet, x: Value) -> str:
    """Down, and up again beside what was there on the way down."""
    levels = [chain(graph, x, layer.inc.double_conv)]
    for level in range(layer.depth):
        pool, double = getattr(layer, f"down{level + 1}").maxpool_conv
        levels.append(chain(graph, levels[-1], pool, double.double_conv))
    y = levels.pop()
    for number in range(layer.depth):
        up, beside = getattr(layer, f"up{number + 1}"), levels.pop()
        y = chain(graph, y, up.up)
        rows, columns = (beside.shape[i] - y.shape[i] for i in (2, 3))
        pad = nn.ZeroPad2d((columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        y = chain(graph, y, pad) if rows or columns else y
        both = array_of(concat(beside.example, y.example, axis=1))
        y = chain(graph, Value(graph.add("Concat", beside.name, y.name, axis=1), both), up.conv.double_conv)
    return chain(graph, y, layer.outc.conv).name


def _patches(graph: Graph, layer: Any, projection: nn.Conv2d, x: Value) -> Value:
    """(N, places, features)."""
    y = chain(graph, x, projection)
    name = graph.add("Transpose", graph.reshape(y.name, [0, y.shape[1], layer.places]), perm=[0, 2, 1])
    return Value(name, array_of(in_patches(y.example)))


@translates(nn.ViT)
def vit(graph: Graph, layer: nn.ViT, x: Value) -> str:
    """Patches and a token for the class, the blocks, and the scores of that token."""
    y = _patches(graph, layer, layer.conv_proj, x)
    one = graph.add("ReduceMean", y.name, graph.axes(1))  # (N, 1, features), of which only the shape matters
    nothing = graph.add("Mul", one, graph.constant(0, x.dtype))
    token = graph.add("Add", nothing, graph.constant(layer.class_token, x.dtype))
    joined = graph.add("Concat", token, y.name, axis=1)
    places = graph.constant(layer.encoder.pos_embedding, x.dtype)
    y = Value(
        graph.add("Add", joined, places), array_of(add(y.example[:, :1, :], layer.encoder.pos_embedding))
    )
    for block in layer.encoder.layers:
        z = chain(graph, y, block.ln_1)
        y = _sum(
            graph,
            y,
            Value(attention(graph, block.self_attention, z, z, z, need_weights=False)["output"], z.example),
        )
        y = _sum(graph, y, chain(graph, y, block.ln_2, block.mlp))
    y = chain(graph, y, layer.encoder.ln)
    first = graph.add("Gather", y.name, graph.constant(0, np.int64), axis=1)
    return chain(graph, Value(first, array_of(getitem(y.example, (slice(None), 0)))), layer.heads).name


@translates(nn.MLPMixer)
def mixer(graph: Graph, layer: nn.MLPMixer, x: Value) -> str:
    """Perceptrons across places and across features."""
    perceptron = lambda z, mlp: chain(graph, z, mlp.fc1, nn.GELU(), mlp.fc2)
    y = _patches(graph, layer, layer.stem.proj, x)
    for block in layer.blocks:
        across = perceptron(_transposed(graph, chain(graph, y, block.norm1)), block.mlp_tokens)
        y = _sum(graph, y, _transposed(graph, across))
        y = _sum(graph, y, perceptron(chain(graph, y, block.norm2), block.mlp_channels))
    y = chain(graph, y, layer.norm)
    middle = graph.add("ReduceMean", y.name, graph.axes(1), keepdims=0)
    return chain(graph, Value(middle, array_of(mean(y.example, axis=1))), layer.head).name


@translates(nn.Autoencoder)
def autoencoder(graph: Graph, layer: nn.Autoencoder, x: Value) -> str:
    """To the code and back to the sample's shape."""
    y = chain(graph, x, nn.Flatten(), layer.encoder, layer.decoder)
    return graph.reshape(y.name, [-1, *x.shape[1:]])


@translates(nn.VAE)
def vae(graph: Graph, layer: nn.VAE, x: Value) -> dict[str, str]:
    """What it makes of the means, these, and the log variances."""
    h = chain(graph, x, nn.Flatten(), layer.encoder)
    mean, log_variance = (graph.apply(part, h) for part in (layer.mean, layer.log_variance))
    y = graph.reshape(chain(graph, mean, layer.decoder).name, [-1, *x.shape[1:]])
    return {"output": y, "mean": mean.name, "log_variance": log_variance.name}
