"""Convolutions: 3x3 and 1x1, strides, groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from bench.cases import handwritten
from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, bfloat16_of, functional, leaf
from bench.columns.base import Column


class Convolution(LayerOperation):
    """A convolution of `size` = (N, C, H, W, O), padded by half its window: y, the gradients of x and W."""

    name, outputs = "conv2d", ("y", "dx", "dweight")
    itemsize: ClassVar[int] = FLOAT
    kernel: ClassVar[int] = 3
    stride: ClassVar[int] = 1
    groups: ClassVar[int] = 1

    def input_shape(self) -> tuple[int, ...]:
        return self.size[:4]

    def output_shape(self) -> tuple[int, ...]:
        n, _, h, w, o = self.size
        return n, o, -(-h // self.stride), -(-w // self.stride)

    def weight_shape(self) -> tuple[int, ...]:
        """(O, C / groups, kernel, kernel)."""
        return self.size[4], self.size[1] // self.groups, self.kernel, self.kernel

    @property
    def bytes(self) -> int:
        x, y, w = map(math.prod, (self.input_shape(), self.output_shape(), self.weight_shape()))
        return self.itemsize * (3 * x + 2 * y + 3 * w)  # x twice, dx; y, dy; W twice, dW

    @property
    def flops(self) -> int:
        n, _, h, w = self.output_shape()
        return 3 * 2 * n * h * w * math.prod(self.weight_shape())

    def shared(self, rng: np.random.Generator) -> Arrays:
        shape = self.weight_shape()
        return {"weight": normal(rng, *shape) * np.float32(math.prod(shape[1:]) ** -0.5)}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        weight = inputs.shared["weight"]
        sets = [(s["x"], s["dy"]) for s in inputs.sets]
        way = self.stride, self.groups
        return self.program(column, lambda i: handwritten.convolution(*sets[i], weight, *way))

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        weight, conv2d = leaf(column, shared["weight"]), functional(column).conv2d
        options = {"stride": self.stride, "padding": self.kernel // 2, "groups": self.groups}
        return lambda x: conv2d(x, weight, **options), [weight]

    def function(self, parameters: list[Any], x: Any) -> Any:
        from jax import lax

        padding = [(self.kernel // 2, self.kernel // 2)] * 2
        stride = (self.stride, self.stride)
        return lax.conv_general_dilated(x, parameters[0], stride, padding, feature_group_count=self.groups)


class StridedConvolution(Convolution):
    """Every second window: the first of a stage of ResNet."""

    name, stride = "conv2d_stride2", 2


class PointwiseConvolution(Convolution):
    """1x1 windows: a product for each pixel."""

    name, kernel = "conv2d_1x1", 1


class StridedPointwiseConvolution(Convolution):
    """The shortcut of a stage of ResNet."""

    name, kernel, stride = "conv2d_1x1_stride2", 1, 2


class GroupedConvolution(Convolution):
    """Four groups of channels that do not mix."""

    name, groups = "conv2d_groups4", 4


class ConvolutionBfloat16(Convolution):
    """The same of bfloat16, whose 8 bits round every result."""

    name, itemsize = "conv2d_bfloat16", 2
    tolerance: ClassVar[dict[str, float]] = {"": 5e-3}

    def shared(self, rng: np.random.Generator) -> Arrays:
        return bfloat16_of(super().shared(rng))

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return bfloat16_of(super().inputs(rng))
