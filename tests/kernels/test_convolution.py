"""Convolution through its launcher, against the Array API body in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from tests.kernels.test_cross_entropy import TOLERANCE, close, dtype_of
from xpnet.core.precision import matmul_precision
from xpnet.cuda import convolution as launchers
from xpnet.cuda.element import ELEMENTS
from xpnet.functional import convolution

DTYPES = list(TOLERANCE)
Arrays = list[np.ndarray]


def sample(dtype: str, x: tuple[int, ...], weight: tuple[int, ...], bias: bool, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = [x, weight, weight[:1]][: 2 + bias]
    return [rng.standard_normal(shape).astype(dtype_of(dtype)) for shape in shapes]


def check(launch: Launch, dtype: str, arrays: Arrays, options: dict[str, Any], **schedule: Any) -> None:
    """y and all gradients against the body's, which convolves the same numbers in float64."""
    want, backward = convolution.conv2d.body(*(a.astype(np.float64) for a in arrays), **options)
    dy = np.random.default_rng(1).standard_normal(want.shape).astype(dtype_of(dtype))
    gradients = [g(None) for g in backward(dy.astype(np.float64))][: len(arrays)]
    with launch.on(**schedule):
        y, pullback = launchers.conv2d(*map(launch.array, arrays), **options)
        found = [g(None) for g in pullback(launch.array(dy))[: len(arrays)]]
    for got, expected in zip([y, *found], [want, *gradients], strict=True):
        assert str(got.dtype) == dtype
        close(launch.numpy(got), expected, dtype, scale=2)


SHAPES = {
    "a window": ((2, 3, 8, 9), (4, 3, 3, 3), {"padding": 1}),
    "strides": ((2, 4, 9, 7), (6, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0), "groups": 2}),
    "dilation": ((1, 3, 13, 14), (5, 3, 3, 2), {"stride": (4, 3), "dilation": (2, 3), "padding": 2}),
    "stride beyond the window": ((2, 3, 9, 9), (4, 3, 1, 2), {"stride": 3}),
    "depthwise": ((1, 4, 11, 11), (4, 1, 3, 3), {"dilation": 2, "groups": 4, "padding": 2}),
    "depthwise, two outputs each": (
        (2, 3, 9, 8),
        (6, 1, 2, 3),
        {"stride": (1, 2), "groups": 3, "padding": 1},
    ),
    "depthwise, many taps": ((1, 2, 9, 9), (2, 1, 4, 5), {"stride": 3, "groups": 2, "padding": 3}),
    "1 by 1": ((3, 5, 6, 6), (7, 5, 1, 1), {}),
    "larger than the image": ((2, 2, 3, 4), (3, 2, 5, 5), {"padding": (1, 2)}),
    "nothing but padding": ((1, 1, 2, 2), (1, 1, 2, 2), {"padding": 3}),
    "several tiles": ((3, 20, 12, 11), (70, 20, 3, 3), {"padding": 1}),
    "many outputs": ((2, 3, 8, 8), (130, 3, 2, 2), {"padding": 1, "stride": 2}),
    "many channels": ((2, 40, 6, 6), (20, 40, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("bias", [False, True])
def test_conv2d(launch: Launch, case: str, dtype: str, bias: bool) -> None:
    x, weight, options = SHAPES[case]
    check(launch, dtype, sample(dtype, x, weight, bias), options)


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), *[st.integers(1, 14)] * 2),
    outputs=st.integers(1, 20),
    groups=st.integers(1, 3),
    window=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.tuples(*[st.integers(1, 5)] * 2),
    padding=st.tuples(*[st.integers(0, 4)] * 2),
    dilation=st.tuples(*[st.integers(1, 4)] * 2),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_any_shape(
    launch: Launch,
    dtype: str,
    shape: tuple[int, int, int, int],
    outputs: int,
    groups: int,
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    seed: int,
) -> None:
    reach = [d * (k - 1) for d, k in zip(dilation, window, strict=True)]
    if any(n + 2 * p <= r for n, p, r in zip(shape[2:], padding, reach, strict=True)):
        return
    n, depth, *size = shape
    x, weight = (n, depth * groups, *size), (outputs * groups, depth, *window)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    check(launch, dtype, sample(dtype, x, weight, seed % 2 == 0, seed), options, seed=seed)


@pytest.mark.parametrize("arch", [75, 80, 90])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tile(launch: Launch, monkeypatch: pytest.MonkeyPatch, dtype: str, arch: int) -> None:
    """Each alone, with a last row and a last column of blocks that are not full, and several parts of dW."""
    for_images, for_weight = launchers.tiles(ELEMENTS[dtype], arch)
    arrays = sample(dtype, (2, 19, 9, 11), (140, 19, 3, 3), True)
    for i in range(max(len(for_images), len(for_weight))):
        chosen = for_images[i % len(for_images)], for_weight[i % len(for_weight)]
        monkeypatch.setattr(launchers, "tiles", lambda t, arch, precision, one=chosen: ((one[0],), (one[1],)))
        launchers.plan.cache_clear()
        check(launch, dtype, arrays, {"padding": 1}, arch=arch)
    launchers.plan.cache_clear()


