"""HOG against scikit-image, and its trilinear form against a loop over pixels."""

import numpy as np
import pytest

import xpnet
from xpnet.data import hog

feature = pytest.importorskip("skimage.feature")

RNG = np.random.default_rng(0)
CASES = [
    {},
    {"orientations": 8, "pixels_per_cell": (4, 4), "cells_per_block": (2, 2)},
    {"orientations": 6, "pixels_per_cell": (5, 7), "cells_per_block": (2, 1), "block_norm": "L1"},
    {"block_norm": "L1-sqrt", "pixels_per_cell": (3, 3), "transform_sqrt": True},
    {"block_norm": "L2", "orientations": 1, "cells_per_block": (1, 1)},
    {"feature_vector": False},
]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "smooth"])
def test_hog_is_that_of_scikit_image(options, channels, kind):
    shape = (3, channels, 33, 30)
    if kind == "uint8":
        x = RNG.integers(0, 256, shape, dtype=np.uint8)
    elif kind == "smooth":  # flat parts, equal channels, axis-parallel edges
        x = np.zeros(shape, np.float32)
        x[:, :, 8:20, 5:25] = 0.75
        x[1] += np.linspace(0, 1, 30, dtype=np.float32)
        x[2, 0], x[2, -1] = np.arange(30) / 64, np.arange(33)[:, None] / 64  # as steep, another direction
    else:
        x = RNG.random(shape).astype(kind)
    found = hog(xpnet.asarray(x), **options)
    wanted = np.float64 if kind == "float64" else np.float32
    assert xpnet.to_numpy(found).dtype == wanted
    for image, features in zip(x, xpnet.to_numpy(found), strict=True):
        image = image if kind != "uint8" else image.astype(np.float32)
        image = image[0] if channels == 1 else image
        expected = feature.hog(image, channel_axis=None if channels == 1 else 0, **options)
        assert features.shape == expected.shape
        np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


def test_trilinear_by_loops():
    x = RNG.random((2, 1, 17, 14))
    bins, cell, cells = 9, (4, 5), (4, 2)
    expected = np.zeros((2, *cells, bins))
    for k in range(2):
        for i in range(17):
            for j in range(14):
                down = x[k, 0, i + 1, j] - x[k, 0, i - 1, j] if 0 < i < 16 else 0.0
                right = x[k, 0, i, j + 1] - x[k, 0, i, j - 1] if 0 < j < 13 else 0.0
                length, angle = np.hypot(down, right), np.degrees(np.arctan2(down, right)) % 180
                place = ((i + 0.5) / cell[0] - 0.5, (j + 0.5) / cell[1] - 0.5, angle / 20 - 0.5)
                low = [int(np.floor(p)) for p in place]
                for corner in np.ndindex(2, 2, 2):
                    r, c, b = (n + d for n, d in zip(low, corner, strict=True))
                    weight = np.prod([1 - abs(p - n) for p, n in zip(place, (r, c, b), strict=True)])
                    if 0 <= r < cells[0] and 0 <= c < cells[1]:
                        expected[k, r, c, b % bins] += weight * length / (cell[0] * cell[1])
    expected /= np.sqrt((expected**2).sum(axis=-1, keepdims=True) + 1e-10)
    options = {"pixels_per_cell": cell, "cells_per_block": 1, "block_norm": "L2", "feature_vector": False}
    found = hog(xpnet.asarray(x), bins, trilinear=True, **options)
    np.testing.assert_allclose(xpnet.to_numpy(found)[:, :, :, 0, 0], expected, atol=1e-10)


def test_a_large_batch_is_the_same_in_parts():
    x = RNG.random((1030, 1, 8, 8)).astype(np.float32)
    whole = xpnet.to_numpy(hog(xpnet.asarray(x), 4, 4, 1))
    assert whole.shape == (1030, 16)
    for i in (0, 511, 512, 1029):
        one = xpnet.to_numpy(hog(xpnet.asarray(x[i : i + 1]), 4, 4, 1))
        np.testing.assert_allclose(whole[i : i + 1], one, atol=1e-7)


@pytest.mark.host
def test_hog_refuses():
    with pytest.raises(ValueError, match=r"pictures of \(20, 30\) are smaller than a block of \(3, 3\)"):
        hog(np.zeros((1, 1, 20, 30)))
    with pytest.raises(ValueError, match="block_norm one of L1, L1-sqrt, L2, L2-Hys"):
        hog(np.zeros((1, 1, 40, 40)), block_norm="L3")
    with pytest.raises(ValueError, match="expected pictures"):
        hog(np.zeros((40, 40)))
