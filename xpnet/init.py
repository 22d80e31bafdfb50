"""Initial weights. Each function takes a shape (out, in, ...) and returns an array on the default backend.

Draws come from the init stream of `xpnet.random`, made on the host: bit-identical on every backend.
A weight of shape (out, in, *kernel) has fan-in `in * prod(kernel)` and fan-out `out * prod(kernel)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.backend import HOST, Array
from xpnet.core.convert import asarray

Shape = tuple[int, ...]
Initializer = Callable[..., Array]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan-in, fan-out) of a weight.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> init.fans((16, 3, 5, 5))
    (75, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"fan-in and fan-out need a weight of two or more axes, got shape {shape}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


_left: ContextVar[list[int] | None] = ContextVar("initial values that may still be made", default=None)


@contextmanager
def to_be_loaded(values: int) -> Iterator[None]:
    """For a `with` block that makes a model whose values are put in at once: all are 0, and none is drawn.

    Args:
        values: as many as there are to put in; a model of more is refused before it takes memory.

    Raises:
        ValueError: in the block, the model has more.

    >>> from xpnet import init, nn
    >>> with init.to_be_loaded(8):
    ...     layer = nn.Linear(3, 2)
    >>> layer.bias.numpy()
    array([0., 0.], dtype=float32)
    """
    token = _left.set([values])
    try:
        yield
    finally:
        _left.reset(token)


def _counted(shape: Shape) -> bool:
    """Whether only zeros are wanted, of which there may be so many."""
    left = _left.get()
    if left is None:
        return False
    left[0] -= math.prod(shape)
    if left[0] < 0:
        raise ValueError(f"the model has more values than there are to put in: one part is {tuple(shape)}")
    return True


def _draw(shape: Shape, dtype: Any, scale: float, shift: float = 0.0, *, gaussian: bool) -> Array:
    if _counted(shape):
        return asarray(np.zeros(shape, np.float32), dtype)
    key = random.generators[random.INIT].next_key()
    host: Any = random.normal if gaussian else random.uniform
    values = host(tuple(shape), key, backend=HOST) * np.float32(scale) + np.float32(shift)
    return asarray(values, dtype)


def zeros(shape: Shape, dtype: Any = "float32") -> Array:
    """All 0. Weights that start equal stay equal: symmetry is never broken.

    Args:
        shape: any shape.
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        TypeError: the backend has no such dtype.

    >>> from xpnet import init
    >>> init.zeros((2,))
    array([0., 0.], dtype=float32)
    """
    return constant(shape, 0.0, dtype)


def constant(shape: Shape, value: float, dtype: Any = "float32") -> Array:
    """All `value`.

    Args:
        shape: any shape.
        value: of every element.
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        TypeError: the backend has no such dtype.

    >>> from xpnet import init
    >>> init.constant((2,), 0.5)
    array([0.5, 0.5], dtype=float32)
    """
    _counted(shape)
    return asarray(np.full(shape, value, dtype=np.float64), dtype)


def normal(shape: Shape, std: float = 0.01, mean: float = 0.0, dtype: Any = "float32") -> Array:
    """N(mean, std^2).

    Args:
        shape: any shape.
        std: the standard deviation.
        mean: the mean.
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        TypeError: the backend has no such dtype.

    >>> from xpnet import init
    >>> round(float(init.normal((100, 100), std=2.0).std()), 1)
    2.0
    """
    return _draw(shape, dtype, std, mean, gaussian=True)


def uniform(shape: Shape, low: float = -0.05, high: float = 0.05, dtype: Any = "float32") -> Array:
    """U[low, high).

    Args:
        shape: any shape.
        low: the smallest value.
        high: above the largest one.
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        TypeError: the backend has no such dtype.

    >>> from xpnet import init
    >>> w = init.uniform((100, 100), -0.5, 0.5)
    >>> bool((w >= -0.5).all() and (w < 0.5).all())
    True
    """
    return _draw(shape, dtype, high - low, low, gaussian=False)


def lecun_normal(shape: Shape, dtype: Any = "float32") -> Array:
    """Variance 1 / fan_in (LeCun et al., 1998), which keeps the variance of a linear layer.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> round(float(init.lecun_normal((100, 400)).std()), 2)
    0.05
    """
    return normal(shape, fans(shape)[0] ** -0.5, dtype=dtype)


def xavier_fan_in(shape: Shape, dtype: Any = "float32") -> Array:
    """The decks' "Xavier": N(0, 1 / fan_in), the same numbers as `lecun_normal`.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> round(float(init.xavier_fan_in((100, 400)).std()), 2)
    0.05
    """
    return lecun_normal(shape, dtype)


def glorot_normal(shape: Shape, dtype: Any = "float32") -> Array:
    """Variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010): a compromise between both directions.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> round(float(init.glorot_normal((400, 400)).std()), 2)
    0.05
    """
    return normal(shape, math.sqrt(2 / sum(fans(shape))), dtype=dtype)


def glorot_uniform(shape: Shape, dtype: Any = "float32") -> Array:
    """U(+-sqrt(6 / (fan_in + fan_out))): the variance of `glorot_normal`.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> round(float(init.glorot_uniform((400, 400)).std()), 2)
    0.05
    """
    bound = math.sqrt(6 / sum(fans(shape)))
    return uniform(shape, -bound, bound, dtype)


def he_normal(shape: Shape, dtype: Any = "float32") -> Array:
    """Variance 2 / fan_in (He et al., 2015): ReLU halves the second moment.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> round(float(init.he_normal((100, 800)).std()), 2)
    0.05
    """
    return normal(shape, math.sqrt(2 / fans(shape)[0]), dtype=dtype)


def he_uniform(shape: Shape, dtype: Any = "float32") -> Array:
    """U(+-sqrt(6 / fan_in)): the variance of `he_normal`.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> round(float(init.he_uniform((100, 800)).std()), 2)
    0.05
    """
    bound = math.sqrt(6 / fans(shape)[0])
    return uniform(shape, -bound, bound, dtype)


def torch_default(shape: Shape, dtype: Any = "float32") -> Array:
    """U(+-1 / sqrt(fan_in)): variance 1 / (3 fan_in), the default of PyTorch's Linear and Conv2d.

    Args:
        shape: (out, in) or (out, in, *kernel).
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes, so there is no fan.

    >>> from xpnet import init
    >>> bool(abs(init.torch_default((100, 400))).max() < 0.05)
    True
    """
    fan_in = fans(shape)[0]
    bound = fan_in**-0.5 if fan_in else 0.0
    return uniform(shape, -bound, bound, dtype)


def orthogonal(shape: Shape, gain: float = 1.0, dtype: Any = "float32") -> Array:
    """Rows or columns orthonormal, times `gain` (Saxe et al., 2014).

    The weight is seen as (out, in * kernel). QR of a Gaussian, signs fixed: a uniform (Haar) draw.

    Args:
        shape: (out, in) or (out, in, *kernel).
        gain: the length of the rows, or of the columns if there are fewer.
        dtype: default float32.

    Returns:
        An array of that shape on the default backend.

    Raises:
        ValueError: fewer than two axes.

    >>> from xpnet import init
    >>> w = init.orthogonal((2, 3))
    >>> bool(abs(w @ w.T - [[1, 0], [0, 1]]).max() < 1e-6)
    True
    """
    fans(shape)  # refuses vectors
    rows, columns = shape[0], math.prod(shape[1:])
    key = random.generators[random.INIT].next_key()
    gaussian = random.normal((max(rows, columns), min(rows, columns)), key, backend=HOST)
    q, r = np.linalg.qr(gaussian.astype(np.float64))
    q *= np.sign(np.diag(r))
    q = q if rows >= columns else q.T
    return asarray((gain * q).reshape(shape), dtype)
