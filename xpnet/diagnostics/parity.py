"""Whether two backends compute the same: layer by layer, draw by draw, and over a training run.

A layer is compared on its own. The model runs once on the first backend; then each call of a layer is
repeated on both, with the input, the gradient from above and the random state that it had there. What it
shows is its own difference, not what the layers before it have handed on; the first row out of tolerance is
the culprit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import functional as F
from xpnet import init
from xpnet.core import random
from xpnet.core.backend import Array, available_backends, dtype_name, use_backend
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.tensor import Tensor
from xpnet.nn.module import Module
from xpnet.optim import SGD

TOLERANCE = {"float64": 1e-13, "float32": 3e-6, "float16": 1e-2, "bfloat16": 1e-2}
"""The largest relative difference let through, by the dtype of the model: sums in another order, no more."""

# in a run a ReLU or a maximum may tip over by rounding, which moves one sample's gradient at once
RUN = {"float64": 1e-2, "float32": 2e-2, "float16": 0.1, "bfloat16": 0.1}

Loss = Callable[[Any, Any], Any]


@dataclass
class Difference:
    """How far apart two arrays are.

    Attributes:
        relative: the largest difference over the largest magnitude.
        ulp: the largest number of floating-point numbers between two elements; those below a thousandth of
            the largest magnitude are left out, what cancels there is no fault.
    """

    relative: float = 0.0
    ulp: float = 0.0

    def join(self, other: Difference) -> Difference:
        """The larger of each."""
        return Difference(max(self.relative, other.relative), max(self.ulp, other.ulp))


@dataclass
class Row:
    """One comparison.

    Attributes:
        name: of the layer, as in `named_modules`.
        kind: its class.
        output: of its output and its buffers, such as running statistics.
        gradient: of its gradients, those of the input and of all parameters as one vector (alone, that of a
            bias before batch norm is nothing but rounding: it should be 0); None: there is none.
        tolerance: the largest relative difference let through.
    """

    name: str
    kind: str
    output: Difference
    gradient: Difference | None
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether everything is within the tolerance."""
        return all(d is None or d.relative <= self.tolerance for d in (self.output, self.gradient))


@dataclass
class ParityReport:
    """What `compare` found.

    Attributes:
        backends: the two names.
        layers: a row a call of a layer, in order; the last one is the whole model, its loss and its gradient.
        draws: for each kind of random draw, whether it is the same bit for bit.
        run: a training run, the losses of its steps as output; None if none was asked for.
    """

    backends: tuple[str, str]
    layers: list[Row]
    draws: dict[str, bool]
    run: Row | None = None

    @property
    def first(self) -> Row | None:
        """The first row out of tolerance."""
        return next((row for row in self.rows() if not row.ok), None)

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return self.first is None and all(self.draws.values())

    def rows(self) -> list[Row]:
        """Layers, whole model, run."""
        return [*self.layers, *([self.run] if self.run else [])]

    def table(self) -> str:
        """For reading."""
        width = max(len(row.name) for row in self.rows()) + 2
        kinds = max(len(row.kind) for row in self.rows()) + 2
        head = f"{'layer':<{width}}{'kind':<{kinds}}{'output':>10}{'ulp':>9}{'gradient':>12}{'ulp':>9}"
        lines = [f"{' against '.join(self.backends)}: largest relative and ulp differences", head]
        for row in self.rows():
            cells = f"{row.output.relative:>10.1e}{row.output.ulp:>9.3g}"
            if row.gradient is not None:
                cells += f"{row.gradient.relative:>12.1e}{row.gradient.ulp:>9.3g}"
            mark = "" if row.ok else f"  beyond {row.tolerance:g}"
            lines.append(f"{row.name:<{width}}{row.kind:<{kinds}}{cells}{mark}")
        for name, same in self.draws.items():
            lines.append(f"{name}: {'bit for bit' if same else 'DIFFERENT BITS'}")
        if self.first is not None:
            lines.append(f"first to diverge: {self.first.name} ({self.first.kind})")
        return "\n".join(lines)


def second_backend() -> str:
    """What to compare NumPy with: the best backend that works here."""
    here = available_backends()
    return next((name for name in ("cupy", "torch", "array_api_strict") if name in here), "numpy")


# ---- differences ------------------------------------------------------------------------------------------


