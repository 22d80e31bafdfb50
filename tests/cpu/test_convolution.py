"""Convolution, pooling and ReLU in the CPU kernels against the Array API body in float64."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from tests.cpu.native import needs_native
from xpnet import functional as F

pytestmark = [pytest.mark.host, needs_native, pytest.mark.usefixtures("every_size")]


ALL = ["correlate", "input_gradient", "weight_gradient"]


def step(arrays, dy, dtype, **options):
    """y, dx, dw and db in `dtype`; float64 runs the body."""
    tensors = [xpnet.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    with xpnet.fused(dtype == "float32"):
        y = F.conv2d(*tensors, **options)
        y.backward(dy(y.shape).astype(dtype))
    return [y.numpy(), *(t.grad for t in tensors)]


def check(x, weight, bias=None, seed=0, rtol=2e-6, **options):
    """All results to `rtol` of the largest, or of what a sum of so many normal terms would be."""
    arrays = [a.astype("float32") for a in (x, weight, bias) if a is not None]
    dy = lambda shape: np.random.default_rng(seed).normal(size=shape).astype("float32")
    found, expected = (step(arrays, dy, dtype, **options) for dtype in ("float32", "float64"))
    long = math.sqrt(found[0][:, 0].size)  # of dw and db
    for a, b, scale in zip(found, expected, [1, 1, long, long], strict=False):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(scale, np.abs(b).max(initial=0)))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 2, *[st.integers(1, 40)] * 2),
    outputs=st.integers(1, 9),
    window=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.tuples(*[st.integers(1, 4)] * 2),
    padding=st.tuples(*[st.integers(0, 5)] * 2),
    dilation=st.tuples(*[st.integers(1, 3)] * 2),
    groups=st.sampled_from([1, 1, 2, 3]),
    seed=st.integers(0, 99),
)
def test_any_shape(shape, outputs, window, stride, padding, dilation, groups, seed, every_size):
    reach = [d * (k - 1) for d, k in zip(dilation, window, strict=True)]
    if any(n + 2 * p <= r for n, p, r in zip(shape[2:], padding, reach, strict=True)):
        return
    if groups > 1:  # as many channels as a group needs for a kernel
        shape, outputs = (shape[0], groups * 4, *shape[2:]), groups * (3 + outputs)
    rng, before = np.random.default_rng(seed), len(every_size)
    weight = rng.normal(size=(outputs, shape[1] // groups, *window))
    bias = rng.normal(size=outputs) if seed % 2 else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    check(rng.normal(size=shape), weight, bias, seed, **options)
    if shape[2:] == window and padding == (0, 0) and groups == 1:
        assert "gemm" in every_size[before:]
    else:
        assert sorted(every_size[before:]) == ALL


@pytest.mark.parametrize("shape", [(6, 5, 3, 4), (1, 1, 300, 300), (40, 16, 5, 5)])
def test_a_window_as_large_as_the_image_is_a_product(shape, every_size):
    """No zeros around the one row of dy are multiplied: the work of 300 x 300 taps, not of their square."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(7, *shape[1:]))
    check(rng.normal(size=shape), weight, rng.normal(size=7), rtol=1e-5)
    assert not set(every_size) & set(ALL)


@pytest.mark.parametrize(
    ("window", "options"),
    [
        ((1030, 1030), {}),  # offsets of its elements are more than a stack holds
        ((3, 3), {"stride": 10**5}),  # phases that no window meets take no memory
        ((3, 3), {"stride": (2**64, 2)}),
        ((1, 1), {"dilation": 2**62, "stride": 2}),
        ((1, 2), {"stride": (7, 2**40), "padding": (3, 0)}),
    ],
)
def test_extreme_windows_and_strides(window, options):
    rng = np.random.default_rng(0)
    size = [max(n, 9) + 1 for n in window]
    if options:
        check(rng.normal(size=(2, 4, *size)), rng.normal(size=(4, 4, *window)), **options)
    else:
        x, weight = np.ones((1, 1, *size), "float32"), np.ones((1, 1, *window), "float32")
        np.testing.assert_array_equal(F.conv2d(x, weight), math.prod(window))