def test_the_tiles_cover_what_a_model_has() -> None:
    """Small images and few outputs take small tiles, so that the device is full; many take the largest."""

    def rows(n: int, outputs: int) -> int:
        made = launchers.plan(ELEMENTS["float32"], (n, 64, 28, 28), (outputs, 64, 3, 3), 1, 1, 1, 1, 90, 132)
        return int(made.forward.kernel.split(", ")[2])

    assert [rows(128, o) for o in (16, 32, 64, 512)] == [16, 32, 64, 128]
    assert rows(1, 64) == 32


def test_the_weight_gradient_of_many_places_is_cut_into_parts() -> None:
    shape = (128, 16, 32, 32)
    made = launchers.plan(ELEMENTS["float32"], shape, (16, 16, 3, 3), 1, 1, 1, 1, 90, 132)
    assert made.parts > 100
    assert made.parts * int(made.chunk) >= 128 * 32 * 32 > (made.parts - 1) * int(made.chunk)
    large = launchers.plan(ELEMENTS["float32"], (8, 512, 7, 7), (512, 512, 3, 3), 1, 1, 1, 1, 90, 132)
    assert large.parts == 1  # parts of a large weight would be larger than the images


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_batch(launch: Launch, dtype: str) -> None:
    x, weight, bias = sample(dtype, (0, 3, 8, 8), (4, 3, 3, 3), True)
    with launch.on():
        y, pullback = launchers.conv2d(*map(launch.array, (x, weight, bias)))
        dx, dw, db = (g(None) for g in pullback(launch.array(np.empty((0, 4, 6, 6)), x.dtype)))
    assert y.shape == (0, 4, 6, 6)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(launch.numpy(dw), np.zeros(weight.shape))
    np.testing.assert_array_equal(launch.numpy(db), np.zeros(4))


def test_views_are_copied(launch: Launch) -> None:
    rng = np.random.default_rng(0)
    shapes = (2, 9, 8, 3), (3, 4, 5, 3), (7, 5, 2, 6)
    x, weight, dy = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)

    def results(conv2d: Any, array: Any) -> list[Any]:
        views = array(x).transpose(0, 3, 1, 2), array(weight)[::-1, :, :4].transpose(2, 3, 0, 1)
        y, pullback = conv2d(*views)
        return [y, *(g(None) for g in pullback(array(dy).transpose(2, 3, 0, 1)[:, :4, ::-1])[:2])]

    want = results(convolution.conv2d.body, np.asarray)
    with launch.on():
        found = results(launchers.conv2d, launch.array)
    for got, expected in zip(found, want, strict=True):
        close(launch.numpy(got), expected.astype(np.float64), "float32", scale=2)


