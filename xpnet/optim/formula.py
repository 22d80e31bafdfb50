"""What the update formulas share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from xpnet.core.backend import Array
from xpnet.core.places import backend_name, namespace

# elements a piece: values, gradients, moments and temporaries of one piece stay in the cache
_PIECE = 1 << 15


def piecewise(update: Callable[..., None]) -> Callable[..., None]:
    """Run an update over cache-sized pieces of NumPy vectors: its passes then cost one trip to memory."""

    @wraps(update)
    def call(theta: Array, *args: Any) -> None:
        if theta.ndim != 1 or theta.shape[0] <= _PIECE or backend_name(theta) != "numpy":
            return update(theta, *args)
        for start in range(0, theta.shape[0], _PIECE):
            piece = slice(start, start + _PIECE)
            update(theta[piece], *(a[piece] if getattr(a, "ndim", 0) else a for a in args))
        return None

    return call


def decayed(theta: Array, grad: Array, h: Any) -> Array:
    """The gradient of loss + weight_decay / 2 |theta|^2."""
    return grad + h.weight_decay * theta if h.weight_decay else grad


def root(x: Array, h: Any) -> Array:
    """sqrt(x) + eps, or sqrt(x + eps) with `eps_inside`."""
    xp = namespace(x)
    if h.eps_inside:
        return xp.sqrt(x + h.eps)
    y = xp.sqrt(x)
    y += h.eps
    return y
