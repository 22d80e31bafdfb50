"""The update of one vector of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bench.cases import handwritten
from bench.cases.base import CHECKED_SETS, Arrays, Inputs, Program, normal
from bench.cases.operation import FLOAT, Operation
from bench.columns.base import Column


class OptimizerStep(Operation):
    """The update of one vector of `size` parameters, three times for the check."""

    lr: ClassVar[float] = 1e-3
    rule: ClassVar[str] = "adam"
    weight_decay: ClassVar[float] = 0.0
    passes: ClassVar[int] = 0
    outputs = ("change",)

    @property
    def label(self) -> str:
        return f"{self.size // 10**6}M" if self.size >= 10**6 else f"{self.size // 1000}k"

    @property
    def bytes(self) -> int:
        return self.passes * self.size * FLOAT

    @property
    def footprint(self) -> int:
        return 4 * self.size * FLOAT

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return {"theta": normal(rng, self.size), "grad": normal(rng, self.size)}

    def program_of(
        self, inputs: Inputs, column: Column, steps: Sequence[Callable[[], Any]], thetas: Sequence[Any]
    ) -> Program:
        """A program from one `step` function and one theta (or its owner) for each input set."""

        def results() -> Mapping[str, Any]:
            for _ in range(CHECKED_SETS):
                steps[0]()
            return {"change": column.host(thetas[0]) - inputs.sets[0]["theta"]}

        return Program(lambda i: steps[i](), results)

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        thetas = [s["theta"].copy() for s in inputs.sets]
        rules = [handwritten.optimizer(self.rule, t, self.lr, self.weight_decay) for t in thetas]
        steps = [
            lambda rule=r, grad=s["grad"]: rule.step(grad) for r, s in zip(rules, inputs.sets, strict=True)
        ]
        return self.program_of(inputs, column, steps, thetas)

    def make(self, optim: Any, parameter: Any) -> Any:
        """The optimizer, in xpnet and PyTorch alike."""
        if self.rule == "adam":
            return optim.Adam([parameter], lr=self.lr)
        if self.rule == "adamw":
            return optim.AdamW([parameter], lr=self.lr, weight_decay=self.weight_decay)
        # PyTorch's foreach form adds to the gradients themselves, which are the same in each step here
        alone = {"foreach": False} if optim.__name__.startswith("torch") else {}
        return optim.SGD([parameter], lr=self.lr, momentum=handwritten.MOMENTUM, nesterov=True, **alone)

    def xpnet(self, inputs: Inputs, column: Column) -> Program:
        from xpnet import nn, optim

        steps, thetas = [], []
        for s in inputs.sets:
            parameter = nn.Parameter(column.array(s["theta"].copy()))
            parameter.grad = column.array(s["grad"])
            steps.append(self.make(optim, parameter).step)
            thetas.append(parameter)
        return self.program_of(inputs, column, steps, thetas)

    def torch(self, inputs: Inputs, column: Column) -> Program:
        import torch

        steps, thetas = [], []
        for s in inputs.sets:
            parameter = torch.nn.Parameter(column.array(s["theta"].copy()))
            parameter.grad = column.array(s["grad"])
            steps.append(column.compile(self.make(torch.optim, parameter).step))
            thetas.append(parameter)
        return self.program_of(inputs, column, steps, thetas)

    def jax(self, inputs: Inputs, column: Column) -> Program:
        from bench.cases.jax_rules import initial, update

        rates = self.lr, self.weight_decay
        step = column.compile(lambda t, g, state: update(self.rule, t, g, state, *rates), donate=(0, 2))
        thetas = [column.array(s["theta"]) for s in inputs.sets]
        grads = [column.array(s["grad"]) for s in inputs.sets]
        states = [initial(self.rule, t) for t in thetas]

        def run(i: int) -> Any:
            thetas[i], states[i] = step(thetas[i], grads[i], states[i])
            return thetas[i]

        return self.program_of(inputs, column, [partial(run, i) for i in range(len(thetas))], thetas)


class AdamStep(OptimizerStep):
    """Adam: reads theta, g, m, v; writes theta, m, v."""

    name, rule, passes = "adam", "adam", 7
    tolerance: ClassVar[dict[str, float]] = {"": 1e-3}  # of the change of theta, which rounds to theta's ulp


class AdamWStep(AdamStep):
    """Adam with decoupled weight decay: no pass more."""

    name, rule, weight_decay = "adamw", "adamw", 0.01


class NesterovStep(OptimizerStep):
    """SGD with Nesterov's momentum: reads theta, g, v; writes theta, v."""

    name, rule, passes = "nesterov", "nesterov", 5
    tolerance: ClassVar[dict[str, float]] = {"": 1e-3}
