"""Softmax cross-entropy through its launcher, against float64 written straight from the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.conftest import Launch
from xpnet.cuda.cross_entropy import cross_entropy

TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}
TINY = {"float16": 2.0**-24}  # half a step of the smallest numbers


def dtype_of(name: str) -> Any:
    if name == "bfloat16":
        return pytest.importorskip("ml_dtypes").bfloat16
    return np.dtype(name)


def reference(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    dy: Any = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient in float64, row by row."""
    n, classes = x.shape
    w = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    losses, gradient, total = np.zeros(n), np.zeros((n, classes)), 0.0
    for i in range(n):
        if y[i] == ignore_index:
            continue
        z = x[i].astype(np.float64)
        z = z - z.max()
        log_p = z - np.log(np.exp(z).sum())
        q = np.full(classes, label_smoothing / classes)
        q[y[i]] += 1 - label_smoothing
        q[:] = (
            np.where(np.arange(classes) == y[i], (1 - label_smoothing) * w[y[i]], 0)
            + label_smoothing / classes * w
        )
        losses[i] = -np.where(q == 0, 0, q * log_p).sum()
        gradient[i] = np.exp(log_p) * q.sum() - q
        total += w[y[i]]
    if reduction == "none":
        return losses, gradient * np.reshape(dy, (-1, 1))
    if reduction == "sum":
        return losses.sum(), gradient * dy
    return losses.sum() / total, gradient * dy / total


def close(got: np.ndarray, want: np.ndarray, dtype: str, scale: float = 1.0) -> None:
    """Same shape, and the error's norm small against the result's."""
    assert got.shape == want.shape
    assert np.isfinite(got).all(), "something was not written, or is not finite"
    slack = TINY.get(dtype, 0) * np.sqrt(got.size)
    error = np.linalg.norm(got - want)
    assert error <= scale * TOLERANCE[dtype] * np.linalg.norm(want) + slack + 1e-300, error / np.linalg.norm(
        want
    )


CLASSES = [2, 3, 10, 32, 33, 125, 128, 200, 509, 1000, 1001, 1021, 1024, 1025, 4096, 4097, 8200, 16384]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("classes", CLASSES)
def test_tiers(launch: Launch, classes: int, dtype: str) -> None:
    rng = np.random.default_rng(classes)
    n = max(2, min(77, 6000 // classes))
    x = (rng.standard_normal((n, classes)) * 3).astype(dtype_of(dtype))
    y = rng.integers(0, classes, n)
    y[0] = -100
    with launch.on(order=3, seed=classes):
        value, pullback = cross_entropy(launch.array(x), launch.array(y))
        (dx,) = pullback(launch.array(np.array(2.0), x.dtype))
    want, gradient = reference(x, y, dy=2.0)
    assert str(value.dtype) == str(dx.dtype) == dtype
    close(launch.numpy(value), want, dtype)
    close(launch.numpy(dx), gradient, dtype)
