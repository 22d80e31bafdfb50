"""What happens to gradients between `backward` and `step`: clipping and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.arrays import widen
from xpnet.core.backend import Array
from xpnet.core.checks import number
from xpnet.core.convert import asarray
from xpnet.core.places import backend_name, backend_of, namespace, on_device
from xpnet.core.recording import capturing, on_host
from xpnet.core.registry import fusable
from xpnet.nn.flat import Span, spans_with_gradient


def gradients_of(params: Any) -> list[Array]:
    """Gradient vectors that together hold each gradient once.

    Args:
        params: a Module, a parameter or parameters.
    """
    return [span.grads for span in spans_with_gradient(params)]


@fusable
def sum_of_squares(x: Array) -> Array:
    """A 0-d array; float32 for the 16-bit types, whose squares soon overflow."""
    x = namespace(x).reshape(widen(x), (-1,))
    return x @ x  # one pass, without an array of squares


@fusable
def clip_to_norm(x: Array, norm: Array, max_norm: float) -> None:
    """x *= min(1, max_norm / norm), in place; `norm` as `sum_of_squares` gives it."""
    xp = namespace(x)
    scale = max_norm / (norm + 1e-6)
    if backend_name(x) == "numpy" and scale >= 1:  # on the host, to look costs nothing
        return
    x *= xp.astype(xp.where(scale < 1, scale, xp.ones_like(scale)), x.dtype, copy=False)


@on_host
def clip_grad_norm(params: Any, max_norm: float) -> Array:
    """Scale all gradients so that their joint Euclidean norm is at most `max_norm` (Pascanu et al., 2013).

    Args:
        params: a Module or parameters.
        max_norm: the largest norm let through.

    Returns:
        The norm before clipping, a 0-d array on the device: reading it waits, this function does not.

    Raises:
        ValueError: no parameter has a gradient, or max_norm is below 0.

    >>> import xpnet
    >>> x = xpnet.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x).sum().backward()  # gradient (6, 8)
    >>> float(xpnet.optim.clip_grad_norm([x], 1.0))
    10.0
    """
    max_norm = number("clip_grad_norm", "max_norm", max_norm, 0)
    gradients = gradients_of(params)
    if not gradients:
        raise ValueError("clip_grad_norm: no parameter has a gradient; call it after backward()")
    return clip_norm_of(gradients, max_norm)


def clip_norm_of(gradients: Sequence[Array], max_norm: float) -> Array:
    """Clip vectors by their joint norm, in place; the norm before, a 0-d array."""
    xp = namespace(*gradients)
    with on_device(gradients[0]):
        first, *others = [sum_of_squares(g) for g in gradients]
        norm = xp.sqrt(sum(others, first))
    for g in gradients:
        clip_to_norm(g, norm, max_norm)
    return norm


@on_host
def clip_grad_value(params: Any, clip_value: float) -> None:
    """Cut every element of the gradients to [-clip_value, clip_value], in place.

    Args:
        params: a Module or parameters.
        clip_value: the largest magnitude let through.

    Raises:
        ValueError: clip_value is not above 0.

    >>> import xpnet
    >>> x = xpnet.tensor([3.0, 0.25], requires_grad=True)
    >>> (x * x).sum().backward()  # gradient (6, 0.5)
    >>> xpnet.optim.clip_grad_value([x], 1.0)
    >>> x.grad
    array([1. , 0.5], dtype=float32)
    """
    if not number("clip_grad_value", "clip_value", clip_value) > 0:
        raise ValueError(f"clip_grad_value: clip_value must be above 0, got {clip_value}")
    clip_value_of(gradients_of(params), clip_value)


def clip_value_of(gradients: Sequence[Array], clip_value: float) -> None:
    """Cut vectors to [-clip_value, clip_value], in place."""
    for g in gradients:
        with on_device(g):
            g[...] = namespace(g).clip(g, -clip_value, clip_value)


class GradientNoise:
    """Add N(0, eta / (1 + t)^gamma) to every gradient (Neelakantan et al., 2015; deck S4).

    Args:
        params: a Module or parameters.
        eta: variance at the first step.
        gamma: how fast it falls.

    Raises:
        ValueError: eta is below 0.

    Call it between `backward` and `step`.

    >>> import xpnet
    >>> xpnet.manual_seed(0)
    >>> x = xpnet.tensor([0.0] * 1000, requires_grad=True)
    >>> noise = xpnet.optim.GradientNoise([x], eta=0.01)
    >>> x.sum().backward()  # a gradient of 1
    >>> noise()
    >>> round(float(x.grad.mean()), 1), round(float(x.grad.std()), 2)
    (1.0, 0.1)
    """

    def __init__(self, params: Any, eta: float = 0.01, gamma: float = 0.55) -> None:
        check_noise("GradientNoise", eta)
        self.params, self.eta, self.gamma, self.t = params, eta, gamma, 0

    @on_host
    def __call__(self) -> None:
        """Add the noise of this step."""
        spans = spans_with_gradient(self.params)
        add_noise(spans, next_std(self))


def check_noise(name: str, eta: float) -> None:
    """Refuse a negative variance.

    Raises:
        ValueError: eta is below 0.
    """
    if eta < 0:
        raise ValueError(f"{name}: eta must be at least 0, got {eta}")


def noise_std(eta: float, gamma: float, t: int) -> float:
    """The standard deviation of gradient noise at step t = 0, 1, ..."""
    return math.sqrt(eta / (1 + t) ** gamma)


def next_std(noise: Any) -> Any:
    """The standard deviation of the next step of `noise`, which has `eta`, `gamma` and counts in `t`."""

    def count() -> float:
        noise.t += 1
        return noise_std(noise.eta, noise.gamma, noise.t - 1)

    recording = capturing()
    if recording is None:
        return count()
    return recording.anew(lambda: [count()], 1, np.float32)[0]


def add_noise(spans: Sequence[Span], std: Any) -> None:
    """Add N(0, std^2) to the gradients of spans; in a captured step `std` is a 0-d float32 array."""
    # one draw for all: the noise of a parameter does not depend on how the gradients lie in memory
    size = sum(p.size for span in spans for p in span.parameters)
    key, start = random.generators[random.NOISE].next_key(), 0
    with on_device(spans[0].values):
        drawn = random.noise((size,), key, backend_of(spans[0].values))
    for span in spans:
        with on_device(span.values):
            for g in [span.grads] if span.packed else [span.view(p, span.grads) for p in span.parameters]:
                xp, stop = namespace(g), start + math.prod(g.shape)
                part = asarray(drawn[start:stop], backend=backend_of(g))
                scale = std if isinstance(std, float) else xp.astype(std, g.dtype)
                g += xp.astype(xp.reshape(part, g.shape), g.dtype) * scale
                start = stop
