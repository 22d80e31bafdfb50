"""Batch norm in training."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cases import handwritten, jax_rules
from bench.cases.base import Arrays, Inputs, NotExpressibleError, Program, normal
from bench.cases.operation import FLOAT, LayerOperation, load
from bench.columns.base import Column


class BatchNorm(LayerOperation):
    """Batch norm in training, (N, C) or (N, C, H, W).

    Forward reads x and writes y; backward reads x and dy and writes dx.
    """

    name, outputs = "batch_norm", ("y", "dx", "dweight", "dbias")

    @property
    def bytes(self) -> int:
        return 5 * math.prod(self.size) * FLOAT

    def shared(self, rng: np.random.Generator) -> Arrays:
        return {"weight": 1 + 0.1 * normal(rng, self.size[1]), "bias": 0.1 * normal(rng, self.size[1])}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        norm = handwritten.BatchNorm(inputs.shared["weight"], inputs.shared["bias"], len(self.size))
        sets = [(s["x"], s["dy"]) for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            x, dy = sets[i]
            return (norm.forward(x), *norm.backward(dy))

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        nn = importlib.import_module(f"{column.library}.nn")
        make = nn.BatchNorm1d if len(self.size) == 2 else nn.BatchNorm2d
        layer = make(self.size[1])
        if column.library == "torch":
            layer.to(column.device)
        return layer, load(layer, column, **shared)

    def function(self, parameters: list[Any], x: Any) -> Any:
        return jax_rules.batch_norm(x, *parameters)[0]


@dataclass
class BatchNormVariant(BatchNorm):
    """The CUDA kernels of one variant: data kept in a block, a cluster or the grid, or read twice."""

    variant: str = "block"
    torch = jax = None  # type: ignore[assignment]

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"batch_norm_{self.variant.replace(' ', '_')}"

    def xpnet(self, inputs: Inputs, column: Column) -> Program:
        import xpnet
        from xpnet.cuda.batch_norm import normalize

        weight, bias = (column.array(inputs.shared[k]) for k in ("weight", "bias"))
        running = [xpnet.asarray(np.zeros(self.size[1], np.float32)) for _ in range(2)]
        sets = [(column.array(s["x"]), column.array(s["dy"])) for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            x, dy = sets[i]
            y, pullback = normalize(x, *running, weight, bias, training=True, variant=self.variant)
            dx, _, _, dweight, dbias = pullback(dy)
            return y, dx, dweight, dbias

        try:
            run(0)
        except ValueError as reason:  # its plan says so
            raise NotExpressibleError(str(reason)) from None
        return self.program(column, run)
