"""Data that every small network learns."""

import numpy as np

from xpnet.data import Dataset


def blobs(n: int = 50, seed: int = 0, distance: float = 3) -> Dataset:
    """Three Gaussian clouds in four dimensions, their centres at a distance from the origin."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return Dataset((np.eye(4)[y] * distance + rng.normal(size=(n, 4))).astype(np.float32), y)
