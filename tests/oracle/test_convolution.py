"""Convolution and pooling against PyTorch: values and gradients, float64 to 1e-10 and float32 to 1e-5."""

import numpy as np
import pytest

import xpnet
from xpnet import functional as F

torch = pytest.importorskip("torch")

CONVOLUTIONS = [
    ((2, 3, 8, 9), (4, 3, 3, 3), {}),
    ((2, 3, 8, 9), (4, 3, 3, 3), {"padding": 1}),
    ((2, 4, 9, 7), (6, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0), "groups": 2}),
    ((1, 4, 11, 11), (4, 1, 3, 3), {"dilation": 2, "groups": 4, "padding": 2}),
    ((3, 5, 6, 6), (7, 5, 1, 1), {"stride": 2}),
    ((2, 2, 5, 5), (3, 2, 5, 5), {}),
    ((0, 3, 8, 8), (4, 3, 3, 3), {}),
]


def compare(found, expected, rtol):
    np.testing.assert_allclose(xpnet.to_numpy(found), expected.detach().numpy(), rtol=rtol, atol=rtol * 10)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), CONVOLUTIONS)
@pytest.mark.parametrize("chunked", [False, True])
def test_conv2d(x_shape, w_shape, options, dtype, rtol, chunked, monkeypatch):
    if chunked:
        import xpnet.functional.convolution as module

        monkeypatch.setattr(module, "_COLUMNS", 1)  # one sample at a time
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(dtype) for s in (x_shape, w_shape, w_shape[:1])]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    ours = [xpnet.tensor(a, requires_grad=True) for a in arrays]
    expected, found = torch.nn.functional.conv2d(*theirs, **options), F.conv2d(*ours, **options)
    compare(found, expected, rtol)
    dy = rng.normal(size=expected.shape).astype(dtype)
    expected.backward(torch.tensor(dy))
    found.backward(xpnet.asarray(dy))
    for t, o in zip(theirs, ours, strict=True):
        assert o.grad.dtype == o.data.dtype
        compare(o.grad, t.grad, rtol)


POOLS = [
    (2, {}),
    (3, {"stride": 2, "padding": 1}),
    ((2, 3), {"stride": (1, 2)}),
    (3, {"stride": 1, "padding": 1}),
]


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(("kernel", "options"), POOLS)
@pytest.mark.parametrize("ties", [False, True])
def test_pools(name, kernel, options, ties):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, 7, 8)).astype(float) if ties else rng.normal(size=(2, 3, 7, 8))
    theirs, ours = torch.tensor(x, requires_grad=True), xpnet.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(theirs, kernel, **options)
    found = getattr(F, name)(ours, kernel, **options)
    compare(found, expected, 1e-12)
    dy = rng.normal(size=expected.shape)
    expected.backward(torch.tensor(dy))
    found.backward(xpnet.asarray(dy))
    compare(ours.grad, theirs.grad, 1e-12)


def test_max_pool_keeps_nan():
    x = np.zeros((1, 1, 2, 2))
    x[0, 0, 0, 1] = np.nan
    assert np.isnan(xpnet.to_numpy(F.max_pool2d(xpnet.asarray(x), 2))).all()
