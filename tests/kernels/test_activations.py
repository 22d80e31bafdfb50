"""Activations, bias and row sums through their launchers, against float64 formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from tests.kernels.test_cross_entropy import TOLERANCE, close, dtype_of
from xpnet.cuda import activations as launchers
from xpnet.cuda.element import ELEMENTS

scipy_special = pytest.importorskip("scipy.special")
DTYPES = list(TOLERANCE)


def phi(x: np.ndarray) -> np.ndarray:
    return scipy_special.ndtr(x)


# value and derivative, from the input
FORMULAS: dict[str, Any] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1)),
    "elu": (lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)), lambda x: np.where(x > 0, 1, 0.7 * np.exp(x))),
    "sigmoid": (scipy_special.expit, lambda x: scipy_special.expit(x) * scipy_special.expit(-x)),
    "tanh": (np.tanh, lambda x: np.cosh(x) ** -2.0),
    "gelu": (lambda x: x * phi(x), lambda x: phi(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
}
PARAMETER = {"leaky_relu": 0.1, "elu": 0.7}


def options(name: str) -> tuple[float, ...]:
    return (PARAMETER[name],) if name in PARAMETER else ()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_elementwise(launch: Launch, name: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, dy = ((rng.standard_normal((3, 700)) * 2).astype(dtype_of(dtype)) for _ in range(2))
    with launch.on(order=3, seed=2):
        y, pullback = getattr(launchers, name)(launch.array(x), *options(name))
        dx = pullback(launch.array(dy))
    value, derivative = FORMULAS[name]
    wide = x.astype(np.float64)
    assert str(y.dtype) == str(dx.dtype) == dtype
    close(launch.numpy(y), value(wide), dtype)
    close(launch.numpy(dx), dy.astype(np.float64) * derivative(wide), dtype, scale=3)


@settings(max_examples=20)
@given(n=st.integers(0, 2100), at=st.integers(0, 9), there=st.integers(0, 9), seed=st.integers(0, 9))
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_elementwise_any_size_and_alignment(
    launch: Launch, dtype: str, n: int, at: int, there: int, seed: int
) -> None:
    x = np.random.default_rng(seed).standard_normal(n).astype(dtype)
    dy = np.arange(n).astype(dtype)
    with launch.on(seed=seed):
        y, pullback = launchers.relu(launch.array(x, offset=at))
        dx = pullback(launch.array(dy, offset=there))
    np.testing.assert_array_equal(launch.numpy(y), np.maximum(x, 0))
    np.testing.assert_array_equal(launch.numpy(dx), np.where(x > 0, dy, 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_last_block_of_an_unaligned_vector(launch: Launch, dtype: str) -> None:
    """A vector that starts in the middle of a piece may need one block more."""
    vec = ELEMENTS[dtype].vector
    for n in (256 * vec - 1, 256 * vec):
        x = np.ones(n, dtype_of(dtype))
        with launch.on():
            y, pullback = launchers.relu(launch.array(x, offset=vec - 1))
            dx = pullback(launch.array(x, offset=vec - 1))
        np.testing.assert_array_equal(launch.numpy(y), 1)
        np.testing.assert_array_equal(launch.numpy(dx), 1)


def test_special_values(launch: Launch) -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e4, -1e4, 90, -90], np.float32)
    with launch.on():
        out = {
            name: [launch.numpy(a) for a in (y, pullback(launch.array(np.ones_like(x))))]
            for name in FORMULAS
            for y, pullback in [getattr(launchers, name)(launch.array(x))]
        }
    for name, (y, dx) in out.items():
        assert np.isnan(y[0]), name
        assert np.isfinite(y[4:]).all(), name
        assert np.isfinite(dx[4:]).all(), name
    np.testing.assert_array_equal(out["relu"][0][1:4], [np.inf, 0, 0])
    np.testing.assert_array_equal(out["sigmoid"][0][[1, 2, 4, 5]], [1, 0, 1, 0])
    np.testing.assert_array_equal(out["tanh"][0][[1, 2]], [1, -1])


def test_sigmoid_and_gelu_keep_their_digits_far_from_zero(launch: Launch) -> None:
    x = np.linspace(-12, 0, 1000).astype(np.float32)
    with launch.on():
        sigmoid, _ = launchers.sigmoid(launch.array(x))
        gelu, _ = launchers.gelu(launch.array(x))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(launch.numpy(sigmoid), scipy_special.expit(wide), rtol=5e-7)
    np.testing.assert_allclose(
        launch.numpy(gelu), wide * phi(wide), rtol=2e-5
    )  # the tail's own sensitivity: x^2 ulp


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_relu_cut_off_gets_no_gradient(launch: Launch, dtype: str, bad: float) -> None:
    """Whatever arrives there: sqrt(relu(x)) has an infinite derivative just where the mask is 0."""
    x = np.tile(np.array([-1, 0, -0.0, 2], dtype_of(dtype)), (50, 3))
    dy = np.where(x > 0, 1, bad).astype(x.dtype)
    with launch.on():
        _, alone = launchers.relu(launch.array(x))
        _, biased = launchers.bias_activation(launch.array(x), launch.array(np.zeros(12), x.dtype))
        dx, (dz, db) = alone(launch.array(dy)), biased(launch.array(dy))
    np.testing.assert_array_equal(launch.numpy(dx), x > 0)
    np.testing.assert_array_equal(launch.numpy(dz), x > 0)
    np.testing.assert_array_equal(launch.numpy(db), np.tile([0, 0, 0, 50], 3))


SHAPES = [
    (1, 1),
    (3, 10),
    (300, 12),
    (5, 33),
    (64, 128),
    (40, 132),
    (700, 7),
    (9, 520),
    (2500, 4),
    (2, 3, 5, 16),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bias_relu(launch: Launch, shape: tuple[int, ...], dtype: str) -> None:
    check_bias(launch, "relu", shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in FORMULAS if n != "relu"])
def test_bias_others(launch: Launch, name: str, dtype: str) -> None:
    check_bias(launch, name, (90, 72), dtype)


@pytest.mark.parametrize("offsets", [(1, 0, 0), (0, 3, 0), (0, 0, 1), (4, 4, 4)])
def test_bias_unaligned(launch: Launch, offsets: tuple[int, int, int]) -> None:
    check_bias(launch, "gelu", (37, 64), "float32", offsets)


def check_bias(
    launch: Launch, name: str, shape: tuple[int, ...], dtype: str, offsets: tuple[int, int, int] = (0, 0, 0)
) -> None:
    rng = np.random.default_rng(shape[0])
    x, dy = (rng.standard_normal(shape).astype(dtype_of(dtype)) for _ in range(2))
    b = rng.standard_normal(shape[-1]).astype(dtype_of(dtype))
    with launch.on(order=3, seed=5, resident=3):
        y, pullback = launchers.bias_activation(
            launch.array(x, offset=offsets[0]), launch.array(b, offset=offsets[1]), name, *options(name)
        )
        dx, db = pullback(launch.array(dy, offset=offsets[2]))
    value, derivative = FORMULAS[name]
    z = x.astype(np.float64) + b.astype(np.float64)
    gradient = dy.astype(np.float64) * derivative(z)
    if dtype in ("float16", "bfloat16"):  # the kept output is rounded: leave out what rounds across the kink
        keep = np.abs(z) > 2e-2
        assert keep.mean() > 0.9
        got = np.where(keep, launch.numpy(dx), gradient)
    else:
        got = launch.numpy(dx)
    assert str(y.dtype) == str(dx.dtype) == str(db.dtype) == dtype
    close(launch.numpy(y), value(z), dtype)
    close(got, gradient, dtype, scale=3)
    rows = gradient.reshape(-1, shape[-1])
    error = np.abs(launch.numpy(db) - rows.sum(0))
    assert (error <= 4 * TOLERANCE[dtype] * np.abs(rows).sum(0) + 1e-30).all()


@settings(max_examples=25)
@given(
    m=st.integers(0, 400),
    n=st.integers(1, 150),
    extra=st.integers(0, 5),
    at=st.integers(0, 5),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sum_rows(launch: Launch, dtype: str, m: int, n: int, extra: int, at: int, seed: int) -> None:
    room = np.random.default_rng(seed).standard_normal((m, n + extra)).astype(dtype_of(dtype))
    with launch.on(seed=seed, order=3):
        x = launch.array(room, offset=at)[:, extra:]
        out = launch.array(np.full(n, 7.0), dtype_of(dtype), offset=at)
        assert launchers.sum_rows(x, out) is out
        again = launchers.sum_rows(x)
    wide = room[:, extra:].astype(np.float64)
    for found in (out, again):
        error = np.abs(launch.numpy(found) - wide.sum(0))
        assert (error <= TOLERANCE[dtype] * np.abs(wide).sum(0)).all()
    np.testing.assert_array_equal(launch.numpy(out), launch.numpy(again))


def test_bias_gradient_is_the_same_in_any_order_of_threads(launch: Launch) -> None:
    x = np.random.default_rng(0).standard_normal((3000, 8)).astype(np.float32)
    sums = []
    for order in range(4):
        with launch.on(order=order, seed=order, resident=1 + order):
            sums.append(launch.numpy(launchers.sum_rows(launch.array(x))))
    assert all((s == sums[0]).all() for s in sums)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    x = launch.array(np.ones((4, 6)), np.float32)
    with launch.on():
        assert launchers.relu(launch.array(np.ones(3), np.int64)) is NotImplemented
        assert launchers.leaky_relu(x, -0.1) is NotImplemented  # y does not tell the sign of x
        assert launchers.elu(x, -1.0) is NotImplemented
        assert launchers.sum_rows(x[0]) is NotImplemented
        assert launchers.sum_rows(x[:, ::2]) is NotImplemented
        assert launchers.bias_activation(x, x[0, :5]) is NotImplemented
        assert launchers.bias_activation(x, x[0], "softplus") is NotImplemented
        assert launchers.bias_activation(x[:0], x[0]) is NotImplemented
        y, pullback = launchers.relu(x[:, ::2])  # not contiguous: copied
        assert launch.numpy(y).sum() == launch.numpy(pullback(x[:, 1::2])).sum() == 12
        y, pullback = launchers.tanh(x[:0])
        assert y.shape == pullback(x[:0]).shape == (0, 6)


@pytest.mark.parametrize("order", [0, 3])
def test_races(launch: Launch, order: int) -> None:
    """Every kind of kernel once, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    x = np.random.default_rng(0).standard_normal((130, 6)).astype(np.float32)
    b = np.arange(6.0, dtype=np.float32) - 3
    with launch.on(order=order, resident=3):
        y, pullback = launchers.relu(launch.array(x))
        np.testing.assert_array_equal(launch.numpy(pullback(launch.array(x))), np.maximum(x, 0))
        y, pullback = launchers.bias_activation(launch.array(x), launch.array(b), "gelu")
        dx, db = pullback(launch.array(x))
    value, derivative = FORMULAS["gelu"]
    z = x.astype(np.float64) + b
    close(launch.numpy(y), value(z), "float32")
    close(launch.numpy(dx), x * derivative(z), "float32")
    close(launch.numpy(db), (x * derivative(z)).sum(0), "float32", scale=3)
