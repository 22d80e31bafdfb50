"""Bias and ReLU, as two operations and as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, functional, leaf
from bench.columns.base import Column


class BiasReLU(LayerOperation):
    """max(x + b, 0): forward reads x and writes y; backward reads y and dy and writes dx."""

    name, outputs = "bias_relu", ("y", "dx", "dbias")

    @property
    def bytes(self) -> int:
        return 5 * math.prod(self.size) * FLOAT

    def shared(self, rng: np.random.Generator) -> Arrays:
        return {"bias": normal(rng, self.size[1])}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        bias = inputs.shared["bias"]
        sets = [(s["x"], s["dy"], np.empty_like(s["x"]), np.empty_like(s["x"])) for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            x, dy, y, dx = sets[i]
            np.add(x, bias, out=y)
            np.maximum(y, 0, out=y)
            np.multiply(dy, y > 0, out=dx)
            return y, dx, dx.sum(0)

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        bias = leaf(column, shared["bias"])
        relu = functional(column).relu
        return lambda x: relu(x + bias), [bias]

    def function(self, parameters: list[Any], x: Any) -> Any:
        import jax

        return jax.nn.relu(x + parameters[0])


class FusedBiasReLU(BiasReLU):
    """The same by xpnet's own op for it."""

    name = "bias_activation"

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        if column.library != "xpnet":
            return super().layer(shared, column)
        bias, op = leaf(column, shared["bias"]), functional(column).bias_activation
        return lambda x: op(x, bias), [bias]
