"""What the sizes of a window may be, and where padding by a word puts the image."""

import itertools

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import to_numpy

X = np.random.default_rng(0).normal(size=(2, 1, 5, 6)).astype(np.float32)


def shifted(image, down, right):
    """image[..., i + down, j + right], zero outside."""
    reach = max(abs(down), abs(right))
    wide = np.pad(image, [(0, 0), (0, 0), (reach, reach), (reach, reach)])
    h, w = image.shape[2:]
    return wide[:, :, reach + down : reach + down + h, reach + right : reach + right + w]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 1)])
@pytest.mark.parametrize("dilation", [1, 2, (2, 1)])
def test_a_kernel_of_one_weight_moves_an_image_padded_to_the_same_size(kernel, dilation):
    """Left of the centre of an even kernel is one weight less than right of it, as in PyTorch."""
    steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    for place in itertools.product(*map(range, kernel)):
        weight = np.zeros((1, 1, *kernel), np.float32)
        weight[(0, 0, *place)] = 1
        y = F.conv2d(xpnet.asarray(X), xpnet.asarray(weight), padding="same", dilation=dilation)
        moves = [d * p - d * (k - 1) // 2 for d, p, k in zip(steps, place, kernel, strict=True)]
        np.testing.assert_array_equal(to_numpy(y), shifted(X, *moves))


@pytest.mark.parametrize("stride", [2, (1, 2)])
def test_the_same_size_needs_stride_1(stride):
    x, weight = xpnet.asarray(X), xpnet.asarray(np.ones((1, 1, 3, 3), np.float32))
    with pytest.raises(ValueError, match='padding="same" needs stride 1'):
        F.conv2d(x, weight, stride=stride, padding="same")
    with pytest.raises(ValueError, match='"same" or "valid", got'):
        F.conv2d(x, weight, padding="full")
    assert F.conv2d(x, weight, stride=(1, 1), padding="same").shape == X.shape


@pytest.mark.parametrize("stride", [1, 2])
def test_valid_is_no_padding(stride):
    x, weight = xpnet.asarray(X), xpnet.asarray(X[:1, :, :3, :2])
    valid, none = (to_numpy(F.conv2d(x, weight, stride=stride, padding=p)) for p in ("valid", 0))
    np.testing.assert_array_equal(valid, none)
    assert valid.shape == (2, 1, 2 // stride + 1, 4 // stride + 1)


def test_one_size_is_for_both_axes():
    """As a number, in a tuple or in a list, as in PyTorch."""
    pooled = X[:, :, :4].reshape(2, 1, 2, 2, 3, 2).max(axis=(3, 5))
    for size in (2, (2,), [2], (2, 2), [2, 2], np.int64(2), (np.int32(2),)):
        np.testing.assert_array_equal(to_numpy(F.max_pool2d(xpnet.asarray(X), size)), pooled)
    for size in ((), (2, 2, 2), 0, (2, 0), (0,), 1.5, (2, 1.5), "2", None, {2, 3}):
        with pytest.raises(ValueError, match="kernel_size must be an integer of at least 1, or a pair"):
            F.max_pool2d(xpnet.asarray(X), size)
