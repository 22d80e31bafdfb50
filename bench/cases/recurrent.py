"""One step of a recurrent network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, functional, leaf
from bench.columns.base import Column


class RNNCell(LayerOperation):
    """tanh(x W^T + b + h U^T + c) for `size` = (rows, in, hidden): six products."""

    name, operands = "rnn_cell", ("x", "h")
    outputs = ("y", "dx", "dh", "dw", "du", "db", "dc")

    def inputs(self, rng: np.random.Generator) -> Arrays:
        n, a, b = self.size
        return {"x": normal(rng, n, a), "h": np.tanh(normal(rng, n, b)), "dy": normal(rng, n, b)}

    def shared(self, rng: np.random.Generator) -> Arrays:
        _, a, b = self.size
        scale = np.float32(b**-0.5)
        return {
            "w": scale * normal(rng, b, a),
            "u": scale * normal(rng, b, b),
            "b": scale * normal(rng, b),
            "c": scale * normal(rng, b),
        }

    @property
    def bytes(self) -> int:
        n, a, b = self.size
        return FLOAT * (3 * n * a + 3 * n * b + 3 * n * b + 3 * b * (a + b))  # x, h; y twice, dy; W, U

    @property
    def flops(self) -> int:
        n, a, b = self.size
        return 6 * n * b * (a + b)

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        w, u, b, c = (inputs.shared[name] for name in "wubc")
        sets = [(s["x"], s["h"], s["dy"]) for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            x, h, dy = sets[i]
            y = x @ w.T
            y += h @ u.T
            y += b + c
            np.tanh(y, out=y)
            slope = np.multiply(y, y)
            np.subtract(1, slope, out=slope)
            slope *= dy
            bias = slope.sum(0)
            return y, slope @ w, slope @ u, slope.T @ x, slope.T @ h, bias, bias

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[..., Any], list[Any]]:
        parameters = w, u, b, c = [leaf(column, shared[name]) for name in "wubc"]
        if column.library == "torch":
            import torch

            return lambda x, h: torch.rnn_tanh_cell(x, h, w, u, b, c), parameters
        F = functional(column)
        return lambda x, h: F.tanh(F.linear(x, w, b) + F.linear(h, u, c)), parameters

    def function(self, parameters: list[Any], *x: Any) -> Any:
        import jax.numpy as jnp

        (x, h), (w, u, b, c) = x, parameters
        return jnp.tanh(x @ w.T + b + h @ u.T + c)
