"""Softmax cross-entropy, loss and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from bench.cases import handwritten
from bench.cases.base import Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, Operation, leaf
from bench.columns.base import Column


class CrossEntropy(Operation):
    """mean(log sum exp(z) - z[y]) of (N, C) logits and its gradient: one read, one write."""

    name, outputs = "cross_entropy", ("loss", "grad")
    itemsize: ClassVar[int] = FLOAT

    @property
    def bytes(self) -> int:
        n, c = self.size
        return 2 * n * c * self.itemsize + 8 * n

    def inputs(self, rng: np.random.Generator) -> Arrays:
        n, c = self.size
        return {"z": normal(rng, n, c), "y": rng.integers(0, c, n)}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        sets = [(s["z"], s["y"], np.empty_like(s["z"])) for s in inputs.sets]
        return self.program(column, lambda i: handwritten.cross_entropy(*sets[i]))

    def _tape(self, inputs: Inputs, column: Column, loss_of: Callable[[Any, Any], Any]) -> Program:
        sets = [(leaf(column, s["z"]), column.array(s["y"])) for s in inputs.sets]

        def run(i: int) -> tuple[Any, Any]:
            z, y = sets[i]
            z.grad = None
            loss = loss_of(z, y)
            loss.backward()
            return loss.data, z.grad

        return self.program(column, run)

    def xpnet(self, inputs: Inputs, column: Column) -> Program:
        import xpnet.functional as F

        return self._tape(inputs, column, F.cross_entropy)

    def torch(self, inputs: Inputs, column: Column) -> Program:
        import torch.nn.functional as F

        return self._tape(inputs, column, column.compile(lambda z, y: F.cross_entropy(z, y)))

    def jax(self, inputs: Inputs, column: Column) -> Program:
        import jax
        import jax.numpy as jnp

        def loss(z: Any, y: Any) -> Any:
            log_p = jax.nn.log_softmax(z)
            return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()

        step = column.compile(jax.value_and_grad(loss))
        sets = [(column.array(s["z"]), column.array(s["y"])) for s in inputs.sets]
        return self.program(column, lambda i: step(*sets[i]))


class CrossEntropyBfloat16(CrossEntropy):
    """The same of bfloat16 logits, whose 8 bits round loss and gradient."""

    name, itemsize = "cross_entropy_bfloat16", 2
    tolerance: ClassVar[dict[str, float]] = {"": 4e-3}

    def inputs(self, rng: np.random.Generator) -> Arrays:
        from ml_dtypes import bfloat16

        found = super().inputs(rng)
        return {**found, "z": found["z"].astype(bfloat16)}