def test_padding_that_no_memory_holds_is_refused():
    x, weight = np.ones((1, 4, 20, 20), "float32"), np.ones((4, 4, 3, 3), "float32")
    for huge in (10**9, 2**61):
        with pytest.raises((MemoryError, ValueError)):
            F.conv2d(x, weight, padding=huge, stride=huge)


def test_partial_sums_of_a_large_weight_stay_bounded():
    """Two of 2^26 / 2 floats and more, not sixteen; and a wrong number of them would be a wrong sum."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(16, 512, 1, 3)), np.zeros((9000, 512, 1, 3), "float32")
    found = step([a.astype("float32") for a in (x, weight)], np.ones, "float32", padding=(0, 1))[2]
    ends = x.sum(0)[:, 0]
    expected = [ends[:, :2].sum(1), ends.sum(1), ends[:, 1:].sum(1)]
    np.testing.assert_allclose(found[17, :, 0], np.transpose(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((40, 16, 9, 9), (32, 16, 3, 3)),
        ((2, 3, 70, 90), (5, 3, 5, 5)),
        ((9, 33, 6, 6), (7, 33, 1, 1)),
        ((2, 70, 6, 6), (9, 70, 3, 3)),
        ((40, 5, 6, 7), (11, 5, 1, 1)),
    ],
)
def test_many_jobs(shape, window, every_size):
    """More rows or terms than are taken at a time: several images in a job, several jobs in an image."""
    rng = np.random.default_rng(0)
    check(rng.normal(size=shape), rng.normal(size=window), rng.normal(size=window[0]), padding=window[2] // 2)
    assert sorted(every_size) == ALL


def test_long_sums_of_the_weight_gradient_keep_their_accuracy():
    """500,000 terms with a mean: a plain float32 sum would be off by 1e-4 and more."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(1, 1, size=(128, 1, 64, 64)).astype("float32"), np.ones((1, 1, 3, 3), "float32")
    ones = lambda shape: np.ones(shape, "float32")
    found, expected = (step([x, weight], ones, d, padding=1)[2] for d in ("float32", "float64"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_their_neighbours_alone(value):
    x = np.random.default_rng(0).normal(size=(3, 2, 9, 40)).astype("float32")
    x[1, 0, 4, 39] = value  # at the end of a row
    weight = np.ones((5, 2, 3, 3), "float32")
    y = F.conv2d(x, weight, padding=1)
    expected = np.zeros(y.shape, bool)
    expected[1, :, 3:6, 38:] = True
    np.testing.assert_array_equal(~np.isfinite(y), expected)
    with xpnet.fused(False):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(F.conv2d(x, weight, padding=1)))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_infinite_weight(value):
    x = np.random.default_rng(0).normal(size=(2, 2, 5, 6)).astype("float32")
    weight = np.ones((3, 2, 3, 3), "float32")
    weight[1, 0, 0, 2] = value
    y = F.conv2d(x, weight, padding=1)
    with xpnet.fused(False):
        np.testing.assert_allclose(y, F.conv2d(x, weight, padding=1), rtol=1e-5, atol=1e-6)


def test_groups_of_few_channels_are_the_body_s(every_size):
    rng = np.random.default_rng(0)
    check(rng.normal(size=(2, 4, 7, 8)), rng.normal(size=(6, 2, 3, 3)), groups=2)
    assert not set(every_size) & set(ALL)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_infinite_pixel_at_the_edge_reaches_the_taps_that_meet_it(value, stride):
    """What the taps beside it get is finite: no zero of the margin is multiplied by it."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 4, 6, 7)).astype("float32"), np.ones((5, 4, 3, 3), "float32")
    x[1, 2, 0, 6] = value
    ones = lambda shape: np.ones(shape, "float32")
    found = step([x, weight], ones, "float32", padding=1, stride=stride)
    exact = step([x, weight], ones, "float64", padding=1, stride=stride)
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        np.testing.assert_allclose(np.where(np.isfinite(b), a, 0), np.where(np.isfinite(b), b, 0), atol=1e-4)


def test_one_bad_shape_is_refused_as_by_the_body():
    with pytest.raises(ValueError, match="smaller than the window"):
        F.conv2d(np.ones((1, 1, 2, 2), "float32"), np.ones((1, 1, 3, 3), "float32"))
    with pytest.raises(ValueError, match="2 channels does not fit"):
        F.conv2d(np.ones((1, 2, 4, 4), "float32"), np.ones((1, 1, 3, 3), "float32"))
    with pytest.raises(ValueError, match="stride must be"):
        F.conv2d(np.ones((1, 1, 4, 4), "float32"), np.ones((1, 1, 3, 3), "float32"), stride=0)


def test_views_are_taken(every_size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 3)).astype("float32").transpose(0, 3, 1, 2)
    weight = rng.normal(size=(3, 3, 4, 5)).astype("float32").transpose(2, 0, 1, 3)[:, :, :2]
    check(x, weight)
    y = F.conv2d(x, weight)
    with xpnet.fused(False):
        np.testing.assert_allclose(y, F.conv2d(x, weight), rtol=1e-5, atol=1e-5)


POOLINGS = [
    ((3, 2, 6, 10), 2, {}),
    ((1, 1, 2, 2), 2, {}),
    ((5, 4, 32, 34), 2, {}),
    ((2, 3, 7, 9), 2, {}),  # a row and a column that no window has
    ((3, 5, 31, 35), 2, {}),
    ((2, 2, 3, 67), 2, {}),
    ((2, 3, 9, 11), 3, {}),
    ((2, 3, 9, 11), 3, {"stride": 2, "padding": 1}),
    ((2, 3, 8, 7), 2, {"stride": 1}),
    ((2, 3, 8, 7), 2, {"padding": 1}),
    ((2, 3, 11, 8), (4, 3), {"stride": (3, 1), "padding": (2, 0)}),
    ((2, 3, 11, 13), (2, 3), {"stride": (2, 2), "dilation": (3, 2)}),
    ((2, 3, 12, 13), 2, {"stride": 2, "dilation": 2}),
    ((2, 3, 7, 9), 2, {"ceil_mode": True}),
    ((2, 3, 10, 8), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    ((1, 2, 16, 16), 16, {}),  # as many elements as a byte can tell apart
]


@pytest.mark.parametrize(("shape", "window", "options"), POOLINGS)
def test_max_pool_is_the_body_s(shape, window, options, every_size):
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, size=shape).astype("float32")  # many equal values
    for special, share in ((np.nan, 0.1), (np.inf, 0.1), (-np.inf, 0.3)):
        x[rng.random(shape) < share] = special
    results = []
    for fused in (True, False):
        t = xpnet.tensor(x, requires_grad=True)
        with xpnet.fused(fused):
            y = F.max_pool2d(t, window, **options)
            y.backward(np.random.default_rng(1).normal(size=y.shape).astype("float32"))
        results.append((y.numpy(), t.grad))
    assert every_size == ["max_pool", "max_pool_gradient"]
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("window", "dtype"), [(2, "float64"), (17, "float32")])
def test_other_poolings_are_the_body_s(window, dtype, every_size):
    assert F.max_pool2d(np.ones((2, 3, 18, 18), dtype), window).dtype == dtype
    assert every_size == []


def test_a_window_that_does_not_fit_is_refused_as_by_the_body():
    for options in ({"padding": 2}, {"stride": 0}, {"kernel_size": 9}):
        messages = []
        for fused in (True, False):
            with xpnet.fused(fused), pytest.raises(ValueError) as e:
                F.max_pool2d(np.ones((1, 1, 4, 4), "float32"), **{"kernel_size": 2, **options})
            messages.append(str(e.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize("shape", [(5,), (7, 11), (0, 3), (3, 4, 5, 6)])
def test_relu_is_the_body_s(shape, every_size):
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(size=shape).astype("float32").T for _ in range(2))
    x[rng.random(x.shape) < 0.2] = 0
    x[rng.random(x.shape) < 0.1] = np.nan
    dy[rng.random(x.shape) < 0.1] = np.inf
    results = []
    for fused in (True, False):
        t = xpnet.tensor(x, requires_grad=True)
        with xpnet.fused(fused), np.errstate(invalid="ignore"):
            y = F.relu(t)
            y.backward(dy)
        results.append((y.numpy(), t.grad))
    assert every_size == ["relu", "relu_gradient"]
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
