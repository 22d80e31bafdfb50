"""Gated activations through their launchers, against PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from tests.kernels.test_cross_entropy import TOLERANCE, close, dtype_of
from xpnet.cuda import gates as launchers

torch = pytest.importorskip("torch")
ALONE: dict[str, Callable[[Any], Any]] = {
    "silu": lambda x: torch.nn.functional.silu(x),
    "mish": lambda x: torch.nn.functional.mish(x),
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}
HALVES: dict[str, Callable[[Any, int], Any]] = {
    "glu": lambda x, dim: torch.nn.functional.glu(x, dim),
    "swiglu": lambda x, dim: torch.nn.functional.silu(x.chunk(2, dim)[0]) * x.chunk(2, dim)[1],
}


def check(
    launch: Launch, name: str, shape: tuple[int, ...], dtype: str, *dim: int, offset: int = 0, **how: Any
) -> None:
    rng = np.random.default_rng(sum(shape))
    x = (rng.standard_normal(shape) * 2).astype(dtype_of(dtype))
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    want = {**ALONE, **HALVES}[name](wide, *dim)
    dy = rng.standard_normal(tuple(want.shape)).astype(x.dtype)
    want.backward(torch.tensor(dy.astype(np.float64)))
    with launch.on(**how):
        made = getattr(launchers, name)(launch.array(x, offset=offset), *dim)
        assert made is not NotImplemented
        y, pullback = made
        dx = pullback(launch.array(dy, offset=offset))
    assert str(y.dtype) == str(dx.dtype) == dtype
    close(launch.numpy(y), want.detach().numpy(), dtype, scale=4)
    close(launch.numpy(dx), wide.grad.numpy(), dtype, scale=4)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", ALONE)
def test_alone(launch: Launch, name: str, dtype: str) -> None:
    check(launch, name, (3, 701), dtype, order=3)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("shape", "dim"), [((3, 64), -1), ((2, 6, 5), 1), ((4, 3), 0), ((2,), 0), ((70, 10), 1)]
)
@pytest.mark.parametrize("name", HALVES)
def test_halves(launch: Launch, name: str, shape: tuple[int, ...], dim: int, dtype: str) -> None:
    check(launch, name, shape, dtype, dim, order=3)


@settings(max_examples=20)
@given(rows=st.integers(1, 40), half=st.integers(1, 40), offset=st.integers(0, 4))
def test_any_size_and_alignment(launch: Launch, rows: int, half: int, offset: int) -> None:
    check(launch, "swiglu", (rows, 2 * half), "float32", 1, offset=offset)


@pytest.mark.parametrize("name", [*ALONE, *HALVES])
def test_special_values(launch: Launch, name: str) -> None:
    """As the bodies: nothing overflows, NaN stays in its place."""
    x = np.array([np.nan, 0, -0.0, 1e4, -1e4, 90, -90, 5], np.float32)
    x = np.stack([x, x[::-1]]) if name in HALVES else x
    dim = (0,) if name in HALVES else ()
    op = {"silu": launchers.gates.silu_op, "mish": launchers.gates.mish_op}.get(name) or getattr(
        launchers.gates, name, getattr(launchers.activations, name, None)
    )
    with launch.on():
        y, pullback = getattr(launchers, name)(launch.array(x), *dim)
        dx = pullback(launch.array(np.ones(y.shape, np.float32)))
    with np.errstate(all="ignore"):
        want, back = op.body(x, *dim)
        wanted = back(np.ones_like(want))
    np.testing.assert_allclose(launch.numpy(y), want, rtol=1e-5, atol=1e-36)  # numbers with less digits
    np.testing.assert_allclose(launch.numpy(dx), wanted, rtol=1e-5, atol=1e-36)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    x = launch.array(np.ones((4, 6)), np.float32)
    with launch.on():
        assert launchers.silu(launch.array(np.ones(3), np.int64)) is NotImplemented
        assert launchers.glu(x, 2) is NotImplemented
        assert launchers.glu(x[:3], 0) is NotImplemented
        assert launchers.glu(x[:0], 1) is NotImplemented
        y, pullback = launchers.glu(x[:, ::3], 1)  # not contiguous: copied
        assert y.shape == (4, 1)
        assert pullback(y).shape == (4, 2)
        y, pullback = launchers.silu(x[:0])
        assert y.shape == pullback(x[:0]).shape == (0, 6)


@pytest.mark.parametrize("order", [0, 3])
def test_races(launch: Launch, order: int) -> None:
    """Every kind of kernel once, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    check(launch, "silu", (130, 6), "float32", order=order, resident=3)
    check(launch, "glu", (130, 6), "float32", 1, order=order, resident=3)
