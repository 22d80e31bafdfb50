"""Scaled dot-product attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, functional
from bench.columns.base import Column


class Attention(LayerOperation):
    """softmax(q k^T / sqrt D) v for q, k, v of (N, heads, length, D), without a mask.

    Forward has two products, backward four.
    """

    name, operands = "attention", ("q", "k", "v")
    outputs = ("y", "dq", "dk", "dv")

    @property
    def bytes(self) -> int:
        return 12 * math.prod(self.size) * FLOAT  # q, k, v twice, dy; y, dq, dk, dv; y once more

    @property
    def flops(self) -> int:
        n, heads, length, width = self.size
        return 6 * 2 * n * heads * length * length * width

    @property
    def scale(self) -> float:
        """1 / sqrt D."""
        return self.size[-1] ** -0.5

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return {name: normal(rng, *self.size) for name in (*self.operands, "dy")}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        sets = [[s[name] for name in (*self.operands, "dy")] for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            q, k, v, dy = sets[i]
            p = np.matmul(q, k.mT)
            p *= self.scale
            p -= p.max(-1, keepdims=True)
            np.exp(p, out=p)
            p /= p.sum(-1, keepdims=True)
            slope = np.matmul(dy, v.mT)
            slope -= np.vecdot(slope, p)[..., None]
            slope *= p
            slope *= self.scale
            return p @ v, slope @ k, slope.mT @ q, p.mT @ dy

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[..., Any], list[Any]]:
        return functional(column).scaled_dot_product_attention, []

    def function(self, parameters: list[Any], *x: Any) -> Any:
        import jax

        q, k, v = x
        return jax.nn.softmax((q * self.scale) @ k.mT) @ v