def difference(found: Any, expected: Any) -> Difference:
    """Between two arrays of one shape and dtype; infinite where only one of them is NaN or infinite.

    >>> import numpy as np
    >>> difference(np.float32([1, 2]), np.float32([1, 2.5]))
    Difference(relative=0.2, ulp=2097152.0)
    """
    a, b = np.atleast_1d(to_numpy(found)), np.atleast_1d(to_numpy(expected))
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"cannot compare {a.dtype} of shape {a.shape} with {b.dtype} of shape {b.shape}")
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    unequal = ~((wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b)))
    if not unequal.any():
        return Difference()
    if not (np.isfinite(wide_a[unequal]).all() and np.isfinite(wide_b[unequal]).all()):
        return Difference(math.inf, math.inf)
    finite = np.abs(wide_b[np.isfinite(wide_b)])
    scale = float(finite.max(initial=0.0))
    distance = float(np.abs(wide_a - wide_b)[unequal].max())
    large = unequal & (np.abs(wide_b) >= scale / 1000)
    steps = np.abs(_position(a[large]) - _position(b[large]))
    return Difference(distance / scale if scale else math.inf, float(steps.max(initial=0)))


def _position(x: np.ndarray) -> np.ndarray:
    """The place of each float among all floats of its type, zero in the middle."""
    bits = x.view({2: np.int16, 4: np.int32, 8: np.int64}[x.dtype.itemsize])
    # negative floats count up from the smallest integer; longdouble holds 64-bit differences
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits).astype(np.longdouble)


# ---- layers -----------------------------------------------------------------------------------------------


@dataclass
class _Call:
    """A call of a layer: what it was given."""

    name: str
    kind: str
    x: np.ndarray
    state: dict[str, Any]
    dy: np.ndarray | None = None


@differentiable
def _tap(x: Array, call: _Call) -> tuple[Array, Pullback]:
    """The identity; keeps the gradient that passes."""

    def pullback(dy: Array) -> Array:
        call.dy = np.array(to_numpy(dy))
        return dy

    return x, pullback


@contextmanager
def _watched(model: Module, calls: list[_Call]) -> Iterator[None]:
    """Inside the block every call of a layer, a module without modules in it, is noted."""
    layers = [(name, m) for name, m in model.named_modules() if len(m.modules()) == 1]

    def watch(name: str, layer: Module) -> None:
        forward = layer.forward

        def watched(x: Any, *args: Any, **kwargs: Any) -> Any:
            call = _Call(name, type(layer).__name__, np.array(to_numpy(x)), random.generator_state())
            calls.append(call)
            return _tap(forward(x, *args, **kwargs), call)

        vars(layer)["forward"] = watched

    for name, layer in layers:
        watch(name, layer)
    try:
        yield
    finally:
        for _, layer in layers:
            del vars(layer)["forward"]


def _repeat(call: _Call, model: Module) -> tuple[list[np.ndarray], np.ndarray | None]:
    """A layer's output and buffers, and its gradients as one vector."""
    layer = dict(model.named_modules())[call.name]
    random.set_generator_state(call.state)
    layer.zero_grad()
    x = Tensor(asarray(call.x), requires_grad=call.x.dtype.kind not in "iub")
    y = layer(x)
    outputs = [to_numpy(y.data), *(to_numpy(b.data) for _, b in layer.named_buffers())]
    outputs = [a for a in outputs if a.dtype.kind not in "iub"]
    if call.dy is None or not y.requires_grad:
        return outputs, None
    y.backward(asarray(call.dy))
    gradients = (x.grad, *(p.grad for p in layer.parameters()))
    return outputs, np.concatenate([to_numpy(g).reshape(-1) for g in gradients if g is not None])


def _pass(model: Module, x: Any, target: Any, loss: Loss) -> tuple[np.ndarray, np.ndarray]:
    """The loss and the gradient of all parameters, as one vector."""
    model.zero_grad()
    value = loss(model(Tensor(asarray(x))), target)
    value.backward()
    gradients = [to_numpy(p.grad).reshape(-1) for p in model.parameters() if p.grad is not None]
    return to_numpy(value.data), np.concatenate(gradients)


def compare_layers(
    model: Module, x: Any, target: Any, backends: tuple[str, str], loss: Loss = F.cross_entropy, seed: int = 0
) -> list[Row]:
    """One row a call of a layer, and one for the whole model; see `compare`."""
    dtype = dtype_name(model.parameters()[0].dtype)
    tolerance = TOLERANCE[dtype]
    calls: list[_Call] = []
    whole, copies = [], []
    for i, name in enumerate(backends):
        with use_backend(name), random.forked(seed):
            traced = copy.deepcopy(model).to(name)
            if i == 0:
                with _watched(traced, calls):
                    whole.append(_pass(traced, x, target, loss))
            else:
                whole.append(_pass(traced, x, target, loss))
            copies.append(copy.deepcopy(model).to(name))
    rows = []
    for call in calls:
        results = []
        for name, m in zip(backends, copies, strict=True):
            with use_backend(name), random.forked(seed):
                results.append(_repeat(call, m))
        (expected, dexpected), (found, dfound) = results
        output = Difference()
        for a, b in zip(found, expected, strict=True):
            output = output.join(difference(a, b))
        gradient = None if dexpected is None else difference(dfound, dexpected)
        rows.append(Row(call.name or "model", call.kind, output, gradient, tolerance))
    value, gradient = (difference(b, a) for a, b in zip(*whole, strict=True))
    # the error of each layer passes through those after it
    return [*rows, Row("whole model", "loss", value, gradient, tolerance * max(1, len(calls)))]


