"""Products of float32 matrices, the affine map with its activation, and sums over rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core import arrays
from xpnet.core.backend import Array
from xpnet.cpu.launch import FLOAT32, NOT_EMPTY, contiguous, empty, product, run, single
from xpnet.functional.linear import bias_activation as bias_activation_op
from xpnet.functional.linear import linear as linear_op
from xpnet.functional.linear import linear_activation as linear_activation_op

_FEW = 1 << 17  # multiply-adds of a stack, below which NumPy's own loop over it is sooner done


@arrays.matmul.kernel("numpy", NOT_EMPTY)
def matmul(a: Array, b: Array, out: Array | None = None) -> Any:
    """a @ b of float32 matrices, or of two stacks of the same shape."""
    if a.dtype.char != "f":
        return NotImplemented
    if a.ndim == 2:
        if out is None:
            out = empty((a.shape[0], b.shape[-1]), FLOAT32)
        return out if product(a, b, out) else NotImplemented
    if b.dtype.char != "f" or a.ndim < 2 or a.shape[:-2] != b.shape[:-2] or a.size * b.shape[-1] < _FEW:
        return NotImplemented
    shape = (*a.shape[:-1], b.shape[-1])
    if out is None:
        out = empty(shape, FLOAT32)
    if product(a, b, out):
        return out
    # more than two axes of matrices, or values that lie apart in both axes of one
    a, b = (contiguous(x, FLOAT32).reshape(-1, *x.shape[-2:]) for x in (a, b))
    return out if product(a, b, out.reshape(-1, *shape[-2:])) else NotImplemented


def _affine(x: Array, weight: Array, bias: Array | None, relu: bool) -> Any:
    """x W^T + b or its ReLU, (m, n); NotImplemented where the body should compute it."""
    if x.ndim != 2 or x.dtype.char != "f":
        return NotImplemented
    y = empty((x.shape[0], weight.shape[0]), FLOAT32)
    return y if product(x, weight.T, y, bias, relu) else NotImplemented


def _gradients(x: Array, weight: Array, dy: Array) -> tuple[Any, ...]:
    return (
        lambda out: arrays.matmul(dy, weight),
        lambda out: arrays.matmul(dy.T, x, out),
        lambda out: arrays.sum_rows(dy, out),
    )


@linear_op.kernel("numpy", NOT_EMPTY)
def linear(x: Array, weight: Array, bias: Array | None = None) -> Any:
    """The product begins with the bias."""
    y = _affine(x, weight, bias, False)
    return y if y is NotImplemented else (y, lambda dy: _gradients(x, weight, dy))


@linear_activation_op.kernel("numpy", NOT_EMPTY)
def linear_activation(
    x: Array, weight: Array, bias: Array, activation: str = "relu", p: float | None = None
) -> Any:
    """The product ends with ReLU; other activations stay with the body."""
    y = _affine(x, weight, bias, True) if activation == "relu" else NotImplemented
    if y is NotImplemented:
        return NotImplemented

    def pullback(dy: Array) -> tuple[Any, ...]:
        dz, dbias = np.empty_like(y), np.empty_like(bias)
        run("bias_relu_gradient", dz, single(dy), y, dbias, *y.shape)
        return lambda out: arrays.matmul(dz, weight), lambda out: arrays.matmul(dz.T, x, out), dbias

    return y, pullback


@arrays.sum_rows.kernel("numpy", NOT_EMPTY)
def sum_rows(x: Array, out: Array | None = None) -> Any:
    """1^T x, eight rows at a time."""
    if x.dtype != np.float32 or x.ndim != 2 or not x.flags.c_contiguous or not x.size:
        return NotImplemented
    if out is None:
        out = empty(x.shape[1], np.float32)
    elif out.dtype != np.float32 or not out.flags.c_contiguous:
        return NotImplemented
    run("sum_rows", x, out, *x.shape)
    return out


@bias_activation_op.kernel("numpy", NOT_EMPTY)
def bias_activation(x: Array, bias: Array, activation: str = "relu", p: float | None = None) -> Any:
    """x + bias and its ReLU in one pass, both gradients in another; other activations stay with the body."""
    if activation != "relu" or x.dtype != np.float32 or bias.dtype != np.float32 or not x.size:
        return NotImplemented
    if x.ndim == 0 or bias.shape != x.shape[-1:]:
        return NotImplemented
    x = single(x)
    sizes = x.size // x.shape[-1], x.shape[-1]
    y = np.empty_like(x)
    run("bias_relu", y, x, single(bias), *sizes)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dx, dbias = np.empty_like(y), empty(sizes[1], np.float32)
        run("bias_relu_gradient", dx, single(dy), y, dbias, *sizes)
        return dx, dbias

    return y, pullback
