"""Single operations, forward and backward, and the optimizer's update.

Each is written for every library as its users write it. On CPU and CUDA, inputs are leaves that require a
gradient, in xpnet and in PyTorch alike.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bench.cases import handwritten
from bench.cases.base import CHECKED_SETS, Arrays, Case, Inputs, NotExpressibleError, Program, Sweep, normal
from bench.columns import Column

FLOAT = 4  # bytes


def forward_backward(
    layer: Callable[[Any], Any], inputs: list[Any], slopes: list[Any], parameters: list[Any]
) -> Any:
    """y = layer(x), then the gradients given dy; the same words in xpnet and in PyTorch."""

    def run(i: int) -> tuple[Any, ...]:
        x = inputs[i]
        x.grad = None
        for p in parameters:
            p.grad = None
        y = layer(x)
        y.backward(slopes[i])
        return (y.data, x.grad, *[p.grad for p in parameters])

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


class LayerOperation(Operation):
    """y = f(x; parameters), and the gradients given dy, for x of shape `size`."""

    outputs: ClassVar[tuple[str, ...]] = ("y", "dx")

    def output_shape(self) -> tuple[int, ...]:
        return self.size

    def input_shape(self) -> tuple[int, ...]:
        return self.size

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return {"x": normal(rng, *self.input_shape()), "dy": normal(rng, *self.output_shape())}

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        """The layer and its parameters, in xpnet or PyTorch."""
        raise NotImplementedError

    def function(self, parameters: list[Any], x: Any) -> Any:
        """The layer in JAX."""
        raise NotImplementedError

    def _tape(self, inputs: Inputs, column: Column) -> Program:
        layer, parameters = self.layer(inputs.shared, column)
        xs = [leaf(column, s["x"]) for s in inputs.sets]
        dys = [column.array(s["dy"]) for s in inputs.sets]
        return self.program(column, forward_backward(column.compile(layer), xs, dys, parameters))

    xpnet = torch = _tape

    def jax(self, inputs: Inputs, column: Column) -> Program:
        import jax

        def both(parameters: list[Any], x: Any, dy: Any) -> tuple[Any, ...]:
            y, pullback = jax.vjp(self.function, parameters, x)
            dparameters, dx = pullback(dy)
            return (y, dx, *dparameters)

        step = column.compile(both)
        parameters = [column.array(a) for a in inputs.shared.values()]
        sets = [(column.array(s["x"]), column.array(s["dy"])) for s in inputs.sets]
        return self.program(column, lambda i: step(parameters, *sets[i]))


def load(layer: Any, column: Column, weight: np.ndarray, bias: np.ndarray) -> list[Any]:
    """Set weight and bias of an xpnet or PyTorch layer; returns both."""
    layer.weight.data[...] = column.array(weight)
    layer.bias.data[...] = column.array(bias)
    return [layer.weight, layer.bias]


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
        import jax

        weight, bias = (p.reshape((1, -1) + (1,) * (x.ndim - 2)) for p in parameters)
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + handwritten.EPS) * weight + bias


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


class BiasReLU(LayerOperation):
    """max(x + b, 0): forward reads x and writes y; backward reads y and dy and writes dx."""

    name, outputs = "bias_relu", ("y", "dx", "dbias")

    @property
    def bytes(self) -> int:
        return 5 * math.prod(self.size) * FLOAT

    def shared(self, rng: np.random.Generator) -> Arrays:
        return {"bias": normal(rng, self.size[1])}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        bias = inputs.shared["bias"]
        sets = [(s["x"], s["dy"], np.empty_like(s["x"]), np.empty_like(s["x"])) for s in inputs.sets]

        def run(i: int) -> tuple[Any, ...]:
            x, dy, y, dx = sets[i]
            np.add(x, bias, out=y)
            np.maximum(y, 0, out=y)
            np.multiply(dy, y > 0, out=dx)
            return y, dx, dx.sum(0)

        return self.program(column, run)

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        bias = leaf(column, shared["bias"])
        relu = functional(column).relu
        return lambda x: relu(x + bias), [bias]

    def function(self, parameters: list[Any], x: Any) -> Any:
        import jax

        return jax.nn.relu(x + parameters[0])


class FusedBiasReLU(BiasReLU):
    """The same by xpnet's own op for it."""

    name = "bias_activation"

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        if column.library != "xpnet":
            return super().layer(shared, column)
        bias, op = leaf(column, shared["bias"]), functional(column).bias_activation
        return lambda x: op(x, bias), [bias]


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


