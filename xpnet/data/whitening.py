"""Whitening: features without correlation and of variance 1, from the covariance of the training set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import to_numpy
from xpnet.core.places import namespace
from xpnet.data.preprocessing import Preprocessing


class _Whitening(Preprocessing):
    """(x - mean) W, with W from the eigenvectors u_i and eigenvalues v_i of the covariance (1/n) X^T X.

    The eigenvectors of samples with fewer samples n than features come from the singular values of X, which
    has the same ones; W divides by sqrt(v_i + eps), where directions without variance get 0, not noise.
    """

    statistics = ("mean", "matrix", "back")
    matrix: np.ndarray

    def __init__(self, eps: float = 0.0) -> None:
        super().__init__()
        if not eps >= 0:
            raise ValueError(f"{type(self).__name__}: eps must be at least 0, got {eps}")
        self.eps = float(eps)

    def measure(self, x: np.ndarray) -> tuple[Any, ...]:
        """The mean, W and what undoes it."""
        flat = x.reshape(len(x), -1)
        mean = flat.mean(axis=0, dtype=np.float64)
        values, vectors = principal_components(flat, mean)
        scale = np.sqrt(values + self.eps)
        empty = values <= values[0] * len(values) * np.finfo(np.float32).eps
        inverse = np.where(empty, 0.0, 1 / np.where(empty, 1.0, scale))
        matrix, back = self.matrices(vectors, scale, inverse)
        return mean.reshape(x.shape[1:]), matrix, back

    def matrices(self, u: np.ndarray, scale: np.ndarray, inverse: np.ndarray) -> tuple[Any, Any]:
        """W and its inverse, from the eigenvectors (columns of u) and sqrt(v + eps)."""
        raise NotImplementedError

    def apply(self, x: Array, mean: Array, matrix: Array, back: Array) -> Array:
        """(x - mean) W, samples as rows."""
        xp = namespace(x)
        return xp.reshape(x - mean, (x.shape[0], math.prod(mean.shape))) @ matrix


class PCAWhiten(_Whitening):
    """Uncorrelated features of variance 1: rotate to the principal components, divide by their deviations.

    Args:
        components: keep this many, the ones of largest variance; default: all.
        whiten: divide by the deviations; otherwise only rotate, which decorrelates (deck S3).
        eps: added to each variance, so that directions of little more than noise stay small.

    Returns (n, components) whatever the shape of the samples. Each component's sign makes its largest entry
    positive.
    """

    def __init__(self, components: int | None = None, whiten: bool = True, eps: float = 0.0) -> None:
        super().__init__(eps)
        if components is not None and components < 1:
            raise ValueError(f"PCAWhiten: components must be at least 1, got {components}")
        self.components, self.whiten = components, whiten

    def matrices(self, u: np.ndarray, scale: np.ndarray, inverse: np.ndarray) -> tuple[Any, Any]:
        """W = U / sqrt(v + eps); U sqrt(v + eps) undoes it, up to the components left out."""
        if self.components is not None and self.components > u.shape[1]:
            raise ValueError(
                f"PCAWhiten: there are {u.shape[1]} components, {self.components} were asked for"
            )
        u, scale, inverse = u[:, : self.components], scale[: self.components], inverse[: self.components]
        return (u * inverse, (u * scale).T) if self.whiten else (u, u.T)

    def undo(self, y: Array, mean: Array, matrix: Array, back: Array) -> Array:
        """Y back + mean, of the shape that the samples had."""
        return namespace(y).reshape(y @ back, (y.shape[0], *mean.shape)) + mean

    def fits_inverse(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Components."""
        expected = self.matrix.shape[1:]
        return None if shape == expected else expected

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments."""
        return {"components": self.components, "whiten": self.whiten, "eps": self.eps}


class ZCA(_Whitening):
    """Whitening that changes the samples least: W = U diag(1 / sqrt(v + eps)) U^T (Bell & Sejnowski, 1997).

    Args:
        eps: added to each variance; 0 whitens exactly, more (0.1 for pictures in units of their deviation)
            leaves directions of little more than noise small.

    Pictures stay pictures: the shape is kept.
    """

    def matrices(self, u: np.ndarray, scale: np.ndarray, inverse: np.ndarray) -> tuple[Any, Any]:
        """W and its inverse, both symmetric."""
        return (u * inverse) @ u.T, (u * scale) @ u.T

    def apply(self, x: Array, mean: Array, matrix: Array, back: Array) -> Array:
        """(x - mean) W in the shape of x."""
        return namespace(x).reshape(super().apply(x, mean, matrix, back), x.shape)

    def undo(self, y: Array, mean: Array, matrix: Array, back: Array) -> Array:
        """Y W^-1 + mean."""
        xp = namespace(y)
        return xp.reshape(xp.reshape(y, (y.shape[0], math.prod(mean.shape))) @ back, y.shape) + mean

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments."""
        return {"eps": self.eps}


def patch_whitening(pictures: Array, size: int = 2, eps: float = 5e-4) -> np.ndarray:
    """Weights of a convolution that whitens patches: each principal component u / sqrt(v + eps), and -that.

    Args:
        pictures: (N, C, H, W), with means of about 0; some thousands are enough.
        size: of the patches, size x size pixels.
        eps: added to each variance v; directions without variance get 0.

    Returns:
        (2 C size size, C, size, size) float32, on the host; after ReLU nothing is lost of what it gives.

    Raises:
        ValueError: no pictures of four axes, none as large as a patch, or eps below 0.

    Source: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv:2404.00498), section 3.2.

    >>> import numpy as np
    >>> from xpnet.data import patch_whitening
    >>> patch_whitening(np.random.default_rng(0).normal(size=(100, 3, 8, 8))).shape
    (24, 3, 2, 2)
    """
    x = to_numpy(pictures)
    if x.ndim != 4 or not len(x) or min(x.shape[2:]) < size:
        raise ValueError(
            f"patch_whitening: expected pictures (N, C, H, W) of {size} pixels a side and more, got {x.shape}"
        )
    patches = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    flat = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * size * size)
    rows = PCAWhiten(eps=eps).fit(flat).matrix.T.reshape(-1, x.shape[1], size, size)
    return np.concatenate([rows, -rows]).astype(np.float32)


# rows whose products are added at a time
_ROWS = 4096


def principal_components(x: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, and eigenvectors, as columns, of the covariance (1/n) X^T X, X = x - mean.

    Args:
        x: (n, features); if n is the smaller, the first n are given, the others are 0.
        mean: (features,).
    """
    n, features = x.shape
    if n < features:
        _, singular, transposed = np.linalg.svd(x - mean, full_matrices=False)
        values, vectors = singular**2 / n, transposed.T
    else:
        covariance = np.zeros((features, features))
        for i in range(0, n, _ROWS):
            part = x[i : i + _ROWS] - mean
            covariance += part.T @ part
        values, vectors = np.linalg.eigh(covariance / n)
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return values, vectors * np.where(largest < 0, -1.0, 1.0)