@pytest.mark.parametrize("fits", [True, False])
def test_the_gradient_is_written_where_it_belongs(launch: Launch, fits: bool) -> None:
    x, weight, bias = sample("float32", (2, 3, 8, 9), (4, 3, 3, 3), True)
    dy = np.random.default_rng(1).standard_normal((2, 4, 6, 7)).astype(np.float32)
    _, backward = convolution.conv2d.body(x, weight, bias)
    with launch.on():
        _, pullback = launchers.conv2d(*map(launch.array, (x, weight, bias)))
        room = launch.array(np.zeros(weight.size + 4), np.float32)
        _, by_weight, by_bias = pullback(launch.array(dy))
        out = room[4:].reshape(weight.shape) if fits else room[4:]
        db = by_bias(room[:4])  # in any order
        dw = by_weight(out)
    assert (dw is out) == fits
    close(launch.numpy(dw), backward(dy)[1](None).astype(np.float64), "float32", scale=2)
    close(launch.numpy(db), dy.sum((0, 2, 3)).astype(np.float64), "float32", scale=2)
    assert (launch.numpy(room[:4]) == launch.numpy(db)).all()


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_that_is_none_reaches_its_neighbours_alone(launch: Launch, dtype: str, value: float) -> None:
    """At the corner of one image, beside padding and another image; and in dy, that of one output."""
    x, weight, bias = sample(dtype, (3, 2, 9, 10), (5, 2, 3, 3), True)
    x[1, 0, 8, 9] = value
    want, backward = convolution.conv2d.body(*(a.astype(np.float64) for a in (x, weight, bias)), padding=1)
    dy = np.ones(want.shape, x.dtype)
    dy[2, 3, 0, 0] = value
    gradients = [g(None) for g in backward(dy.astype(np.float64))]
    with launch.on():
        y, pullback = launchers.conv2d(*map(launch.array, (x, weight, bias)), padding=1)
        found = [launch.numpy(g(None)) for g in pullback(launch.array(dy))]
    for got, expected in zip([launch.numpy(y), *found], [want, *gradients], strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
        assert np.isfinite(got).any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_order_of_blocks_does_not_matter(launch: Launch, dtype: str) -> None:
    arrays = sample(dtype, (4, 3, 20, 20), (5, 3, 3, 3), True)
    results = []
    for order in range(3):
        with launch.on(order=order, seed=order, resident=1 + order):
            y, pullback = launchers.conv2d(*map(launch.array, arrays), padding=1)
            results.append([launch.numpy(a) for a in (y, *(g(None) for g in pullback(y)))])
    for again in results[1:]:
        for a, b in zip(results[0], again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_long_sums_keep_their_accuracy(launch: Launch) -> None:
    """20,000 terms with a mean: a plain float32 sum loses digits."""
    x = np.random.default_rng(0).normal(1, 1, size=(5, 1, 64, 64)).astype(np.float32)
    weight = np.ones((1, 1, 3, 3), np.float32)
    check(launch, "float32", [x, weight], {"padding": 1})


def test_what_the_kernels_leave_to_the_body(launch: Launch) -> None:
    x, weight = sample("float32", (2, 3, 8, 8), (4, 3, 3, 3), False)
    with launch.on():
        a, b = launch.array(x), launch.array(weight)
        assert launchers.conv2d(a, launch.array(weight, np.float64)) is NotImplemented
        assert launchers.conv2d(a, b, launch.array(np.ones(4), np.float64)) is NotImplemented
        assert launchers.conv2d(a[0], b) is NotImplemented
        assert launchers.conv2d(launch.array(x, np.int64), launch.array(weight, np.int64)) is NotImplemented
        with pytest.raises(ValueError, match="smaller than the window"):
            launchers.conv2d(a[..., :2], b)
        with pytest.raises(ValueError, match="stride must be"):
            launchers.conv2d(a, b, stride=0)
        y, _ = launchers.conv2d(a, b, None, [2, 1], [1, 0])
    assert y.shape == (2, 4, 4, 6)


def test_one_channel_of_two_billion_places_is_the_body_s() -> None:
    t = ELEMENTS["float32"]
    assert launchers.plan(t, (1 << 15, 1, 256, 256), (1, 1, 1, 1), 1, 0, 1, 1, 90, 132) is None
    assert launchers.plan(t, (1 << 14, 1, 256, 256), (1, 1, 1, 1), 1, 0, 1, 1, 90, 132) is not None


@pytest.mark.parametrize("order", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_races(launch: Launch, dtype: str, order: int) -> None:
    """Every kind of kernel, small enough for ThreadSanitizer (tests/kernels/ladder.py)."""
    arrays = sample(dtype, (2, 5, 6, 7), (3, 5, 3, 3), True)
    check(launch, dtype, arrays, {"padding": 1, "stride": 2}, order=order, resident=3)
    arrays = sample(dtype, (2, 3, 6, 7), (3, 1, 3, 3), True)
    check(launch, dtype, arrays, {"padding": 1, "groups": 3}, order=order, resident=3)


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 10), ("bf16", 7)])
@pytest.mark.parametrize("tile", range(4))
def test_rounded_factors(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, precision: str, bits: int, tile: int
) -> None:
    """Products of rounded numbers, summed in float32; the bias and its gradient are not rounded."""
    arrays = sample("float32", (2, 19, 9, 11), (140, 19, 3, 3), True)
    dy = np.random.default_rng(1).standard_normal((2, 140, 9, 11)).astype(np.float32)

    def rounded(a: np.ndarray) -> np.ndarray:
        """To so many bits of mantissa, after the first: tf32 rounds halves away from 0, bfloat16 to even."""
        mantissa, exponent = np.frexp(a.astype(np.float64))
        scaled = np.abs(mantissa) * 2.0 ** (bits + 1)
        whole = np.floor(scaled + 0.5) if precision == "tf32" else np.rint(scaled)
        return np.sign(mantissa) * whole / 2.0 ** (bits + 1) * 2.0**exponent

    want, backward = convolution.conv2d.body(
        *map(rounded, arrays[:2]), arrays[2].astype(np.float64), padding=1
    )
    gradients = [g(None) for g in backward(rounded(dy))[:2]]
    for_images, for_weight = launchers.tiles(ELEMENTS["float32"], 90, precision)
    one = for_images[tile : tile + 1], for_weight[tile % 2 : tile % 2 + 1]
    monkeypatch.setattr(launchers, "tiles", lambda t, arch, precision: one)
    launchers.plan.cache_clear()
    with launch.on(), matmul_precision(precision):
        y, pullback = launchers.conv2d(*map(launch.array, arrays), padding=1)
        found = [g(None) for g in pullback(launch.array(dy))]
    launchers.plan.cache_clear()
    for got, expected in zip([y, *found[:2]], [want, *gradients], strict=True):
        close(launch.numpy(got), expected, "float32", scale=2)
    close(launch.numpy(found[2]), dy.sum((0, 2, 3), dtype=np.float64), "float32")
