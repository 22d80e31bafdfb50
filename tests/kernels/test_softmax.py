"""Softmax and its logarithm through their launchers, against PyTorch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.conftest import Launch
from xpnet.cuda.softmax import log_softmax, softmax

torch = pytest.importorskip("torch")
TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def dtype_of(name: str) -> Any:
    return pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)


def check(
    launch: Launch, shape: tuple[int, ...], log: bool, dtype: str, offset: int = 0, order: int = 3
) -> None:
    rng, kind = np.random.default_rng(sum(shape)), dtype_of(dtype)
    x, dy = ((rng.standard_normal(shape) * scale).astype(kind) for scale in (3, 1))
    with launch.on(order=order):
        y, pullback = (log_softmax if log else softmax)(launch.array(x, offset=offset))
        dx = pullback(launch.array(dy, offset=offset))
    # from the output as it is, as PyTorch's: a logarithm of 16 bits is rounded by up to 2^-8 of 10
    given = torch.tensor(x.astype(np.float64))
    want = (torch.log_softmax if log else torch.softmax)(given, -1).numpy()
    out, slope = launch.numpy(y), dy.astype(np.float64)
    mass = np.exp(out) if log else out
    total = (slope if log else out * slope).sum(-1, keepdims=True)
    gradient = slope - mass * total if log else out * (slope - total)
    for name, got, right in (("y", y, want), ("dx", dx, gradient)):
        assert str(got.dtype) == dtype, name
        error = np.linalg.norm(launch.numpy(got) - right) / np.linalg.norm(right)
        assert error < TOLERANCE[dtype], (name, error)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("shape", [(5,), (7, 33), (2, 3, 128), (9, 512), (3, 2048), (2, 1030)])
def test_against_torch(launch: Launch, shape: tuple[int, ...], log: bool, dtype: str) -> None:
    check(launch, shape, log, dtype)


@pytest.mark.parametrize("offset", [1, 2])
def test_addresses(launch: Launch, offset: int) -> None:
    check(launch, (6, 256), False, "float32", offset)


@pytest.mark.parametrize("log", [False, True])
def test_extreme_logits(launch: Launch, log: bool) -> None:
    """+-1e4 is exact, what is masked by -inf counts for nothing, NaN stays in its row."""
    x = np.array([[1e4, -1e4, -np.inf, 1e4], [0, np.nan, 1, 2], [1, 1, 1, 1]], np.float32)
    with launch.on():
        y, _ = (log_softmax if log else softmax)(launch.array(x))
    got = np.exp(launch.numpy(y)) if log else launch.numpy(y)
    np.testing.assert_allclose(got[[0, 2]], [[0.5, 0, 0, 0.5], [0.25] * 4], rtol=1e-6)
    assert np.isnan(got[1]).all()


def test_gives_way(launch: Launch) -> None:
    """Rows that no block holds, another axis, another dtype, integers: the body computes."""
    with launch.on():
        x = launch.array(np.zeros((2, 4), np.float32))
        for made in (
            softmax(launch.array(np.zeros((1, 20000), np.float32))),
            softmax(x, 0),
            softmax(x, dtype="float64"),
            log_softmax(launch.array(np.zeros((2, 4), np.int64))),
        ):
            assert made is NotImplemented


@pytest.mark.parametrize("shape", [(6, 40), (3, 600), (3, 2100)])
def test_races(launch: Launch, shape: tuple[int, ...]) -> None:
    """Every kernel, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    for log in (False, True):
        check(launch, shape, log, "float32", order=1)