# ---- draws ------------------------------------------------------------------------------------------------

_DRAWS: dict[str, Callable[[], Any]] = {
    "initial weights": lambda: [
        make((67, 41)) for make in (init.he_normal, init.glorot_uniform, init.torch_default, init.orthogonal)
    ],
    "shuffles": lambda: [random.permutation(1001, random.generators[random.SHUFFLE].next_key())],
    "dropout masks": lambda: [F.dropout(asarray(np.ones((67, 41), np.float32)), p) for p in (0.1, 0.5, 0.9)],
    "uniform numbers": lambda: [random.uniform((1001,), random.Key(2**40 + 1, 2, 3), -1.0, 1.0)],
    "normal numbers": lambda: [random.normal((1001,), random.Key(2**40 + 1, 2, 3))],
}


def compare_draws(backends: tuple[str, str], seed: int = 0) -> dict[str, bool]:
    """For each kind of random draw, whether both backends give the same bits.

    >>> compare_draws(("numpy", "numpy"))["dropout masks"]
    True
    """
    found = []
    for name in backends:
        with use_backend(name), random.forked(seed):
            found.append({kind: [to_numpy(a) for a in draw()] for kind, draw in _DRAWS.items()})
    return {
        kind: all(a.tobytes() == b.tobytes() for a, b in zip(found[0][kind], found[1][kind], strict=True))
        for kind in _DRAWS
    }


# ---- a run ------------------------------------------------------------------------------------------------


def compare_run(
    model: Module,
    batches: Sequence[tuple[Any, Any]],
    backends: tuple[str, str],
    loss: Loss = F.cross_entropy,
    optimizer: Callable[[Module], Any] = lambda model: SGD(model, lr=0.01, momentum=0.9),
    seed: int = 0,
) -> Row:
    """Train copies of a model on the same batches: the losses of all steps, and theta at the end."""
    found = []
    for name in backends:
        with use_backend(name), random.forked(seed):
            m = copy.deepcopy(model).to(name)
            rule, values = optimizer(m), []
            for x, target in batches:
                rule.zero_grad()
                value = loss(m(Tensor(asarray(x))), target)
                value.backward()
                rule.step()
                values.append(value.data)
            trained = [to_numpy(p.data).reshape(-1) for p in m.parameters()]
            found.append((np.array([to_numpy(v) for v in values]), np.concatenate(trained)))
    dtype = dtype_name(model.parameters()[0].dtype)
    losses, theta = (difference(b, a) for a, b in zip(*found, strict=True))
    return Row(f"{len(batches)} steps", "loss, theta", losses, theta, RUN[dtype])


def compare(
    model: Module,
    x: Any,
    target: Any,
    backends: tuple[str, str] | None = None,
    loss: Loss = F.cross_entropy,
    batches: Sequence[tuple[Any, Any]] = (),
    seed: int = 0,
) -> ParityReport:
    """Run a model on two backends and compare every layer, every draw, and a training run.

    Args:
        model: stays as it is; copies run, in its mode (training or not).
        x: a batch, a NumPy array.
        target: what `loss` takes as its second argument.
        backends: the first is the reference; default: NumPy and the best other one here.
        loss: of the model's output and the target; default cross-entropy.
        batches: (x, target) of each step of a training run; none: no run.
        seed: of dropout and the draws.

    Returns:
        A `ParityReport`: `.ok`, `.table()`, `.first` (the first row that diverges).

    Raises:
        BackendUnavailableError: a backend does not work here.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn, parity
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> x = np.ones((5, 3), np.float32)
    >>> report = parity.compare(model, x, np.array([0, 1, 1, 0, 1]), ("numpy", "numpy"))
    >>> report.ok, [row.kind for row in report.layers]
    (True, ['Linear', 'ReLU', 'Linear', 'loss'])
    """
    pair = backends or ("numpy", second_backend())
    return ParityReport(
        pair,
        compare_layers(model, x, target, pair, loss, seed),
        compare_draws(pair, seed),
        compare_run(model, batches, pair, loss, seed=seed) if batches else None,
    )
