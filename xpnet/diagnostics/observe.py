"""What one training step looks like inside: outputs of layers, gradients, sizes of updates.

A step is looked at through samples, up to 256 numbers of each array, gathered on the device and fetched
together: the host waits once a look, whatever the number of layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet import nn
from xpnet.core import random
from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import namespace
from xpnet.core.tensor import array_of
from xpnet.diagnostics.copies import copy_of, leaves

SAMPLE = 256

# |output| from which on an activation counts as saturated: 98% of its limit; a sigmoid's limits are 0 and 1
LIMITS: dict[type, tuple[float, float]] = {  # type -> (centre, distance from the centre)
    nn.Sigmoid: (0.5, 0.48),
    nn.Tanh: (0.0, 0.98),
    nn.LeCunTanh: (0.0, 0.98 * 1.7159),
    nn.Hardtanh: (0.0, 0.98),
}


@dataclass
class Layer:
    """The output of a layer in one step.

    Attributes:
        name: its path in the model.
        kind: its class.
        sample: (up to 256,) float32 outputs.
        alive: of a ReLU, (units,) whether the unit was above 0 for some sample; a channel is a unit.
    """

    name: str
    kind: str
    sample: np.ndarray
    alive: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """Of the outputs."""
        return float(self.sample.mean(dtype=np.float64))

    @property
    def std(self) -> float:
        """Of the outputs."""
        return float(self.sample.std(dtype=np.float64))

    @property
    def saturated(self) -> float | None:
        """The fraction of outputs near their limits; None for layers without limits."""
        for kind, (centre, distance) in LIMITS.items():
            if kind.__name__ == self.kind:
                return float(np.mean(np.abs(self.sample - centre) >= distance))
        return None


@dataclass
class Weight:
    """A parameter in one step.

    Attributes:
        name: its path in the model.
        axes: 2 and more for weights, 1 for biases and norms.
        gradient: (up to 256,) elements of the gradient.
        reached: of a weight, (units,) whether some element of the unit's gradient is not 0.
        values: (up to 256,) elements before the update.
        ratio: |update| / |values|, Euclidean norms over the sample; None if the values are all 0.
    """

    name: str
    axes: int
    gradient: np.ndarray
    values: np.ndarray
    ratio: float | None
    reached: np.ndarray | None = None


@dataclass
class Observation:
    """One step: its number, from 1, its layers in the order they ran, and its parameters."""

    step: int
    layers: list[Layer] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)


class Observer:
    """Looks at one training step: `start` before forward, `middle` before the update, `end` after it.

    Args:
        model: a Module; outside of a look it carries no hooks.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.active = self.ready = False  # hooked; sampled, with the update to come
        self._removers: list[Callable[[], None]] = []
        self._outputs: dict[str, tuple[str, Array]] = {}

    def start(self) -> None:
        """Hook the layers."""
        self.stop()
        for name, module in leaves(self.model):
            self._removers.append(module.add_forward_hook(self._hook(name)))
        self.active = True

    def stop(self) -> None:
        """Take the hooks away and forget."""
        for remove in self._removers:
            remove()
        self._removers, self._outputs = [], {}
        self.active = self.ready = False

    def _hook(self, name: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
        def hook(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            output = array_of(output)
            if module.training and "float" in str(getattr(output, "dtype", "")):
                self._outputs.setdefault(name, (type(module).__name__, output))

        return hook

    def middle(self) -> None:
        """After backward: sample outputs, gradients and values."""
        self._gather = _Gather()
        self._layers = [
            (
                name,
                kind,
                self._gather.add(_sample(y)),
                self._gather.add(_alive(y)) if kind == "ReLU" else None,
            )
            for name, (kind, y) in self._outputs.items()
        ]
        self._weights = []
        # a row of a table whose number is in no sample is not dead
        tables = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Embedding)}
        for name, p in self.model.named_parameters():
            if p.grad is not None:
                reached = self._gather.add(_reached(p.grad)) if p.ndim >= 2 and id(p) not in tables else None
                sample, values = self._gather.add(_sample(p.grad)), self._gather.add(_sample(p.data))
                self._weights.append((name, p, sample, values, reached))
        self.ready = True

    def end(self, step: int) -> Observation:
        """After the update: sample the new values, fetch everything, remove the hooks."""
        after = [self._gather.add(_sample(p.data)) for _, p, *_ in self._weights]
        parts = self._gather.fetch()
        result = Observation(step)
        for name, kind, sample, alive in self._layers:
            found = None if alive is None else parts[alive] > 0
            result.layers.append(Layer(name, kind, parts[sample], found))
        for (name, p, gradient, values, reached), new in zip(self._weights, after, strict=True):
            old = parts[values]
            ratio = None if not old.any() else _norm(parts[new] - old) / _norm(old)
            row = None if reached is None else parts[reached] > 0
            result.weights.append(Weight(name, p.ndim, parts[gradient], old, ratio, row))
        self.stop()
        return result


