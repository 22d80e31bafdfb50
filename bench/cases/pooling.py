"""Max pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bench.cases import handwritten, jax_rules
from bench.cases.base import Arrays, Inputs, Program
from bench.cases.operation import FLOAT, LayerOperation, functional
from bench.columns.base import Column


class MaxPool(LayerOperation):
    """The maximum of each 2x2 block of (N, C, H, W): reads x and dy, writes y and dx."""

    name = "max_pool2d"

    def output_shape(self) -> tuple[int, ...]:
        n, c, h, w = self.size
        return n, c, h // 2, w // 2

    @property
    def bytes(self) -> int:
        return 2 * (math.prod(self.size) + math.prod(self.output_shape())) * FLOAT

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        sets = [(s["x"], s["dy"]) for s in inputs.sets]

        def run(i: int) -> tuple[Any, Any]:
            x, dy = sets[i]
            y, winner = handwritten.max_pool(x)
            return y, handwritten.max_unpool(dy, winner)

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        pool = functional(column).max_pool2d
        return lambda x: pool(x, 2), []

    def function(self, parameters: list[Any], x: Any) -> Any:
        return jax_rules.max_pool(x)
