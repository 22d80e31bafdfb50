"""Array operations that the standard lacks, against NumPy's and SciPy's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import xpnet
from xpnet import to_numpy
from xpnet.core import arrays
from xpnet.core.places import where


def test_erf_equals_scipy():
    x = np.concatenate(
        [np.linspace(-7, 7, 4001), [0.46875, 1e-300, -1e-8, 40.0, -40.0, np.inf, -np.inf, np.nan]]
    )
    np.testing.assert_allclose(to_numpy(arrays.erf(xpnet.asarray(x))), special.erf(x), rtol=1e-15, atol=0)
    single = x.astype(np.float32)
    found, expected = to_numpy(arrays.erf(xpnet.asarray(single))), special.erf(single.astype(np.float64))
    assert found.dtype == np.float32
    normal = ~(np.abs(expected) < 1e-37)  # below, a float32 has fewer bits
    np.testing.assert_allclose(found[normal], expected[normal], rtol=5e-7, atol=0)
    assert np.nanmax(np.abs(found)) == 1
    assert to_numpy(arrays.erf(xpnet.asarray(single[:0]))).shape == (0,)
    assert to_numpy(arrays.erf(xpnet.asarray(np.ones((300, 200), np.float32)[:, ::2]))).shape == (300, 100)


def test_erf_of_float32_is_float32():
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    y = to_numpy(arrays.erf(xpnet.asarray(x)))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, special.erf(x.astype(np.float64)), rtol=5e-7, atol=1e-7)


def test_one_hot():
    y = arrays.one_hot(xpnet.asarray([2, 0, 1]), 3, xpnet.asarray([1.0]).dtype)
    np.testing.assert_array_equal(to_numpy(y), np.eye(3, dtype=np.float32)[[2, 0, 1]])
    assert "float32" in str(y.dtype)


def test_take_and_add_to_columns():
    x = np.arange(12.0).reshape(4, 3)
    columns = xpnet.asarray([2, 0, 1, 1])
    taken = arrays.take_columns(xpnet.asarray(x), columns)
    np.testing.assert_array_equal(to_numpy(taken), x[range(4), [2, 0, 1, 1]])
    for values in (5.0, xpnet.asarray(np.array([1.0, 2.0, 3.0, 4.0]))):
        expected = x.copy()
        expected[range(4), [2, 0, 1, 1]] += to_numpy(values)
        found = arrays.add_to_columns(xpnet.asarray(x.copy()), columns, values)
        np.testing.assert_array_equal(to_numpy(found), expected)


def test_pad():
    x = np.arange(6.0).reshape(2, 3)
    found = arrays.pad(xpnet.asarray(x), [(1, 0), (2, 3)], value=7.0)
    np.testing.assert_array_equal(to_numpy(found), np.pad(x, [(1, 0), (2, 3)], constant_values=7.0))


def test_sum_rows_and_matmul_write_into_what_they_are_given(backend):
    a, b = np.random.default_rng(0).normal(size=(2, 3, 3))
    for f, expected in ((arrays.matmul, a @ b), (lambda a, b, out: arrays.sum_rows(a, out), a.sum(0))):
        out = xpnet.asarray(np.zeros(expected.shape))
        found = f(xpnet.asarray(a), xpnet.asarray(b), out)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-14)
        if backend == "numpy":
            assert found is out


@given(n=st.integers(1, 5), index=st.lists(st.integers(0, 4), max_size=12))
def test_scatter_add_counts_repeats(n, index):
    index = np.array([i % n for i in index], dtype=np.int64)
    values = np.arange(1.0, index.size + 1)
    expected = np.zeros(n)
    np.add.at(expected, index, values)
    found = arrays.scatter_add((n,), (xpnet.asarray(index),), xpnet.asarray(values))
    np.testing.assert_array_equal(to_numpy(found), expected)


def test_arange_stays_on_the_device_and_survives_many_sizes():
    like = xpnet.asarray([1.0])
    for n in [*range(150), 3]:
        found = arrays.arange(n, like)
        assert where(found) == where(like)
    np.testing.assert_array_equal(to_numpy(found), [0, 1, 2])


@pytest.mark.parametrize(("dtype", "half"), [("float16", True), ("float32", False), ("float64", False)])
def test_half_types_widen_to_float32(backend, dtype, half):
    if half and backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    x = xpnet.asarray([1.0], dtype)
    assert arrays.is_half(x) == half
    assert ("float32" if half else dtype) in str(arrays.widen(x).dtype)


def test_bfloat16_is_a_half_type(backend):
    if backend == "array_api_strict":
        pytest.skip("this backend has no bfloat16")
    assert arrays.is_half(xpnet.asarray([1.0], "bfloat16"))
