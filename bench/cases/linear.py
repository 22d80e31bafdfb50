"""A linear layer: three products."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, load
from bench.columns.base import Column


class Linear(LayerOperation):
    """y = x W^T + b for `size` = (rows, in, out): three products, 2 rows in out operations each."""

    name, outputs = "linear", ("y", "dx", "dweight", "dbias")

    def input_shape(self) -> tuple[int, ...]:
        return self.size[0], self.size[1]

    def output_shape(self) -> tuple[int, ...]:
        return self.size[0], self.size[2]

    @property
    def bytes(self) -> int:
        n, a, b = self.size
        return FLOAT * (3 * n * a + 2 * n * b + 3 * a * b)  # x twice, dx; y, dy; W twice, dW

    @property
    def flops(self) -> int:
        return 6 * math.prod(self.size)

    def shared(self, rng: np.random.Generator) -> Arrays:
        _, a, b = self.size
        return {"weight": normal(rng, b, a) * np.float32(a**-0.5), "bias": normal(rng, b)}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        w, b = inputs.shared["weight"], inputs.shared["bias"]
        sets = [(s["x"], s["dy"]) for s in inputs.sets]
        y, dx = np.empty_like(sets[0][1]), np.empty_like(sets[0][0])
        dw, db = np.empty_like(w), np.empty_like(b)

        def run(i: int) -> tuple[Any, ...]:
            x, dy = sets[i]
            np.matmul(x, w.T, out=y)
            np.add(y, b, out=y)
            np.matmul(dy, w, out=dx)
            np.matmul(dy.T, x, out=dw)
            np.sum(dy, 0, out=db)
            return y, dx, dw, db

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        _, a, b = self.size
        layer = importlib.import_module(f"{column.library}.nn").Linear(a, b)
        if column.library == "torch":
            layer.to(column.device)
        return layer, load(layer, column, **shared)

    def function(self, parameters: list[Any], x: Any) -> Any:
        weight, bias = parameters
        return x @ weight.T + bias
