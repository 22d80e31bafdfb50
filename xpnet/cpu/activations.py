"""ReLU, GELU and softmax of float32 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, run, single
from xpnet.functional import activations


@activations.relu.kernel("numpy", NOT_EMPTY)
def relu(x: Array) -> Any:
    """One pass forward, one backward."""
    if x.dtype != np.float32:
        return NotImplemented
    x = single(x)
    y = np.empty_like(x)
    run("relu", y, x)

    def pullback(dy: Array) -> Array:
        dx = np.empty_like(y)
        run("relu_gradient", dx, single(dy), y)
        return dx

    return y, pullback


@activations.gelu.kernel("numpy", NOT_EMPTY)
def gelu(x: Array, recorded: bool = False) -> Any:
    """One pass that makes the derivative, too, if it will be wanted."""
    if x.dtype != np.float32:
        return NotImplemented
    x = single(x)
    y, derivative = np.empty_like(x), np.empty_like(x) if recorded else None
    run("gelu", y, derivative, x)

    def pullback(dy: Array) -> Array:
        slope = derivative
        if slope is None:
            run("gelu", np.empty_like(x), slope := np.empty_like(x), x)
        dx = np.empty_like(x)
        run("chain", dx, single(dy), slope)
        return dx

    return y, pullback


@activations.softmax.kernel("numpy", NOT_EMPTY)
def softmax(x: Array, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Any:
    """Along the last axis, each row in the cache throughout; other axes stay with the body."""
    along = axis if dim is None else dim if axis == -1 else None
    if (
        x.dtype != np.float32
        or dtype is not None
        or x.ndim == 0
        or along not in (-1, x.ndim - 1)
        or not x.size
    ):
        return NotImplemented
    x = single(x)
    y, sizes = np.empty_like(x), (x.size // x.shape[-1], x.shape[-1])
    run("softmax", x, y, *sizes)

    def pullback(dy: Array) -> Array:
        dx = np.empty_like(y)
        run("softmax_gradient", single(dy), y, dx, *sizes)
        return dx

    return y, pullback
