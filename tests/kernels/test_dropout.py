"""Dropout and Philox through their launchers: bit for bit what xpnet.random gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from tests.kernels.test_cross_entropy import TOLERANCE, dtype_of
from xpnet import random
from xpnet.cuda import dropout as launchers

KEYS = [random.Key(0, 0, 0), random.Key(2**63 + 2**40 + 17, 3, 5), random.Key(7, 2**32 - 1, 2**32 + 9)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_philox_is_that_of_numpy(launch: Launch, key: random.Key) -> None:
    counter = np.concatenate([np.arange(300), [2**32 - 1, 2**32, 2**40 + 3, 2**62]])
    with launch.on():
        words = launchers.philox(launch.array(counter), key)
    for found, expected in zip(words, random.philox(counter, key), strict=True):
        np.testing.assert_array_equal(launch.numpy(found), expected)


def test_philox_known_answer(launch: Launch) -> None:
    """The vector of Salmon's Random123 for counter and key of all ones."""
    with launch.on():
        counter = launch.array(np.array([-1]), np.int64)
        words = launchers.philox(counter, random.Key(2**64 - 1, 2**32 - 1, 2**32 - 1))
    assert [int(launch.numpy(w)[0]) for w in words] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@settings(max_examples=25)
@given(
    n=st.integers(0, 3000),
    at=st.integers(0, 9),
    p=st.sampled_from([0.1, 0.5, 0.75, 1 - 2**-32, 2**-32]),
    key=st.sampled_from(KEYS),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_mask(launch: Launch, dtype: str, n: int, at: int, p: float, key: random.Key, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(n).astype(dtype_of(dtype))
    with launch.on(seed=seed, order=3):
        y, pullback = launchers.philox_dropout(launch.array(x, offset=at), p, key)
        dx = pullback(launch.array(x))
    scale = np.float64(1 / (1 - p)) if dtype == "float64" else np.float32(1 / (1 - p))
    wide = x if dtype == "float64" else x.astype(np.float32)
    with np.errstate(over="ignore"):
        expected = np.where(random.keep_mask((n,), p, key), wide * scale, wide * 0).astype(x.dtype)
    assert y.dtype == dx.dtype == x.dtype
    np.testing.assert_array_equal(launch.numpy(y), expected.astype(np.float64))
    np.testing.assert_array_equal(launch.numpy(dx), expected.astype(np.float64))


def test_shape_nan_and_what_is_left_to_the_body(launch: Launch) -> None:
    x = np.full((3, 4, 5), np.nan, np.float32)
    with launch.on():
        y, pullback = launchers.philox_dropout(launch.array(x), 0.5, KEYS[1])
        assert y.shape == x.shape
        assert np.isnan(launch.numpy(y)).all()  # a dropped NaN stays, as in the array form
        for dy in (x, np.full_like(x, np.inf)):
            kept = random.keep_mask(x.shape, 0.5, KEYS[1])
            np.testing.assert_array_equal(launch.numpy(pullback(launch.array(dy))), np.where(kept, dy, 0))
        turned = launch.array(np.arange(20.0).reshape(4, 5), np.float32).T
        z, _ = launchers.philox_dropout(turned, 0.5, KEYS[1])
        for p in (0.0, 1.0):
            assert launchers.philox_dropout(launch.array(x), p, KEYS[0]) is NotImplemented
        assert launchers.philox_dropout(launch.array(np.ones(3, np.int64)), 0.5, KEYS[0]) is NotImplemented
    keep = random.keep_mask((5, 4), 0.5, KEYS[1])
    np.testing.assert_array_equal(launch.numpy(z), np.arange(20.0).reshape(4, 5).T * 2 * keep)


def test_beyond_32_bits(launch: Launch) -> None:
    if not launch.hardware:
        pytest.skip("4 GB of elements: on a GPU only")
    import cupy

    n, last = 2**31 + 1029, 1029 + 4096
    x = cupy.ones(n, cupy.float16)
    y, _ = launchers.philox_dropout(x, 0.5, KEYS[1])
    kept = random.bits(last, KEYS[1], random.HOST, start=n - last) >= random.keep_threshold(0.5)
    np.testing.assert_array_equal(launch.numpy(y[-last:]), 2.0 * kept)


def test_races(launch: Launch) -> None:
    """Small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    x = np.ones(1100, np.float32)
    with launch.on(resident=2):
        y, _ = launchers.philox_dropout(launch.array(x), 0.5, KEYS[1])
        words = launchers.philox(launch.array(np.arange(275)), KEYS[1])
    kept = np.stack([launch.numpy(w) for w in words], 1).ravel() >= 2**31
    np.testing.assert_array_equal(launch.numpy(y), 2.0 * kept)