class Convolution(LayerOperation):
    """A 3x3 convolution that keeps the size, of `size` = (N, C, H, W, O): y, and the gradients of x and W."""

    name, outputs = "conv2d", ("y", "dx", "dweight")
    itemsize: ClassVar[int] = FLOAT

    def input_shape(self) -> tuple[int, ...]:
        return self.size[:4]

    def output_shape(self) -> tuple[int, ...]:
        n, _, h, w, o = self.size
        return n, o, h, w

    @property
    def bytes(self) -> int:
        n, c, h, w, o = self.size
        return self.itemsize * (
            n * h * w * (3 * c + 2 * o) + 3 * 9 * c * o
        )  # x twice, dx; y, dy; W twice, dW

    @property
    def flops(self) -> int:
        return 3 * 2 * 9 * math.prod(self.size)

    def shared(self, rng: np.random.Generator) -> Arrays:
        _, c, _, _, o = self.size
        return {"weight": normal(rng, o, c, 3, 3) * np.float32((9 * c) ** -0.5)}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        weight = inputs.shared["weight"]
        sets = [(s["x"], s["dy"]) for s in inputs.sets]
        return self.program(column, lambda i: handwritten.convolution(*sets[i], weight))

    def layer(self, shared: Arrays, column: Column) -> tuple[Callable[[Any], Any], list[Any]]:
        weight, conv2d = leaf(column, shared["weight"]), functional(column).conv2d
        return lambda x: conv2d(x, weight, padding=1), [weight]

    def function(self, parameters: list[Any], x: Any) -> Any:
        import jax

        return jax.lax.conv(x, parameters[0], (1, 1), "SAME")


class ConvolutionBfloat16(Convolution):
    """The same of bfloat16, whose 8 bits round every result."""

    name, itemsize = "conv2d_bfloat16", 2
    tolerance: ClassVar[dict[str, float]] = {"": 5e-3}

    def shared(self, rng: np.random.Generator) -> Arrays:
        return _bfloat16(super().shared(rng))

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return _bfloat16(super().inputs(rng))


def _bfloat16(arrays: Arrays) -> Arrays:
    from ml_dtypes import bfloat16

    return {name: value.astype(bfloat16) for name, value in arrays.items()}


class OptimizerStep(Operation):
    """The update of one vector of `size` parameters, three times for the check."""

    lr: ClassVar[float] = 1e-3
    rule: ClassVar[str] = "adam"
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
        rules = [handwritten.optimizer(self.rule, t, self.lr, 0.0) for t in thetas]
        steps = [
            lambda rule=r, grad=s["grad"]: rule.step(grad) for r, s in zip(rules, inputs.sets, strict=True)
        ]
        return self.program_of(inputs, column, steps, thetas)

    def make(self, optim: Any, parameter: Any) -> Any:
        """The optimizer, in xpnet and PyTorch alike."""
        if self.rule == "adam":
            return optim.Adam([parameter], lr=self.lr)
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

        step = column.compile(lambda t, g, state: update(self.rule, t, g, state, self.lr, 0.0), donate=(0, 2))
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


class NesterovStep(OptimizerStep):
    """SGD with Nesterov's momentum: reads theta, g, v; writes theta, v."""

    name, rule, passes = "nesterov", "nesterov", 5
    tolerance: ClassVar[dict[str, float]] = {"": 1e-3}


OPERATIONS = [
    Sweep(
        CrossEntropy, [(4096, 1000)], [(128, 10), (1024, 100), (16384, 1000)], [(65536, 1000), (8192, 32000)]
    ),
    Sweep(BatchNorm, [(4096, 512)], [(128, 128), (1024, 256), (16384, 512)], [(65536, 512)]),
    Sweep(BatchNorm, [(32, 64, 28, 28)], [(8, 16, 14, 14), (32, 64, 56, 56)], [(256, 64, 56, 56)]),
    Sweep(BiasReLU, [(4096, 512)], [(128, 128), (1024, 256), (16384, 1024)], [(65536, 1024)]),
    Sweep(Dropout, [(4096, 512)], [(128, 128), (1024, 256), (16384, 1024)], [(65536, 1024)]),
    Sweep(
        Linear, [(256, 1024, 1024)], [(32, 64, 32), (128, 784, 256), (256, 3072, 1024)], [(4096, 4096, 4096)]
    ),
    Sweep(AdamStep, [1_000_000, 10_000_000], [10_000, 100_000, 100_000_000]),
    Sweep(NesterovStep, [10_000_000], [10_000, 100_000, 1_000_000, 100_000_000]),
]
