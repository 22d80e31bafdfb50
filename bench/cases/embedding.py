"""Rows of a table by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, functional
from bench.columns.base import Column


class Embedding(LayerOperation):
    """w[x] and its gradient, a table of the size of w; `size` = (rows, features, tokens)."""

    name, operands, outputs = "embedding", ("w",), ("y", "dw")

    @property
    def bytes(self) -> int:
        n, d, tokens = self.size
        return FLOAT * (3 * tokens * d + n * d)  # rows read, y; dy; dw

    def input_shape(self) -> tuple[int, ...]:
        return self.size[:2]

    def output_shape(self) -> tuple[int, ...]:
        return self.size[2], self.size[1]

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return {"w": normal(rng, *self.input_shape()), "dy": normal(rng, *self.output_shape())}

    def shared(self, rng: np.random.Generator) -> Arrays:
        return {"x": rng.integers(0, self.size[0], self.size[2])}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        x, sets = inputs.shared["x"], [(s["w"], s["dy"]) for s in inputs.sets]
        order = x.argsort(kind="stable")
        starts = np.flatnonzero(np.diff(x[order], prepend=-1))

        def run(i: int) -> tuple[Any, ...]:
            w, dy = sets[i]
            dw = np.zeros_like(w)
            dw[x[order[starts]]] = np.add.reduceat(dy[order], starts)
            return w[x], dw

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[..., Any], list[Any]]:
        x, take = column.array(shared["x"]), functional(column).embedding
        return lambda w: take(x, w), []

    def jax(self, inputs: Inputs, column: Column) -> Program:
        import jax

        def both(x: Any, dy: Any, w: Any) -> tuple[Any, ...]:
            y, pullback = jax.vjp(lambda w: w[x], w)
            return y, *pullback(dy)

        step, x = column.compile(both), column.array(inputs.shared["x"])
        sets = [[column.array(s[name]) for name in ("dy", "w")] for s in inputs.sets]
        return self.program(column, lambda i: step(x, *sets[i]))
