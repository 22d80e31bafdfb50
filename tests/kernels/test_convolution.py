"""Convolution through its launcher, against the Array API body in float64, and its windows counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Launch
from tests.kernels.test_cross_entropy import TOLERANCE, close, dtype_of
from xpnet.cuda import convolution as launchers
from xpnet.cuda import loader
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
    "strides and dilation": ((1, 3, 13, 14), (5, 3, 3, 2), {"stride": (4, 3), "dilation": (2, 3), "padding": 2}),
    "stride beyond the window": ((2, 3, 9, 9), (4, 3, 1, 2), {"stride": 3}),
    "depthwise": ((1, 4, 11, 11), (4, 1, 3, 3), {"dilation": 2, "groups": 4, "padding": 2}),
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
