"""Whole training steps: a batch goes forward, the loss backward, the optimizer updates.

All columns start from the same parameters and see the same batches. They are compared after three steps: the
losses and the change of the parameters. Dropout is off there, since every library draws its own masks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bench.cases import handwritten, jax_rules
from bench.cases.base import CHECKED_SETS, Arrays, Case, Inputs, NotExpressibleError, Program, Sweep, normal
from bench.columns.base import Column

FLOAT = 4  # bytes
TRAFFIC = {"sgd": 2, "nesterov": 4, "adam": 6}
"""Passes over the parameters in a step: theta and the moments, read and written."""


class Step(Case):
    """A training step with `size` samples a batch."""

    group: ClassVar[str] = "step"
    rule: ClassVar[str] = "adam"
    lr: ClassVar[float] = 1e-3
    weight_decay: ClassVar[float] = 0.0

    @property
    def label(self) -> str:
        return f"batch {self.size}"

    def network(self, nn: Any) -> list[Any]:
        """The layers, in xpnet and in PyTorch alike."""
        raise NotImplementedError

    def program(
        self, inputs: Inputs, column: Column, run: Callable[[int], Any], parameters: Callable[[], list[Any]]
    ) -> Program:
        """A program whose `run` returns the loss; `parameters` reads them, or one vector of them."""

        def results() -> Mapping[str, Any]:
            losses = [float(column.host(run(i % len(inputs.sets)))) for i in range(CHECKED_SETS)]
            return {"losses": np.array(losses), "change": self.change(inputs, map(column.host, parameters()))}

        return Program(run, results)

    def change(self, inputs: Inputs, parameters: Any) -> np.ndarray:
        """How far the parameters have moved, as one vector."""
        vector = lambda arrays: np.concatenate([np.ravel(a) for a in arrays])
        return vector(parameters) - vector(inputs.shared["parameters"])

    def optimizer(self, optim: Any, model: Any, **options: Any) -> Any:
        """The optimizer, in xpnet and in PyTorch alike."""
        if self.rule == "adam":
            return optim.Adam(model.parameters(), lr=self.lr, **options)
        if self.rule == "sgd":
            return optim.SGD(model.parameters(), lr=self.lr)
        return optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=handwritten.MOMENTUM,
            nesterov=True,
            weight_decay=self.weight_decay,
        )

    def _tape(
        self, inputs: Inputs, column: Column, model: Any, optim: Any, loss_of: Callable[[Any, Any], Any]
    ) -> Program:
        for p, value in zip(model.parameters(), inputs.shared["parameters"], strict=True):
            p.data[...] = column.array(value)
        model = column.laid_out(model)
        # PyTorch's Adam counts on the host, unless it is told that its step will be a graph
        counts = column.library == "torch" and getattr(column, "captured", False) and self.rule == "adam"
        optimizer = self.optimizer(optim, model, **({"capturable": True} if counts else {}))
        loss_of = column.compile(loss_of)
        sets = [(column.array(s["x"]), column.array(s["y"])) for s in inputs.sets]

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            optimizer.step()
            return loss

        whole = column.whole(step)
        run = lambda i: whole(*sets[i])
        return self.program(inputs, column, run, lambda: list(model.parameters()))

    def model(self) -> Any:
        """The network in xpnet."""
        from xpnet import nn

        return nn.Sequential(*self.network(nn))

    def xpnet(self, inputs: Inputs, column: Column) -> Program:
        import xpnet.functional as F
        from xpnet import optim

        model = self.model()
        return self._tape(inputs, column, model, optim, lambda x, y: F.cross_entropy(model(x), y))

    def torch(self, inputs: Inputs, column: Column) -> Program:
        import torch
        import torch.nn.functional as F

        model = torch.nn.Sequential(*self.network(torch.nn)).to(column.device)
        return self._tape(inputs, column, model, torch.optim, lambda x, y: F.cross_entropy(model(x), y))

    # ---- JAX: one function of everything that changes ----

    def forward(self, theta: list[Any], x: Any, key: Any) -> tuple[Any, list[Any]]:
        """Logits, and what each batch norm saw, in JAX."""
        raise NotImplementedError

    def jax(self, inputs: Inputs, column: Column) -> Program:
        import jax
        import jax.numpy as jnp

        random = bool(getattr(self, "p", 0.0))

        def loss_of(theta: list[Any], x: Any, y: Any, key: Any) -> tuple[Any, list[Any]]:
            logits, statistics = self.forward(theta, x, key)
            picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
            return -picked.mean(), statistics

        def step(theta: Any, state: Any, running: Any, key: Any, x: Any, y: Any) -> tuple[Any, ...]:
            key, draw = jax.random.split(key) if random else (key, key)
            (loss, new), grad = jax.value_and_grad(loss_of, has_aux=True)(theta, x, y, draw)
            running = jax.tree.map(lambda r, n: 0.9 * r + 0.1 * n, running, new)
            theta, state = jax_rules.update(self.rule, theta, grad, state, self.lr, self.weight_decay)
            return theta, state, running, key, loss

        compiled = column.compile(step, donate=(0, 1, 2))
        theta = [column.array(a) for a in inputs.shared["parameters"]]
        state, key = jax_rules.initial(self.rule, theta), jax.random.key(0)
        sets = [(column.array(s["x"]), column.array(s["y"])) for s in inputs.sets]
        _, seen = jax.eval_shape(self.forward, theta, sets[0][0], key)
        running = [(jnp.zeros(mean.shape), jnp.ones(var.shape)) for mean, var in seen]

        def run(i: int) -> Any:
            nonlocal theta, state, running, key
            theta, state, running, key, loss = compiled(theta, state, running, key, *sets[i])
            return loss

        return self.program(inputs, column, run, lambda: theta)


@dataclasses.dataclass
class MLPStep(Step):
    """A step of a multi-layer perceptron with `size` rows a batch."""

    p: float = 0.0
    layers: ClassVar[tuple[int, ...]] = ()
    norm: ClassVar[bool] = False
    # Adam divides each gradient by its own size, which magnifies the rounding of small ones; scikit-learn and
    # thinc add its epsilon before the bias correction, which moves the first steps by up to a hundredth
    tolerance: ClassVar[dict[str, float]] = {"losses": 1e-4, "change": 5e-3, "change, other epsilon": 3e-2}

    def verify(self, results: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
        """Of thousands of rows, small gradients are sums in which terms cancel: PyTorch errs as much."""
        return super().verify(results, reference) / (4 if self.size > 1024 else 1)

    @property
    def parameters(self) -> int:
        return sum((a + 1) * b for a, b in zip(self.layers, self.layers[1:], strict=False)) + (
            2 * sum(self.layers[1:-1]) if self.norm else 0
        )

    @property
    def bytes(self) -> int:
        batch = self.size * (self.layers[0] * FLOAT + 8)
        return batch + TRAFFIC[self.rule] * FLOAT * self.parameters

    @property
    def flops(self) -> int:
        """Three products a layer, without the gradient of the input."""
        pairs = list(zip(self.layers, self.layers[1:], strict=False))
        return 2 * self.size * (3 * sum(a * b for a, b in pairs) - pairs[0][0] * pairs[0][1])

    @property
    def footprint(self) -> int:
        return self.size * (self.layers[0] * FLOAT + 8)

    def checked(self) -> Case:
        return dataclasses.replace(self, p=0.0) if self.p else self

    def shared(self, rng: np.random.Generator) -> Arrays:
        parameters = []
        for i, (a, b) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            parameters += [normal(rng, b, a) * np.float32((2 / a) ** 0.5), 0.1 * normal(rng, b)]
            if self.norm and i < len(self.layers) - 2:
                parameters += [1 + 0.1 * normal(rng, b), 0.1 * normal(rng, b)]
        return {"parameters": parameters}

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return {"x": normal(rng, self.size, self.layers[0]), "y": rng.integers(0, self.layers[-1], self.size)}

    def reference(self, inputs: Inputs) -> Mapping[str, Any]:
        found = super().reference(inputs)
        return {**found, "change, other epsilon": found["change"]}

    # ---- the libraries ----

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        mlp = handwritten.MLP(
            inputs.shared["parameters"], self.size, self.norm, self.p, self.rule, self.lr, self.weight_decay
        )
        sets = [(s["x"], s["y"]) for s in inputs.sets]
        return self.program(inputs, column, lambda i: mlp.step(*sets[i]), lambda: [mlp.theta])

    def network(self, nn: Any) -> list[Any]:
        layers: list[Any] = []
        for i, (a, b) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            layers.append(nn.Linear(a, b))
            if i == len(self.layers) - 2:
                break
            if self.norm:
                layers.append(nn.BatchNorm1d(b))
            layers.append(nn.ReLU())
            if self.p and i == 0:
                layers.append(nn.Dropout(self.p))
        return layers

    def forward(self, theta: list[Any], x: Any, key: Any) -> tuple[Any, list[Any]]:
        import jax
        import jax.numpy as jnp

        theta, statistics, last = list(theta), [], len(self.layers) - 2
        for i in range(last + 1):
            x = x @ theta.pop(0).T + theta.pop(0)
            if i == last:
                break
            if self.norm:
                x, seen = jax_rules.batch_norm(x, theta.pop(0), theta.pop(0))
                statistics.append(seen)
            x = jax.nn.relu(x)
            if self.p and i == 0:
                x = jnp.where(jax.random.bernoulli(key, 1 - self.p, x.shape), x / (1 - self.p), 0)
        return x, statistics

    def sklearn(self, inputs: Inputs, column: Column) -> Program:
        """`partial_fit` over eight batches a call, so that its checks of the input are spread over them."""
        if self.norm:
            raise NotExpressibleError("MLPClassifier has no batch norm and no dropout")
        classifier = self._classifier(inputs)
        sets = [inputs.sets[i % len(inputs.sets)] for i in range(8)]
        x, y = (np.concatenate([s[k] for s in sets]) for k in "xy")

        def results() -> Mapping[str, Any]:
            fresh, rows = self._classifier(inputs), CHECKED_SETS * self.size
            fresh.partial_fit(x[:rows], y[:rows])
            pairs = zip(fresh.coefs_, fresh.intercepts_, strict=True)
            return {"change, other epsilon": self.change(inputs, [a for w, b in pairs for a in (w.T, b)])}

        return Program(lambda i: classifier.partial_fit(x, y), results, steps=len(sets))

    def _classifier(self, inputs: Inputs) -> Any:
        from sklearn.neural_network import MLPClassifier

        classifier = MLPClassifier(
            hidden_layer_sizes=self.layers[1:-1],
            solver=self.rule,
            alpha=0.0,
            batch_size=self.size,
            learning_rate_init=self.lr,
            momentum=0.0,
            shuffle=False,
        )
        first = inputs.sets[0]
        classes = np.arange(self.layers[-1])
        classifier.partial_fit(first["x"], first["y"], classes=classes)  # makes the parameters
        values = inputs.shared["parameters"]
        for own, value in zip(classifier.coefs_, values[::2], strict=True):
            own[...] = value.T
        for own, value in zip(classifier.intercepts_, values[1::2], strict=True):
            own[...] = value
        del classifier._optimizer  # the next call starts its moments anew
        return classifier

    def thinc(self, inputs: Inputs, column: Column) -> Program:
        if self.norm:
            raise NotExpressibleError("thinc has no batch norm")
        from thinc.api import SGD, Adam, CategoricalCrossentropy, Relu, Softmax, chain

        hidden = [Relu(b, a) for a, b in zip(self.layers, self.layers[1:-1], strict=False)]
        model: Any = chain(*hidden, Softmax(self.layers[-1], self.layers[-2]))
        model.initialize()
        for i, layer in enumerate(model.layers):
            layer.set_param("W", inputs.shared["parameters"][2 * i].copy())
            layer.set_param("b", inputs.shared["parameters"][2 * i + 1].copy())
        rule = Adam if self.rule == "adam" else SGD
        optimizer, loss = rule(self.lr, grad_clip=0.0, use_averages=False), CategoricalCrossentropy()
        sets = [(s["x"], s["y"].astype(np.int32)) for s in inputs.sets]

        def run(i: int) -> Any:
            x, y = sets[i]
            guesses, backward = model.begin_update(x)
            backward(loss.get_grad(guesses, y))
            model.finish_update(optimizer)
            return guesses

        def results() -> Mapping[str, Any]:
            for i in range(CHECKED_SETS):
                run(i % len(sets))
            parameters = [layer.get_param(name) for layer in model.layers for name in "Wb"]
            return {"change, other epsilon": self.change(inputs, parameters)}

        return Program(run, results)


class TinyMLP(MLPStep):
    """64-32-10, SGD: the cost of the library itself."""

    name, layers, rule, lr = "tiny_mlp", (64, 32, 10), "sgd", 1e-2


class MnistMLP(MLPStep):
    """784-256-128-10, Adam."""

    name, layers = "mnist_mlp", (784, 256, 128, 10)


class BatchNormDropoutMLP(MLPStep):
    """784-512-BN-ReLU-Dropout-512-BN-ReLU-10, Nesterov's momentum and weight decay."""

    name, layers, norm = "bn_dropout_mlp", (784, 512, 512, 10), True
    rule, lr, weight_decay = "nesterov", 1e-2, 5e-4

    def __init__(self, size: int, goal: bool = False, device_only: bool = False, p: float = 0.5) -> None:
        super().__init__(size, goal, device_only, p)


class CifarMLP(MLPStep):
    """3072-1024-1024-10, Adam: bound by its products."""

    name, layers = "cifar_mlp", (3072, 1024, 1024, 10)


STEPS = [
    Sweep(TinyMLP, [32], [256, 2048]),
    Sweep(MnistMLP, [128], [32, 512], [4096]),
    Sweep(BatchNormDropoutMLP, [256], [64, 1024], [4096]),
    Sweep(CifarMLP, [256], [64], [1024, 4096]),
]
