"""Layer norm, RMS norm and group norm through their launchers, against PyTorch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.conftest import Launch
from xpnet.cuda.row_norm import group_norm, layer_norm, rms_norm

torch = pytest.importorskip("torch")
TOLERANCE = {"float64": 1e-12, "float32": 5e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def dtype_of(name: str) -> Any:
    return pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)


RMS = -1  # in place of a number of groups


def check(
    launch: Launch, shape: tuple[int, ...], groups: int | None, dtype: str, affine: str = "both", **how: Any
) -> None:
    """Layer norm (groups None) or RMS norm over the last axis, or group norm; offset: of addresses."""
    rng, kind = np.random.default_rng(sum(shape)), dtype_of(dtype)
    x, dy = ((rng.standard_normal(shape) * 2 + 3).astype(kind) for _ in range(2))
    over_rows = groups in (None, RMS)
    size = shape[-1] if over_rows else shape[1]
    affine = {"both": "weight", "bias": "none"}.get(affine, affine) if groups == RMS else affine
    w, b = rng.uniform(0.5, 2, size).astype(kind), rng.standard_normal(size).astype(kind)
    w, b = (w if affine in ("both", "weight") else None), (b if affine in ("both", "bias") else None)
    offset, schedule = how.pop("offset", 0), how
    given = [None if a is None else torch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, w, b)]
    ones = torch.ones(size, dtype=torch.float64)  # PyTorch takes no bias alone
    weight = ones if given[1] is None else given[1]
    functional = torch.nn.functional
    if groups == RMS:
        want = functional.rms_norm(given[0], (size,), weight, 1e-5)
    else:
        function = functional.layer_norm if groups is None else functional.group_norm
        want = function(given[0], (size,) if groups is None else groups, weight, given[2])
    want.backward(torch.tensor(dy.astype(np.float64)))
    with launch.on(**schedule):
        arrays = [None if a is None else launch.array(a) for a in (w, b)]
        a = launch.array(x, offset=offset)
        if groups == RMS:
            made = rms_norm(a, size, arrays[0], 1e-5)
        else:
            made = layer_norm(a, size, *arrays) if groups is None else group_norm(a, groups, *arrays)
        assert made is not NotImplemented
        y, pullback = made
        dx, none, *parameters = pullback(launch.array(dy, offset=offset))
    assert none is None
    found = (y, dx, *parameters)
    expected = (want, *(None if g is None else g.grad for g in given))
    for name, got, right in zip(("y", "dx", "dweight", "dbias"), found, expected, strict=True):
        assert (got is None) == (right is None), name
        if got is not None:
            assert str(got.dtype) == dtype, name
            right = right.detach().numpy()
            error = np.linalg.norm(launch.numpy(got) - right) / np.linalg.norm(right)
            assert error < TOLERANCE[dtype], (name, error)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", [(1, 4), (7, 33), (5, 128), (9, 512), (3, 2048), (2, 1030), (600, 12)])
@pytest.mark.parametrize("groups", [None, RMS], ids=["layer", "rms"])
def test_over_rows(launch: Launch, groups: int | None, shape: tuple[int, ...], dtype: str) -> None:
    check(launch, shape, groups, dtype, order=3)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((3, 8), 2),
        ((2, 6, 5), 3),
        ((3, 4, 6, 6), 4),
        ((2, 8, 10, 10), 2),
        ((5, 6, 7), 1),
        ((2, 3, 4, 4, 4), 3),
    ],
)
def test_group_norm(launch: Launch, shape: tuple[int, ...], groups: int, dtype: str) -> None:
    check(launch, shape, groups, dtype, order=3)


@pytest.mark.parametrize("affine", ["both", "weight", "bias", "none"])
@pytest.mark.parametrize("groups", [None, RMS, 2])
def test_parameters_that_are_not_there(launch: Launch, groups: int | None, affine: str) -> None:
    check(launch, (3, 4, 5) if groups == 2 else (6, 4), groups, "float32", affine)


@pytest.mark.parametrize("offset", [1, 2, 4])
@pytest.mark.parametrize("groups", [None, RMS])
def test_addresses(launch: Launch, groups: int | None, offset: int) -> None:
    check(launch, (6, 256), groups, "float32", offset=offset)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rms_of_special_rows(launch: Launch, dtype: str) -> None:
    """NaN and infinity stay in their row; zeros and float16's largest numbers are no trouble."""
    x = np.array([[1, np.nan, 2], [np.inf, 1, 1], [0, 0, 0], [6e4, 6e4, -6e4], [3, 3, 3]], dtype)
    with launch.on():
        y, pullback = rms_norm(launch.array(x), 3)
        dx, *_ = pullback(launch.array(np.ones_like(x)))
    y, dx = launch.numpy(y), launch.numpy(dx)
    assert np.isnan(y[0]).all()
    assert np.isnan(y[1, 0])
    np.testing.assert_array_equal(y[1, 1:], 0)
    np.testing.assert_allclose(
        y[2:], [[0, 0, 0], [1, 1, -1], [1, 1, 1]], rtol=1e-3 if dtype == "float16" else 1e-6
    )
    assert np.isnan(dx[:2]).all()
    assert np.isfinite(dx[3:]).all()


def test_empty_and_not_contiguous(launch: Launch) -> None:
    x = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    with launch.on():
        assert rms_norm(launch.array(np.zeros((0, 4), np.float32)), 4) is NotImplemented  # nothing to launch
        y, pullback = rms_norm(launch.array(x)[::2, 4:12], 8)
        dx, *_ = pullback(launch.array(x)[1::2, 8:])
        want, back = rms_norm(launch.array(x[::2, 4:12]), 8)
        dwant, *_ = back(launch.array(x[1::2, 8:]))
    np.testing.assert_array_equal(launch.numpy(y), launch.numpy(want))
    np.testing.assert_array_equal(launch.numpy(dx), launch.numpy(dwant))


def test_a_mean_far_from_zero(launch: Launch) -> None:
    """float32 keeps the digits of a deviation of 1 around 1e4, as the body does."""
    x = (np.random.default_rng(0).standard_normal((4, 300)) + 1e4).astype(np.float32)
    with launch.on():
        y, _ = layer_norm(launch.array(x), 300)
    wide = x.astype(np.float64)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(launch.numpy(y), want, atol=2e-6)


def test_gives_way(launch: Launch) -> None:
    """Rows that no block holds, integers, wrong shapes: the body computes, or says what is wrong."""
    with launch.on():
        x = launch.array(np.zeros((2, 4), np.float32))
        for made in (
            layer_norm(launch.array(np.zeros((1, 20000), np.float32)), 20000),
            layer_norm(launch.array(np.zeros((2, 4), np.int64)), 4),
            layer_norm(x, 3),
            layer_norm(x, 4, launch.array(np.ones(3, np.float32))),
            group_norm(x, 3),
            rms_norm(x, 3),
            rms_norm(x, ()),
            rms_norm(x, 4, launch.array(np.ones(3, np.float32))),
        ):
            assert made is NotImplemented


CASES: list[Any] = [((6, 40), None), ((700, 8), None), ((3, 600), None), ((2, 4, 6), 2), ((3, 600), RMS)]


@pytest.mark.parametrize("case", CASES)
def test_races(launch: Launch, case: tuple[tuple[int, ...], int | None]) -> None:
    """Every kernel, small enough for ThreadSanitizer (tests/kernels/ladder.py); rows in turn in 700."""
    check(launch, *case, "float32", order=3)
    if case[0][0] == 3:
        check(launch, (1100, 129), case[1], "float32", order=1)
