"""The norm of the gradients and clipping through their launchers, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from tests.kernels.conftest import Launch
from tests.kernels.registered import registered
from tests.kernels.test_cross_entropy import TOLERANCE, dtype_of
from xpnet.cuda import gradients as launchers
from xpnet.cuda.element import ELEMENTS


@settings(max_examples=20)
@given(n=st.integers(0, 5000), at=st.integers(0, 9), seed=st.integers(0, 9))
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_sum_of_squares(launch: Launch, dtype: str, n: int, at: int, seed: int) -> None:
    x = (np.random.default_rng(seed).standard_normal(n) * 50).astype(dtype_of(dtype))
    with launch.on(seed=seed, order=3):
        found = launchers.sum_of_squares(launch.array(x, offset=at))
    assert str(found.dtype) == ("float64" if dtype == "float64" else "float32")
    assert found.shape == ()
    expected = np.sum(x.astype(np.float64) ** 2)
    np.testing.assert_allclose(launch.numpy(found), expected, rtol=1e-13 if dtype == "float64" else 1e-6)


def test_sum_over_several_blocks_in_any_order(launch: Launch) -> None:
    x = np.random.default_rng(0).standard_normal(70_001).astype(np.float32)
    sums = []
    for order in range(4):
        with launch.on(order=order, seed=order, resident=1 + order):
            sums.append(float(launch.numpy(launchers.sum_of_squares(launch.array(x)))))
    assert len(set(sums)) == 1
    np.testing.assert_allclose(sums[0], np.sum(x.astype(np.float64) ** 2), rtol=1e-6)


@settings(max_examples=20)
@given(
    n=st.integers(0, 3000),
    at=st.integers(0, 9),
    ratio=st.sampled_from([0.3, 1.0, 5.0]),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_clip(launch: Launch, dtype: str, n: int, at: int, ratio: float, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(n).astype(dtype_of(dtype))
    norm = np.float64(7.0) if dtype == "float64" else np.float32(7.0)
    with launch.on(seed=seed):
        g = launch.array(x, offset=at)
        assert launchers.clip_to_norm(g, launch.array(norm), 7.0 * ratio) is None
    expected = x.astype(np.float64) * min(1.0, ratio * 7 / (7 + 1e-6))
    np.testing.assert_allclose(launch.numpy(g), expected, rtol=TOLERANCE[dtype], atol=1e-7)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_clip_the_last_block_of_an_unaligned_vector(launch: Launch, dtype: str) -> None:
    vec = ELEMENTS[dtype].vector
    for n in (256 * vec - 1, 256 * vec):
        norm = np.array(1, np.float64 if dtype == "float64" else np.float32)
        with launch.on():
            g = launch.array(np.ones(n), dtype_of(dtype), offset=vec - 1)
            launchers.clip_to_norm(g, launch.array(norm), 0.5)
        np.testing.assert_allclose(launch.numpy(g), 0.5, rtol=1e-5)


def test_a_nan_norm_leaves_the_gradient(launch: Launch) -> None:
    with launch.on():
        g = launch.array(np.ones(9), np.float32)
        launchers.clip_to_norm(g, launch.array(np.float32(np.nan)), 0.1)
    np.testing.assert_array_equal(launch.numpy(g), 1)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    x = launch.array(np.ones((4, 6)), np.float32)
    with launch.on():
        assert launchers.sum_of_squares(x[:, 1:]) is NotImplemented
        assert launchers.clip_to_norm(x[:, 1:], x[0, 0], 1.0) is NotImplemented
        assert launchers.clip_to_norm(x, launch.array(np.float64(3)), 1.0) is NotImplemented


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_clip_grad_norm_launches_the_kernels(launch: Launch, max_norm: float) -> None:
    x = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    model = xpnet.nn.Sequential(xpnet.nn.Linear(7, 5), xpnet.nn.Linear(5, 3, bias=False))

    def run() -> tuple[float, np.ndarray]:
        model.zero_grad()
        (model(xpnet.tensor(x)) ** 2).sum().backward()
        norm = xpnet.optim.clip_grad_norm(model, max_norm)
        return float(norm), np.concatenate([xpnet.to_numpy(p.grad).ravel() for p in model.parameters()])

    with xpnet.fused(False):
        norm, gradient = run()
    with launch.on(), registered(launch, launchers) as counted:
        model.to(str(xpnet.get_backend()))
        found, clipped = run()
    assert counted == {"sum_of_squares": 1, "clip_to_norm": 1}
    np.testing.assert_allclose(found, norm, rtol=1e-6)
    # an element of a gradient is a sum in which terms cancel: its rounding is that of the terms
    np.testing.assert_allclose(clipped, gradient, rtol=2e-6, atol=1e-7 * abs(gradient).max())


@pytest.mark.parametrize("order", [0, 3])
def test_races(launch: Launch, order: int) -> None:
    """Small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    x = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    with launch.on(order=order, resident=3):
        g = launch.array(x)
        squares = launchers.sum_of_squares(g)
        launchers.clip_to_norm(g, launch.array(np.float32(1.0)), 0.5)
    np.testing.assert_allclose(launch.numpy(squares), np.sum(x.astype(np.float64) ** 2), rtol=1e-6)
    np.testing.assert_allclose(launch.numpy(g), x / 2, rtol=2e-6)
