"""Dropout, whose masks differ between libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bench.cases import handwritten
from bench.cases.base import Arrays, Inputs, Program
from bench.cases.operation import FLOAT, LayerOperation, functional
from bench.columns.base import Column


class Dropout(LayerOperation):
    """Inverted dropout with p = 0.5: two reads and two writes; the mask can be recomputed from a counter.

    Masks differ between libraries, so each one is checked for what dropout must do.
    """

    name = "dropout"
    p: ClassVar[float] = 0.5

    @property
    def bytes(self) -> int:
        return 4 * math.prod(self.size) * FLOAT

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        rng = np.random.default_rng(0)
        sets = [(s["x"], s["dy"]) for s in inputs.sets]

        def run(i: int) -> tuple[Any, Any]:
            x, dy = sets[i]
            y, mask = handwritten.dropout(x, self.p, rng)
            mask *= dy
            return y, mask

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        dropout = functional(column).dropout
        return lambda x: dropout(x, self.p), []

    def jax(self, inputs: Inputs, column: Column) -> Program:
        import jax
        import jax.numpy as jnp

        def both(key: Any, x: Any, dy: Any) -> tuple[Any, ...]:
            key, draw = jax.random.split(key)
            keep = jax.random.bernoulli(draw, 1 - self.p, x.shape)
            y, pullback = jax.vjp(lambda x: jnp.where(keep, x / (1 - self.p), 0), x)
            return key, y, pullback(dy)[0]

        step = column.compile(both)
        sets = [(column.array(s["x"]), column.array(s["dy"])) for s in inputs.sets]
        key = jax.random.key(0)

        def run(i: int) -> tuple[Any, Any]:
            nonlocal key
            key, y, dx = step(key, *sets[i])
            return y, dx

        return self.program(column, run)

    def reference(self, inputs: Inputs) -> Mapping[str, Any]:
        return inputs.sets[0]

    def verify(self, results: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
        """Kept elements are scaled exactly, forward and backward alike; the share kept is within 6 sigma."""
        y, dx, scale = results["y"], results["dx"], 1 / (1 - self.p)
        kept = (y != 0) | (dx != 0)  # among millions of inputs, one is 0
        error = max(
            np.abs(y - kept * reference["x"] * scale).max(), np.abs(dx - kept * reference["dy"] * scale).max()
        )
        sigma = math.sqrt(self.p * (1 - self.p) / y.size)
        share = abs(kept.mean() - (1 - self.p)) / (6 * sigma)
        worst = max(float(error) / self.tolerance[""], float(share))
        return worst if math.isfinite(worst) else math.inf
