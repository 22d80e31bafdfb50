"""A gradient against central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.op import no_grad
from xpnet.core.places import backend_of
from xpnet.core.tensor import Tensor


def gradcheck(
    f: Callable[..., Any], *inputs: Any, eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7
) -> bool:
    """Compare `backward` with central differences (f(x + eps) - f(x - eps)) / 2 eps, element by element.

    Args:
        f: a function of Tensors that returns one Tensor of any shape.
        *inputs: float64 Tensors; those that require a gradient are checked.
        eps: the step; float64 leaves about 1e-10 of error at the default.
        rtol: allowed relative difference.
        atol: allowed absolute difference.

    Returns:
        True.

    Raises:
        TypeError: an input to check is not float64 (float32 has no room for differences).
        AssertionError: the first element that differs, with both values.

    >>> import numpy as np, xpnet
    >>> x = xpnet.tensor(np.array([0.5, -1.5]), requires_grad=True)
    >>> xpnet.gradcheck(lambda x: x * x, x)
    True
    """
    inputs = tuple(x if isinstance(x, Tensor) else Tensor(asarray(x)) for x in inputs)
    checked = [x for x in inputs if x.requires_grad]
    for x in checked:
        if "float64" not in str(x.dtype):
            raise TypeError(f"gradcheck needs float64 inputs, got {x.dtype}")
    y = f(*inputs)
    # a fixed, uneven direction: sum(weights * y) has a gradient that no symmetry hides
    weights = np.cos(np.arange(y.size, dtype=np.float64) + 1.0).reshape(y.shape)

    def objective(moving: Tensor, values: np.ndarray) -> float:
        moved = [Tensor(_like(values, x.data) if x is moving else x.data) for x in inputs]
        with no_grad():
            return float(np.sum(weights * f(*moved).numpy()))

    for x in checked:
        x.grad = None
    y.backward(_like(weights, y.data))
    for position, x in enumerate(inputs):
        if not x.requires_grad:
            continue
        analytic = np.zeros(x.shape) if x.grad is None else to_numpy(x.grad)
        base = np.array(x.numpy(), dtype=np.float64)
        for index in np.ndindex(*x.shape):
            ends = []
            for step in (eps, -eps):
                values = base.copy()
                values[index] += step
                ends.append(objective(x, values))
            numeric = (ends[0] - ends[1]) / (2 * eps)
            if not abs(analytic[index] - numeric) <= atol + rtol * abs(numeric):
                raise AssertionError(
                    f"gradcheck: input {position}, element {index}: backward gives {analytic[index]:.10g}, "
                    f"central differences give {numeric:.10g}"
                )
    return True


def _like(values: Any, array: Array) -> Array:
    """NumPy values as an array on the backend and device of another."""
    return asarray(values, backend=backend_of(array))
