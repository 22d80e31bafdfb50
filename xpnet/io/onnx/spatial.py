"""Convolutions of any axes, resizing and padding in operators of opset 18."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import nn
from xpnet.functional.resampling import adaptive_sizes, maps_of
from xpnet.functional.taps import Map, taps
from xpnet.io.onnx.edges import beyond, extended
from xpnet.io.onnx.graph import Graph, Value, translates


def _all(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value)


def _with_samples(layer: Any, x: Value, axes: int) -> None:
    if len(x.shape) != axes + 2:
        raise TypeError(f"{type(layer).__name__} of samples without an axis of channels is not ONNX's")


def _convolution(graph: Graph, op: str, layer: Any, name: str, dtype: Any, bias: Any, **options: Any) -> str:
    """The layouts are the same."""
    axes = len(layer.kernel_size)
    return graph.add(
        op,
        name,
        graph.constant(layer.weight, dtype),
        *([] if bias is None else [graph.constant(bias, dtype)]),
        kernel_shape=list(layer.kernel_size),
        strides=_all(layer.stride, axes),
        dilations=_all(layer.dilation, axes),
        group=layer.groups,
        **options,
    )


@translates(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def conv(graph: Graph, layer: Any, x: Value) -> str:
    """Of any axes."""
    axes = len(layer.kernel_size)
    _with_samples(layer, x, axes)
    name, pads = extended(graph, layer, x)
    return _convolution(graph, "Conv", layer, name, x.dtype, layer.bias, pads=pads)


@translates(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def conv_transpose(graph: Graph, layer: Any, x: Value) -> str:
    """ONNX's output_padding is below the stride; more of it are zeros, before the bias is added."""
    axes = layer.axes
    _with_samples(layer, x, axes)
    pads, more = (_all(given, axes) for given in (layer.padding, layer.output_padding))
    if all(extra < stride for extra, stride in zip(more, _all(layer.stride, axes), strict=True)):
        ends = {"pads": pads * 2, "output_padding": more}
        return _convolution(graph, "ConvTranspose", layer, x.name, x.dtype, layer.bias, **ends)
    y = _convolution(graph, "ConvTranspose", layer, x.name, x.dtype, None)
    cut = [0, 0, *(-p for p in pads), 0, 0, *(extra - p for p, extra in zip(pads, more, strict=True))]
    y = graph.add("Pad", y, graph.axes(*cut), graph.constant(0, x.dtype))
    if layer.bias is None:
        return y
    return graph.add("Add", y, graph.constant(layer.bias.numpy().reshape(-1, *(1,) * axes), x.dtype))


def _along_axes(graph: Graph, maps: tuple[Map, ...], x: Value) -> str:
    """Each axis through a matrix."""
    name, n = x.name, len(x.shape)
    for i, how in enumerate(maps):
        axis = n - len(maps) + i
        matrix = np.zeros((how.m, how.n))
        parts, weights = taps(how)
        np.add.at(matrix, (np.arange(how.m)[:, None], parts), weights)
        last = [k for k in range(n) if k != axis] + [axis]
        back = [last.index(k) for k in range(n)]
        name = graph.add("Transpose", name, perm=last)
        name = graph.add("MatMul", name, graph.constant(matrix.T, x.dtype))
        name = graph.add("Transpose", name, perm=back)
    return name


@translates(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def upsample(graph: Graph, layer: nn.Upsample, x: Value) -> str:
    """Resize, where its scales are those of the sizes; else a matrix for each axis."""
    options = (layer.mode, layer.align_corners, layer.recompute_scale_factor)
    maps = maps_of(x.shape, layer.size, layer.scale_factor, *options)
    whole = all(how.m % how.n == 0 and how.scale == how.n / how.m for how in maps)
    if not whole or layer.mode not in ("nearest", "linear", "bilinear", "trilinear"):
        return _along_axes(graph, maps, x)
    scales = graph.constant([1.0, 1.0, *(how.m / how.n for how in maps)], np.float32)
    if layer.mode == "nearest":
        how: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return graph.add("Resize", x.name, "", scales, mode="nearest", **how)
    corners = "align_corners" if layer.align_corners else "half_pixel"
    return graph.add("Resize", x.name, "", scales, mode="linear", coordinate_transformation_mode=corners)


@translates(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
def adaptive_mean(graph: Graph, layer: Any, x: Value) -> str:
    """A mean of everything, or a matrix for each axis."""
    axes = layer.axes
    _with_samples(layer, x, axes)
    sizes = adaptive_sizes(type(layer).__name__, x.shape, layer.output_size, axes)
    if all(m == 1 for m in sizes):
        return graph.add("GlobalAveragePool", x.name)
    maps = [Map("mean", n, m, n / m) for n, m in zip(x.shape[2:], sizes, strict=True)]
    return _along_axes(graph, tuple(maps), x)


@translates(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
def adaptive_max(graph: Graph, layer: Any, x: Value) -> str:
    """Along each axis, the elements of each part side by side, and their maximum."""
    axes = layer.axes
    _with_samples(layer, x, axes)
    name, shape = x.name, list(x.shape)
    sizes = adaptive_sizes(type(layer).__name__, x.shape, layer.output_size, axes)
    for i, m in enumerate(sizes):
        axis = 2 + i
        parts = taps(Map("mean", shape[axis], m, shape[axis] / m))[0]
        name = graph.add("Gather", name, graph.constant(parts.reshape(-1), np.int64), axis=axis)
        name = graph.reshape(name, [0, *shape[1:axis], m, parts.shape[1], *shape[axis + 1 :]])
        name = graph.add("ReduceMax", name, graph.axes(axis + 1), keepdims=0)
        shape[axis] = m
    return name


@translates(nn.PixelShuffle)
def pixel_shuffle(graph: Graph, layer: nn.PixelShuffle, x: Value) -> str:
    """Columns within rows within depth."""
    _with_samples(layer, x, 2)
    return graph.add("DepthToSpace", x.name, blocksize=layer.upscale_factor, mode="CRD")


@translates(nn.PixelUnshuffle)
def pixel_unshuffle(graph: Graph, layer: nn.PixelUnshuffle, x: Value) -> str:
    """The opposite order of SpaceToDepth."""
    _with_samples(layer, x, 2)
    (c, h, w), r = x.shape[1:], layer.downscale_factor
    split = graph.reshape(x.name, [0, c, h // r, r, w // r, r])
    return graph.reshape(
        graph.add("Transpose", split, perm=[0, 1, 3, 5, 2, 4]), [0, c * r * r, h // r, w // r]
    )


_PADS = [getattr(nn, name) for name in nn.__all__ if name[:-2].endswith("Pad")]  # ZeroPad2d and the like


@translates(*_PADS)
def pad(graph: Graph, layer: Any, x: Value) -> str:
    """At the ends of the last axes."""
    axes = layer.axes
    _with_samples(layer, x, axes)
    widths = _all(layer.padding, 2 * axes)
    before, after = widths[::2][::-1], widths[1::2][::-1]
    return beyond(graph, x, before, after, layer.mode, layer.value or 0.0)
