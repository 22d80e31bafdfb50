"""An operation, forward and backward, written for every library as its users write it.

On CPU and CUDA, inputs are leaves that require a gradient, in xpnet and in PyTorch alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bench.cases.base import Arrays, Case, Inputs, Program, normal
from bench.columns.base import Column

FLOAT = 4  # bytes


def forward_backward(
    layer: Callable[..., Any], inputs: list[tuple[Any, ...]], slopes: list[Any], parameters: list[Any]
) -> Any:
    """y = layer(*x), then the gradients given dy; the same words in xpnet and in PyTorch."""

    def run(i: int) -> tuple[Any, ...]:
        leaves = (*inputs[i], *parameters)
        for leaf in leaves:
            leaf.grad = None
        y = layer(*inputs[i])
        y.backward(slopes[i])
        return (y.data, *[leaf.grad for leaf in leaves])

    return run


def leaf(column: Column, host: np.ndarray) -> Any:
    """An array that requires a gradient, in xpnet or in PyTorch."""
    if column.library == "xpnet":
        import xpnet

        return xpnet.Tensor(column.array(host), requires_grad=True)
    return column.array(host).requires_grad_()


def functional(column: Column) -> Any:
    """xpnet.functional or torch.nn.functional."""
    return importlib.import_module("xpnet.functional" if column.library == "xpnet" else "torch.nn.functional")


class Operation(Case):
    """An operation whose `run` returns a tuple of `outputs`."""

    group = "op"
    outputs: ClassVar[tuple[str, ...]] = ()
    # float32 keeps 1e-7 of each term; sums over thousands of rows, term by term, lose two digits
    tolerance: ClassVar[dict[str, float]] = {"": 5e-5}

    @property
    def label(self) -> str:
        return "x".join(map(str, self.size))

    def program(self, column: Column, run: Callable[[int], Any]) -> Program:
        def results() -> Mapping[str, Any]:
            with_names = zip(self.outputs, run(0), strict=True)
            return {name: column.host(value) for name, value in with_names}

        return Program(run, results)


class LayerOperation(Operation):
    """y = f(x; parameters), and the gradients of operands and parameters given dy; `size` is x's shape."""

    operands: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y", "dx")

    def output_shape(self) -> tuple[int, ...]:
        return self.size

    def input_shape(self) -> tuple[int, ...]:
        return self.size

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return {"x": normal(rng, *self.input_shape()), "dy": normal(rng, *self.output_shape())}

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[..., Any], list[Any]]:
        """The layer and its parameters, in xpnet or PyTorch."""
        raise NotImplementedError

    def function(self, parameters: list[Any], *x: Any) -> Any:
        """The layer in JAX."""
        raise NotImplementedError

    def _tape(self, inputs: Inputs, column: Column) -> Program:
        layer, parameters = self.layer(inputs.shared, column)
        xs = [tuple(leaf(column, s[name]) for name in self.operands) for s in inputs.sets]
        dys = [column.array(s["dy"]) for s in inputs.sets]
        return self.program(column, forward_backward(column.compile(layer), xs, dys, parameters))

    xpnet = torch = _tape

    def jax(self, inputs: Inputs, column: Column) -> Program:
        import jax

        def both(parameters: list[Any], dy: Any, *x: Any) -> tuple[Any, ...]:
            y, pullback = jax.vjp(self.function, parameters, *x)
            dparameters, *dx = pullback(dy)
            return (y, *dx, *dparameters)

        step = column.compile(both)
        parameters = [column.array(a) for a in inputs.shared.values()]
        sets = [[column.array(s[name]) for name in ("dy", *self.operands)] for s in inputs.sets]
        return self.program(column, lambda i: step(parameters, *sets[i]))


def load(layer: Any, column: Column, weight: np.ndarray, bias: np.ndarray) -> list[Any]:
    """Set weight and bias of an xpnet or PyTorch layer; returns both."""
    layer.weight.data[...] = column.array(weight)
    layer.bias.data[...] = column.array(bias)
    return [layer.weight, layer.bias]


def bfloat16_of(arrays: Arrays) -> Arrays:
    from ml_dtypes import bfloat16

    return {name: value.astype(bfloat16) for name, value in arrays.items()}
