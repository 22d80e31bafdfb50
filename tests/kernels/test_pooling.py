"""Pooling through its launchers, against the Array API bodies in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from tests.kernels.test_cross_entropy import TOLERANCE, close, dtype_of
from xpnet.cuda import pooling as launchers
from xpnet.functional import pooling

DTYPES = list(TOLERANCE)


def sample(shape: tuple[int, ...], dtype: str, seed: int = 0, special: bool = False) -> np.ndarray:
    """Whole numbers, so that many are equal; `special`: NaN and both infinities among them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 4, size=shape).astype(dtype_of(dtype))
    if special:
        for value in (np.nan, np.inf, -np.inf):
            x[rng.random(shape) < 0.15] = value
    return x


def check(launch: Launch, name: str, x: np.ndarray, *options: Any, **schedule: Any) -> None:
    dtype = str(x.dtype)
    want, backward = getattr(pooling, name).body(x.astype(np.float64), *options)
    dy = np.random.default_rng(1).standard_normal(want.shape).astype(x.dtype)
    with launch.on(**schedule):
        y, pullback = getattr(launchers, name)(launch.array(x), *options)
        dx = pullback(launch.array(dy))
    assert str(y.dtype) == str(dx.dtype) == dtype
    if name.startswith("max"):
        np.testing.assert_array_equal(launch.numpy(y), want)
    else:
        close(launch.numpy(y), want, dtype)
    close(launch.numpy(dx), backward(dy.astype(np.float64)), dtype, scale=2)


MAX = [
    (2, None, 0, 1, False),
    (3, 2, 1, 1, False),
    ((2, 3), (1, 2), 0, 1, False),
    (3, 1, 1, 1, False),
    (3, 2, 1, 2, True),
    (2, 3, 0, 3, False),
    (3, (4, 3), 1, 1, True),
    ((3, 2), (2, 4), (1, 1), (2, 6), True),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", MAX, ids=str)
@pytest.mark.parametrize("special", [False, True])
def test_max_pool(launch: Launch, options: tuple[Any, ...], dtype: str, special: bool) -> None:
    x = sample((2, 3, 9, 12), dtype, special=special)
    check(launch, "max_pool2d_spread", x, *options)
    if options[3:] == (1, False):
        check(launch, "max_pool2d", x, *options[:3])
    want = pooling.max_pool2d_indices.body(x.astype(np.float64), *options)
    with launch.on():
        places = launchers.max_pool2d_indices(launch.array(x), *options)
    assert str(places.dtype) == "int64"
    np.testing.assert_array_equal(launch.numpy(places), want)


def test_windows_of_more_than_a_byte_counts(launch: Launch) -> None:
    x = np.random.default_rng(0).standard_normal((2, 2, 17, 19)).astype(np.float32)
    check(launch, "max_pool2d", x, (16, 18), 1, (8, 2))


def test_nothing_but_minus_infinity(launch: Launch) -> None:
    x = np.full((1, 2, 7, 7), -np.inf, np.float32)
    check(launch, "max_pool2d", x, 3, 2, 1)
    for dilation in (1, 2, 3):
        options = (3, 2, 1, dilation, True)
        with launch.on():
            places = launchers.max_pool2d_indices(launch.array(x), *options)
        np.testing.assert_array_equal(launch.numpy(places), pooling.max_pool2d_indices.body(x, *options))


AVERAGE = [
    (2,),
    (3, 2, 1),
    ((2, 3), (1, 2), 0),
    (3, 2, 1, True),
    (3, 2, 1, True, False),
    (3, 1, 1, False, False),
    (3, 1, 1, False, True, 7),
    ((8, 9), None, (2, 4)),
    ((9, 10), 1, 0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", AVERAGE, ids=str)
def test_average_pool(launch: Launch, options: tuple[Any, ...], dtype: str) -> None:
    check(launch, "avg_pool2d", sample((2, 3, 9, 12), dtype, 3), *options)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_special_values_reach_their_windows_alone(launch: Launch) -> None:
    x = sample((2, 3, 8, 8), "float32", special=True)
    want, _ = pooling.avg_pool2d.body(x.astype(np.float64), 3, 2, 1)
    with launch.on():
        y, pullback = launchers.avg_pool2d(launch.array(x), 3, 2, 1)
        dy = sample(want.shape, "float32", 5, special=True)
        dx = pullback(launch.array(dy))
    np.testing.assert_allclose(launch.numpy(y), want, rtol=1e-6, atol=1e-6)
    _, backward = pooling.avg_pool2d.body(x, 3, 2, 1)
    np.testing.assert_allclose(launch.numpy(dx), backward(dy), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5, 1, 1), (2, 3, 2, 3), (2, 3, 5, 5), (1, 2, 14, 13)])
def test_global_average(launch: Launch, shape: tuple[int, ...], dtype: str) -> None:
    check(launch, "global_avg_pool2d", sample(shape, dtype, 2))


def test_a_mean_of_large_numbers_does_not_overflow(launch: Launch) -> None:
    x = np.full((1, 1, 4, 4), 60000, np.float16)
    with launch.on():
        y, _ = launchers.avg_pool2d(launch.array(x), 4)
        z, _ = launchers.global_avg_pool2d(launch.array(x))
    assert launch.numpy(y).item() == launch.numpy(z).item() == 60000


@settings(max_examples=30)
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 12)] * 2),
    window=st.tuples(*[st.integers(1, 4)] * 2),
    stride=st.tuples(*[st.integers(1, 5)] * 2),
    dilation=st.tuples(*[st.integers(1, 4)] * 2),
    ceil_mode=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape(
    launch: Launch,
    shape: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
    seed: int,
) -> None:
    padding = tuple(min(seed % 3, k // 2) for k in window)
    reach = [d * (k - 1) for k, d in zip(window, dilation, strict=True)]
    x = sample(shape, "float32", seed, special=seed % 2 == 0)
    if all(n + 2 * p > r for n, p, r in zip(shape[2:], padding, reach, strict=True)):
        check(launch, "max_pool2d_spread", x, window, stride, padding, dilation, ceil_mode, seed=seed)
    if all(n + 2 * p >= k for n, p, k in zip(shape[2:], padding, window, strict=True)):
        include = seed % 4 < 2
        x = sample(shape, "float32", seed)
        check(launch, "avg_pool2d", x, window, stride, padding, ceil_mode, include, seed=seed)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    x = launch.array(np.ones((1, 1, 4, 6)), np.float32)
    with launch.on():
        assert launchers.max_pool2d(launch.array(np.ones((1, 1, 4, 4)), np.int64), 2) is NotImplemented
        assert launchers.max_pool2d(x[0], 2) is NotImplemented
        assert launchers.avg_pool2d(x[:0], 2) is NotImplemented
        assert launchers.avg_pool2d(x, 2, divisor_override=-3) is NotImplemented
        with pytest.raises(ValueError, match="at most half the window"):
            launchers.max_pool2d(x, 2, padding=2)
        y, pullback = launchers.max_pool2d(x[..., ::2], [2])  # copied
        assert launch.numpy(pullback(y[..., ::-1])).sum() == 2


@pytest.mark.parametrize("order", [0, 3])
def test_races(launch: Launch, order: int) -> None:
    """Each kernel once, for ThreadSanitizer (tests/kernels/ladder.py)."""
    x = sample((2, 2, 6, 7), "float32")
    check(launch, "max_pool2d", x, 3, 2, 1, order=order, resident=3)
    check(launch, "avg_pool2d", x, 4, 2, 1, order=order, resident=3)