def observe(model: Any, loss: Callable[[Any, Any], Any], optimizer: Any, x: Any, y: Any) -> Observation:
    """Look at one training step, made on copies.

    Args:
        model: a Module; it is left unchanged.
        loss: `loss(output, target)`.
        optimizer: over the model's parameters; it is left unchanged.
        x: (n, ...) a batch.
        y: its targets.

    Returns:
        What each layer gave and got, and each weight's gradient and update.

    Raises:
        ValueError: the samples do not fit the model, or the targets its output.

    >>> import xpnet
    >>> from xpnet import nn, optim
    >>> from xpnet.data import load_digits
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import dead_units, observe
    >>> xpnet.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> x, y = load_digits()[:100]
    >>> seen = observe(model, cross_entropy, optim.SGD(model, lr=0.1), x, y)
    >>> [layer.name for layer in seen.layers], [w.name for w in seen.weights]
    (['0', '1', '2'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    with random.forked(), np.errstate(all="ignore"):
        copied, copied_optimizer = copy_of(model, optimizer)
        observer = Observer(copied)
        observer.start()
        copied_optimizer.zero_grad()
        loss(copied(asarray(x)), asarray(y)).backward()
        observer.middle()
        copied_optimizer.step()
        return observer.end(1)


class _Gather:
    """Small arrays of one device, fetched together."""

    def __init__(self) -> None:
        self.parts: list[Array] = []

    def add(self, array: Array) -> int:
        """Its number, to find it by after `fetch`."""
        self.parts.append(array)
        return len(self.parts) - 1

    def fetch(self) -> list[np.ndarray]:
        if not self.parts:
            return []
        host = to_numpy(namespace(self.parts[0]).concat(self.parts))
        return np.split(host, np.cumsum([part.shape[0] for part in self.parts[:-1]]))


def _sample(array: Array) -> Array:
    """Up to 256 elements, (n,) float32, a copy: every k-th, with k prime to the sizes of the axes."""
    xp = namespace(array)
    size = math.prod(array.shape)
    stride = max(1, -(-size // SAMPLE))
    if stride > 1:
        while any(math.gcd(stride, n) > 1 for n in array.shape if n > 1):
            stride += 1
    return xp.astype(xp.reshape(array, (-1,))[::stride], xp.float32, copy=True)


def _alive(output: Array) -> Array:
    """(units,) the largest output of each: channels of pictures (N, C, H, W), else the last axis."""
    unit = 1 if output.ndim == 4 else output.ndim - 1
    return _over_units(namespace(output).max, output, unit)


def _reached(gradient: Array) -> Array:
    """(units,) the largest |gradient| of the weights of each unit, axis 0."""
    xp = namespace(gradient)
    return _over_units(xp.max, xp.abs(gradient), 0)


def _over_units(reduce: Callable[..., Array], array: Array, unit: int) -> Array:
    xp = namespace(array)
    others = tuple(i for i in range(array.ndim) if i != unit)
    return xp.astype(reduce(array, axis=others) if others else array, xp.float32, copy=True)


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))
