"""Attention's weights and their gradient through the launchers, against the bodies in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet
from tests.kernels.conftest import Launch
from tests.kernels.registered import registered
from tests.kernels.test_attention import dtype_of, mask_of
from xpnet import functional as F
from xpnet.cuda import masked_softmax as launchers
from xpnet.cuda.masked_softmax import attention_weights, scores_gradient
from xpnet.functional import attention

TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-6, "bfloat16": 2e-6}  # sums are float32's


def check(
    launch: Launch,
    shape: tuple[int, ...],
    dtype: str = "float32",
    mask: Any = None,
    first: int | None = None,
    offset: int = 0,
    **how: Any,
) -> None:
    s = (np.random.default_rng(sum(shape)).standard_normal(shape) * 3).astype(dtype_of(dtype))
    wide_mask = mask if mask is None or mask.dtype == bool else mask.astype(np.float64)
    want = attention.attention_weights.body(s.astype(np.float64), 0.7, wide_mask, first)
    with launch.on(**how):
        given = None if mask is None else launch.array(mask)
        found = attention_weights(launch.array(s, offset=offset), 0.7, given, first)
    assert found is not NotImplemented
    assert str(found.dtype) == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(launch.numpy(found), want, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("first", [None, 0, 3])
@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (2, 3, 5, 128), (2, 9, 512), (3, 1030)])
def test_weights(launch: Launch, shape: tuple[int, ...], first: int | None, dtype: str) -> None:
    check(launch, shape, dtype, None, first, order=3)


@pytest.mark.parametrize("kind", ["bool", "floats"])
@pytest.mark.parametrize("shape", [(30, 44), (3, 2, 30, 44), (3, 1, 1, 44), (1, 2, 30, 44)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_masks(launch: Launch, dtype: str, shape: tuple[int, ...], kind: str) -> None:
    check(launch, (3, 2, 30, 44), dtype, mask_of(kind, shape, dtype))


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_addresses(launch: Launch, offset: int) -> None:
    check(launch, (6, 256), offset=offset)


def test_extreme_scores(launch: Launch) -> None:
    """What is masked counts for nothing, even NaN; nowhere is 0; NaN that is seen stays in its row."""
    s = np.array([[1e4, -1e4, np.nan, 1e4], [0, np.nan, 1, 2], [np.nan] * 4, [1, 1, 1, 1]], np.float32)
    mask = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    with launch.on():
        found = launch.numpy(attention_weights(launch.array(s), 1.0, launch.array(mask)))
    np.testing.assert_allclose(found[[0, 2, 3]], [[0.5, 0, 0, 0.5], [0] * 4, [0.25] * 4], rtol=1e-6)
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3, 5, 33), (4, 128)])
def test_gradient(launch: Launch, shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    w, dw, total = (rng.standard_normal(s).astype(dtype) for s in (shape, shape, (*shape[:-1], 1)))
    with launch.on(order=3):
        found = scores_gradient(*map(launch.array, (w, dw, total)), 0.3)
    want = w.astype(np.float64) * (dw.astype(np.float64) - total) * 0.3
    np.testing.assert_allclose(launch.numpy(found), want, rtol=1e-5, atol=1e-6)


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    s = launch.array(np.zeros((2, 4), np.float32))
    with launch.on():
        for made in (
            attention_weights(launch.array(np.zeros((1, 20000), np.float32)), 1.0),
            attention_weights(s[:0], 1.0),
            attention_weights(s, 1.0, launch.array(np.zeros((2, 4), np.float64))),
            scores_gradient(s, s, s),
            scores_gradient(launch.array(np.zeros((2, 4), np.float16)), s, s[:, :1]),
        ):
            assert made is NotImplemented
        every_other = launch.array(np.zeros((2, 8), np.float32))[:, ::2]
        np.testing.assert_array_equal(launch.numpy(attention_weights(every_other, 1.0)), 0.25)


def test_heads_that_are_too_wide_for_one_kernel(launch: Launch) -> None:
    """Through the registry: the body of attention, whose weights the kernels make."""
    x = np.random.default_rng(0).standard_normal((2, 9, 130)).astype(np.float32)

    def run() -> list[np.ndarray]:
        q = xpnet.tensor(x, requires_grad=True)
        F.scaled_dot_product_attention(q, q, q, None, 0.0, True).sum().backward()
        return [xpnet.to_numpy(q.grad)]

    with launch.on(), registered(launch, launchers) as counted:
        found = run()
        with xpnet.fused(False):
            body = run()
    assert counted == {"attention_weights": 1, "scores_gradient": 1}
    np.testing.assert_allclose(found, body, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 40), (3, 600), (3, 2100)])
def test_races(launch: Launch, shape: tuple[int, ...]) -> None:
    """Every kernel, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    check(launch, shape, "float32", None, 0, order=1)
