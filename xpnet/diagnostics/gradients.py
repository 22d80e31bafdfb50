"""Are the gradients right, and are they free to point anywhere?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import nn
from xpnet.core import random
from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.op import no_grad
from xpnet.core.places import backend_of
from xpnet.core.tensor import Tensor, array_of
from xpnet.diagnostics.copies import as_float64, copy_of, in_float64, leaves
from xpnet.diagnostics.finding import Finding, judge, largest

_BATCH = 16  # samples that a gradient is checked on
_POOLS = (nn.AvgPool2d, nn.GlobalAvgPool2d, nn.MaxPool2d)
_STEPS = (1e-5, 1e-6, 1e-7)  # a kink within one step seldom lies within a smaller one


def gradient_check(
    model: Any, loss: Callable[[Any, Any], Any], x: Any, y: Any, samples: int = 60, seed: int = 0
) -> Finding:
    """Compare `backward` of the whole model with central differences, on a float64 copy (deck S2).

    Args:
        model: a Module; it is left unchanged.
        loss: `loss(output, target)`.
        x: (n, ...) samples, of which the first 16 are used.
        y: their targets.
        samples: elements checked in all, at least one of each parameter: the one with the largest gradient,
            the others at random.
        seed: of the choice of elements.

    Returns:
        The largest relative error, |a - n| / max(|a|, |n|, a millionth of the loss). FAIL above 1e-4: a
        gradient is wrong. WARN if a parameter has no gradient at all.

    Raises:
        ValueError: the samples do not fit the model, or the targets its output.

    The model is checked as it trains: with batch statistics and dropout, the same mask each time.

    >>> import numpy as np, xpnet
    >>> from xpnet import nn
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import gradient_check
    >>> xpnet.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int64")
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> gradient_check(model, cross_entropy, x, y).status
    'PASS'
    """
    with random.forked():
        copied = in_float64(copy_of(model)[0])
        n = min(_BATCH, int(x.shape[0]))
        x, y = as_float64(asarray(x)[:n, ...]), as_float64(asarray(y)[:n, ...])
        state = random.generator_state()

        def cost() -> Any:
            random.set_generator_state(state)
            return loss(copied(x), y)

        value = cost()
        value.backward()
        named = copied.named_parameters()
        unused = [name for name, p in named if p.grad is None]
        rng, count = np.random.default_rng(seed), max(1, samples // max(1, len(named)))
        floor = 1e-6 * max(1.0, abs(float(value)))
        error, where = 0.0, ""
        with no_grad():
            for name, p in named:
                found, index = _worst_element(p, cost, count, floor, rng)
                if not found <= error:  # also NaN
                    error, where = found, f"{name}{list(index)}"
    advice = "The pullback of this layer, or of one after it, does not fit its forward pass: check it with "
    advice += "xpnet.gradcheck."
    if unused and error <= 1e-4:
        advice = "Is the layer used in forward, and does every path to the loss keep its graph?"
        where = f"no gradient reaches {', '.join(unused[:5])}"
    return judge(
        "gradient check",
        error,
        "relative error below 1e-4",
        warn=bool(unused),
        fail=not error <= 1e-4,
        advice=advice,
        detail=where,
    )


def _worst_element(
    p: Tensor, cost: Callable[[], Any], count: int, floor: float, rng: np.random.Generator
) -> tuple[float, tuple[int, ...]]:
    """The largest error among some elements of a parameter, and the element."""
    backend, kept = backend_of(p.data), p.data
    base = np.array(to_numpy(kept), dtype=np.float64)
    analytic = np.zeros(base.shape) if p.grad is None else to_numpy(p.grad)
    chosen = {int(np.argmax(np.abs(analytic)))} | set(
        rng.integers(0, max(1, base.size), max(0, count - 1)).tolist()
    )
    worst, where = 0.0, (0,) * base.ndim
    for flat in sorted(chosen):
        index = tuple(int(i) for i in np.unravel_index(flat, base.shape))

        def moved(step: float, index: tuple[int, ...] = index) -> float:
            values = base.copy()
            values[index] += step
            p.data = asarray(values, backend=backend)
            return float(cost())

        error = np.inf
        for step in _STEPS:
            numeric = (moved(step) - moved(-step)) / (2 * step)
            a = float(analytic[index])
            error = min(error, abs(a - numeric) / max(abs(a), abs(numeric), floor))
            if error <= 1e-5:
                break
        if not error <= worst:
            worst, where = error, index
    p.data = kept
    return worst, where


def same_sign_gradients(
    model: Any, loss: Callable[[Any, Any], Any], x: Any, y: Any, samples: int = 8
) -> Finding:
    """Units whose weight gradients all have one sign, because their inputs are all positive (deck S2).

    Such a unit's weights can only all rise or all fall in a step; the way to any other place is a zigzag.

    Args:
        model: a Module; it is left unchanged.
        loss: `loss(output, target)`.
        x: (n, ...) samples; each of the first `samples` is looked at alone.
        y: their targets.
        samples: how many.

    Returns:
        The largest fraction, over layers, of units with gradients of one sign. WARN above 0.5. Layers behind
        a ReLU, or a pooling layer, are left out: their inputs are never negative, but many are zero, or were.

    Raises:
        ValueError: the samples do not fit the model, or the targets its output.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> from xpnet.functional import cross_entropy
    >>> from xpnet.train import same_sign_gradients
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> x, y = np.float32([[1.0, 2.0], [3.0, 1.0]]), np.array([0, 1])  # not centred
    >>> same_sign_gradients(model, cross_entropy, x, y).value
    1.0
    """
    with random.forked():
        copied = copy_of(model)[0].eval()
        fed: dict[str, bool] = {}
        latest: list[type] = []  # the layer that ran last

        def look(name: str) -> Callable[..., None]:
            def hook(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
                if name in weights:
                    source = array_of(inputs[0])
                    low, first = float(np.min(to_numpy(source))), next(iter(fed), name) == name
                    positive = low >= 0 if first else low > 0 and latest[-1] not in _POOLS
                    fed[name] = fed.get(name, True) and positive
                if not isinstance(module, nn.Dropout | nn.Flatten):
                    latest[:] = [type(module)]

            return hook

        weights: dict[str, Any] = {}
        for name, module in leaves(copied):
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim >= 2:
                weights[name] = weight
            module.add_forward_hook(look(name))
        fractions: dict[str, list[bool]] = {name: [] for name in weights}
        for i in range(min(samples, int(x.shape[0]))):
            copied.zero_grad()
            loss(copied(asarray(x[i : i + 1, ...])), asarray(y[i : i + 1, ...])).backward()
            for name, weight in weights.items():
                if weight.grad is not None:
                    fractions[name] += _one_sign(weight.grad)
    found = {name: float(np.mean(s)) for name, s in fractions.items() if s and fed.get(name)}
    layer, value = largest(found)
    return judge(
        "same-sign gradients",
        value,
        "at most 0.5 of a layer's units",
        warn=value > 0.5,
        advice="Centre what this layer is fed with: subtract the mean of the inputs; use tanh or ReLU with "
        "batch norm instead of sigmoid.",
        detail=f"layer {layer}" if layer else "",
    )


def _one_sign(gradient: Array) -> list[bool]:
    """Of each row with two elements or more that are not 0: whether these have one sign."""
    rows = to_numpy(gradient).reshape(gradient.shape[0], -1)
    rows = rows[(rows != 0).sum(axis=1) >= 2]
    one_sign: list[bool] = ((rows >= 0).all(axis=1) | (rows <= 0).all(axis=1)).tolist()
    return one_sign
