"""Rows of a table and its gradient through their launcher, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from tests.kernels.conftest import Launch
from tests.kernels.registered import registered
from tests.kernels.test_cross_entropy import TOLERANCE, dtype_of
from xpnet import cuda
from xpnet import functional as F
from xpnet.core.notes import discard_errors
from xpnet.cuda import embedding as launchers
from xpnet.cuda.embedding import take


def check(
    launch: Launch,
    shape: tuple[int, int],
    numbers: Any,
    dtype: str,
    padding: int | None = None,
    kind: str = "int64",
    offset: int = 0,
    **how: Any,
) -> np.ndarray:
    """Against numbers in range; the gradient, to compare bits."""
    rng, x = np.random.default_rng(shape[1]), np.asarray(numbers, kind)
    table = rng.standard_normal(shape).astype(dtype_of(dtype))
    dy = rng.standard_normal((*x.shape, shape[1])).astype(dtype_of(dtype))
    with launch.on(**how):
        made = take(launch.array(table, offset=offset), launch.array(x), padding)
        assert made is not NotImplemented
        (dw,) = made[1](launch.array(dy, offset=offset))
    assert str(made[0].dtype) == str(dw.dtype) == dtype
    np.testing.assert_array_equal(launch.numpy(made[0]), table.astype(np.float64)[x])
    want, size, wide = np.zeros(shape), np.zeros(shape), dy.astype(np.float64)
    np.add.at(want, x, wide)
    np.add.at(size, x, abs(wide))
    if padding is not None:
        want[padding] = size[padding] = 0
    error = abs(launch.numpy(dw) - want)
    assert (error <= TOLERANCE[dtype] * size).all(), error.max()
    return launch.numpy(dw)


SHAPES = [(1, 1), (5, 3), (7, 16), (300, 8), (65, 33), (2100, 4), (3, 200)]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_numpy(launch: Launch, shape: tuple[int, int], dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, shape[0], (3, 50))
    check(launch, shape, x, dtype, order=3)


@settings(max_examples=25)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 20),
    count=st.integers(1, 2500),
    same=st.booleans(),
    padding=st.integers(-1, 0),
    kind=st.sampled_from(["int32", "int64"]),
    offset=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_any_size(
    launch: Launch, n: int, d: int, count: int, same: bool, padding: int, kind: str, offset: int, seed: int
) -> None:
    """Also one row for every token, several chunks of tokens, rows that nobody asks for."""
    x = np.full(count, n - 1) if same else np.random.default_rng(seed).integers(0, n, count)
    check(launch, (n, d), x, "float32", padding or None, kind, offset, seed=seed)


def test_the_same_bits_in_any_order_of_threads(launch: Launch) -> None:
    x = np.random.default_rng(0).integers(0, 9, 700)
    found = [
        check(launch, (9, 5), x, "float32", order=order, seed=order, resident=1 + order) for order in range(4)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("wrong", [-1, 5, -(2**40), 2**40])
def test_a_number_out_of_range_is_an_error(launch: Launch, wrong: int) -> None:
    """Its row is NaN, its gradient nobody's, and who reads a result is told."""
    with launch.on():
        y, pullback = take(
            launch.array(np.ones((5, 2), np.float32)), launch.array(np.array([3, wrong, 3])), None
        )
        (dw,) = pullback(launch.array(np.ones((3, 2), np.float32)))
    with pytest.raises(
        IndexError, match=rf"embedding: {wrong} \(entry 1\) is out of range: of 5 rows, .* 0 to 4"
    ):
        launch.read(y)
    np.testing.assert_array_equal(launch.numpy(y), [[1, 1], [np.nan] * 2, [1, 1]])
    np.testing.assert_array_equal(launch.numpy(dw), [[0, 0]] * 3 + [[2, 2], [0, 0]])


def test_nan_and_infinity_stay_where_they_are(launch: Launch) -> None:
    dy = np.array([[np.nan, 1], [np.inf, 1], [1, 1]], np.float32)
    with launch.on():
        _, pullback = take(launch.array(np.ones((4, 2), np.float32)), launch.array(np.array([0, 2, 2])), 0)
        (dw,) = pullback(launch.array(dy))
    np.testing.assert_array_equal(launch.numpy(dw), [[0, 0], [0, 0], [np.inf, 2], [0, 0]])


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    table, x = launch.array(np.ones((4, 2)), np.float32), launch.array(np.array([1, 2]))
    with launch.on():
        assert take(table, x[:0], None) is NotImplemented
        assert take(launch.array(np.ones((4, 2), np.int64)), x, None) is NotImplemented
        assert take(table, launch.array(np.array([1], np.int8)), None) is NotImplemented
        assert launchers.rows_of(table, x, 4) is NotImplemented
        y, pullback = take(launch.array(np.arange(8.0).reshape(4, 2).T), x[:1], None)  # not contiguous
        np.testing.assert_array_equal(launch.numpy(y), [[1, 3, 5, 7]])
        (dw,) = pullback(launch.array(np.arange(8.0).reshape(4, 2).T)[:1])
    np.testing.assert_array_equal(launch.numpy(dw), [[0] * 4, [0, 2, 4, 6]])


@pytest.mark.parametrize("padding", [None, 1, -3])
def test_through_the_registry(launch: Launch, padding: int | None) -> None:
    x = np.random.default_rng(0).integers(0, 7, (4, 6))
    table = np.random.default_rng(1).standard_normal((7, 12)).astype(np.float32)

    def run() -> tuple[Any, Any]:
        w = xpnet.tensor(table, requires_grad=True)
        y = F.embedding(xpnet.asarray(x), w, padding)
        (y * y).sum().backward()
        return xpnet.to_numpy(y), xpnet.to_numpy(w.grad)

    with launch.on(), registered(launch, launchers) as counted:
        found = run()
        with xpnet.fused(False):
            body = run()
    assert counted == {"rows_of": 1}
    np.testing.assert_array_equal(found[0], body[0])
    np.testing.assert_allclose(found[1], body[1], rtol=1e-6, atol=1e-6)
    cuda.check_errors()


@pytest.mark.parametrize("order", [0, 3])
def test_races(launch: Launch, order: int) -> None:
    """Every kernel, small enough for ThreadSanitizer (tests/kernels/ladder.py); several chunks of tokens."""
    x = np.random.default_rng(0).integers(0, 70, 2100)
    check(launch, (70, 4), x, "float32", order=order, resident=3)
    check(launch, (3, 4), x % 3, "float32", 0, "int32", order=order)
    with launch.on(order=order):
        y, _ = take(launch.array(np.ones((5, 2), np.float32)), launch.array(np.full(300, 9)), None)
    with pytest.raises(IndexError, match="embedding: 9"):
        launch.read(y)
    discard_errors()
