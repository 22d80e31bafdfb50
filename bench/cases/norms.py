"""Layer norm, RMS norm and group norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.handwritten import EPS
from bench.cases.operation import FLOAT, LayerOperation, functional, leaf
from bench.columns.base import Column


class LayerNorm(LayerOperation):
    """Layer norm of (N, C) rows.

    Forward reads x and writes y; backward reads x and dy and writes dx.
    """

    name, outputs = "layer_norm", ("y", "dx", "dweight", "dbias")

    @property
    def bytes(self) -> int:
        return 5 * math.prod(self.size) * FLOAT

    def shared(self, rng: np.random.Generator) -> Arrays:
        return {"weight": 1 + 0.1 * normal(rng, self.size[1]), "bias": 0.1 * normal(rng, self.size[1])}

    def rows(self, x: Any) -> Any:
        """A view with the values of one mean and variance along the last axis."""
        return x

    def affine(self, p: Any) -> Any:
        """Weight or bias as it meets x."""
        return p

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        weight, bias = self.affine(inputs.shared["weight"]), self.affine(inputs.shared["bias"])
        sets = [(s["x"], s["dy"]) for s in inputs.sets]
        others = (0, *range(2, len(self.size)))

        def run(i: int) -> tuple[Any, ...]:
            x, dy = sets[i]
            n = self.rows(x).shape[-1]
            normed = self.rows(x) - self.rows(x).mean(-1, keepdims=True)
            inverse = 1 / np.sqrt(np.vecdot(normed, normed)[..., None] / n + EPS)
            normed *= inverse
            whole = normed.reshape(x.shape)
            y = whole * weight
            y += bias
            dbias, dweight = dy.sum(others), (dy * whole).sum(others)
            slope = self.rows(dy * weight)
            dx = slope - slope.mean(-1, keepdims=True)
            dx -= normed * (np.vecdot(slope, normed)[..., None] / n)
            dx *= inverse
            return y, dx.reshape(x.shape), dweight, dbias

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        weight, bias = leaf(column, shared["weight"]), leaf(column, shared["bias"])
        norm, shape = functional(column).layer_norm, (self.size[1],)
        return lambda x: norm(x, shape, weight, bias), [weight, bias]

    def function(self, parameters: list[Any], x: Any) -> Any:
        import jax

        rows, (weight, bias) = self.rows(x), map(self.affine, parameters)
        mean, var = rows.mean(-1, keepdims=True), rows.var(-1, keepdims=True)
        return ((rows - mean) * jax.lax.rsqrt(var + EPS)).reshape(x.shape) * weight + bias


class RMSNorm(LayerOperation):
    """RMS norm of (N, C) rows; bytes as layer norm's."""

    name, outputs = "rms_norm", ("y", "dx", "dweight")

    @property
    def bytes(self) -> int:
        return 5 * math.prod(self.size) * FLOAT

    def shared(self, rng: np.random.Generator) -> Arrays:
        return {"weight": 1 + 0.1 * normal(rng, self.size[1])}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        weight, sets = inputs.shared["weight"], [(s["x"], s["dy"]) for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            x, dy = sets[i]
            inverse = 1 / np.sqrt(np.vecdot(x, x)[:, None] / x.shape[1] + EPS)
            normed, slope = x * inverse, dy * weight
            dx = slope - normed * (np.vecdot(slope, normed)[:, None] / x.shape[1])
            dx *= inverse
            return normed * weight, dx, (dy * normed).sum(0)

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        weight = leaf(column, shared["weight"])
        norm, shape = functional(column).rms_norm, (self.size[1],)
        return lambda x: norm(x, shape, weight, EPS), [weight]

    def function(self, parameters: list[Any], x: Any) -> Any:
        import jax

        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + EPS) * parameters[0]


class GroupNorm(LayerNorm):
    """Group norm of (N, C, H, W) with eight groups of channels."""

    name = "group_norm"
    groups: ClassVar[int] = 8

    def rows(self, x: Any) -> Any:
        return x.reshape(self.size[0], self.groups, -1)

    def affine(self, p: Any) -> Any:
        return p.reshape(-1, 1, 1)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        weight, bias = leaf(column, shared["weight"]), leaf(column, shared["bias"])
        norm = functional(column).group_norm
        return lambda x: norm(x, self.groups, weight, bias), [weight, bias]
