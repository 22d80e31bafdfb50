"""Augmentation: random changes of the training pictures that leave their class alone (decks S3, S5).

Batch by batch, on the backend of the pictures. What happens to a sample depends on the seed, the epoch and
the sample's number in the data set (Philox), not on its batch, the order, the device or a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.arrays import one_hot, pad
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.data.dataset import Dataset, check_finite, take
from xpnet.data.resample import (
    Size,
    as_float,
    check_pictures,
    interpolate,
    pair,
    pick,
    triangle_weights,
)


@dataclass(frozen=True)
class Draw:
    """Which samples a batch has, and everything else that their random numbers depend on.

    Args:
        seed: of the run.
        epoch: each has its own numbers.
        indices: (n,) the numbers of the samples in the data set.
        step: which of several augmentations.
    """

    seed: int
    epoch: int
    indices: np.ndarray
    step: int = 0

    def uniform(self, n: int, part: int = 0) -> np.ndarray:
        """(samples, n) float32 in [0, 1), on the host; another `part` gives other numbers."""
        stream = random.AUGMENT + (self.step << 8) + (part << 20)
        return random.uniform_rows(self.indices, n, random.Key(self.seed, stream, self.epoch))

    def normal(self, n: int) -> np.ndarray:
        """(samples, n) float32 from N(0, 1), by Box-Muller."""
        u = self.uniform(2 * n).astype(np.float64)
        radius = np.sqrt(-2 * np.log(1 - u[:, :n]))
        return (radius * np.cos(2 * np.pi * u[:, n:])).astype(np.float32)


class Augmentation:
    """Base class: a subclass writes `apply(x, draw)`; one that changes the targets, `__call__`."""

    def __call__(self, x: Array, y: Array, draw: Draw) -> tuple[Array, Array]:
        """The changed pictures and targets of a batch.

        Args:
            x: (N, C, H, W); integers become float32.
            y: (N, ...) targets.
            draw: the samples that the batch has.

        Raises:
            ValueError: pictures of another shape, or of a size that does not fit.
        """
        check_pictures(x, type(self).__name__)
        return self.apply(as_float(x), draw), y

    def apply(self, x: Array, draw: Draw) -> Array:
        """The changed pictures."""
        raise NotImplementedError


class Compose(Augmentation):
    """One augmentation after the other, each with random numbers of its own.

    >>> import numpy as np
    >>> from xpnet.data import Compose, Draw, RandomCrop, RandomFlip
    >>> augment = Compose([RandomCrop(32, padding=4), RandomFlip()])
    >>> x, y = np.ones((8, 3, 32, 32), dtype=np.float32), np.zeros(8)
    >>> augment(x, y, Draw(seed=0, epoch=0, indices=np.arange(8)))[0].shape
    (8, 3, 32, 32)
    """

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        if len(steps) > 15:
            raise ValueError(f"Compose: at most 15 steps, got {len(steps)}; compose some of them first")
        self.steps = list(steps)

    def __call__(self, x: Array, y: Array, draw: Draw) -> tuple[Array, Array]:
        """Every step, in order."""
        for i, step in enumerate(self.steps):
            x, y = step(x, y, replace(draw, step=16 * draw.step + i + 1))
        return x, y


def _column(values: np.ndarray, like: Array, axes: int = 4) -> Array:
    """(N,) numbers of the host as (N, 1, ...) beside `like`, in its dtype."""
    dtype = dtype_name(like.dtype)
    return asarray(values.reshape(-1, *(1,) * (axes - 1)), dtype, backend=backend_of(like))


def _whole(u: np.ndarray, choices: Any) -> np.ndarray:
    """Uniform numbers in [0, 1) as integers 0 .. choices - 1."""
    return np.minimum((u * choices).astype(np.int64), np.asarray(choices) - 1)


# ---- where ------------------------------------------------------------------------------------------------


class RandomCrop(Augmentation):
    """A part of the picture, padded before, at a random place (He et al., 2016: padding 4, 32 by 32).

    Args:
        size: height and width of the part.
        padding: pixels added on every side first.
        value: of the added pixels; after standardisation, 0 is the mean.
    """

    def __init__(self, size: Size, padding: int = 0, value: float = 0.0) -> None:
        self.size, self.padding, self.value = pair(size, "RandomCrop: size"), padding, value
        if padding < 0:
            raise ValueError(f"RandomCrop: padding must be at least 0, got {padding}")

    def apply(self, x: Array, draw: Draw) -> Array:
        """Cut out."""
        u, p = draw.uniform(2), self.padding
        if p:
            x = pad(x, [(0, 0), (0, 0), (p, p), (p, p)], self.value)
        room = [n - m + 1 for n, m in zip(x.shape[2:], self.size, strict=True)]
        if min(room) < 1:
            raise ValueError(
                f"RandomCrop: {self.size} is larger than the padded pictures, {tuple(x.shape[2:])}"
            )
        rows, columns = (_whole(u[:, i], room[i])[:, None] + np.arange(self.size[i]) for i in (0, 1))
        return pick(x, rows, columns)


class RandomFlip(Augmentation):
    """Left and right exchanged.

    Args:
        p: with this probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"RandomFlip: p must be in [0, 1], got {p}")
        self.p = p

    def apply(self, x: Array, draw: Draw) -> Array:
        """Flip some."""
        xp = namespace(x)
        chosen = asarray((draw.uniform(1) < self.p)[:, :, None, None], backend=backend_of(x))
        return xp.where(chosen, xp.flip(x, axis=-1), x)


class RandomResizedCrop(Augmentation):
    """Scale the shorter side to a random length L, then cut out a random square (S3, S5; He et al., 2016).

    Args:
        size: side of the square.
        shorter: L is a whole number in this range.
    """

    def __init__(self, size: int = 224, shorter: tuple[int, int] = (256, 480)) -> None:
        if not 1 <= size <= shorter[0] <= shorter[1]:
            raise ValueError(
                f"RandomResizedCrop: expected size <= L, a range of sides, got {size} and {shorter}"
            )
        self.size, self.shorter = size, shorter

    def apply(self, x: Array, draw: Draw) -> Array:
        """Scale and cut out at once: only what is kept is computed."""
        u, sides = draw.uniform(3), tuple(x.shape[2:])
        side = self.shorter[0] + _whole(u[:, 0], self.shorter[1] - self.shorter[0] + 1)
        pixel = min(sides) / side  # of the scaled picture, in pixels of this one
        weights = []
        for i, n in enumerate(sides):
            start = _whole(u[:, 1 + i], np.round(n / pixel).astype(np.int64) - self.size + 1) * pixel
            weights.append(triangle_weights(n, self.size, start, self.size * pixel))
        return interpolate(x, *weights)


class RandomZoom(Augmentation):
    """The centre enlarged by a random factor; below 1, the picture shrinks and its edge pixels go on.

    Args:
        low: the smallest factor.
        high: the largest.
    """

    def __init__(self, low: float = 1.0, high: float = 1.25) -> None:
        if not 0 < low <= high:
            raise ValueError(f"RandomZoom: expected 0 < low <= high, got {low} and {high}")
        self.low, self.high = low, high

    def apply(self, x: Array, draw: Draw) -> Array:
        """Zoom."""
        factor = self.low + (self.high - self.low) * draw.uniform(1)[:, 0].astype(np.float64)
        weights = [triangle_weights(n, n, n / 2 * (1 - 1 / factor), n / factor) for n in x.shape[2:]]
        return interpolate(x, *weights)


# ---- how bright -------------------------------------------------------------------------------------------


class RandomBrightness(Augmentation):
    """x + b, b uniform in [-amount, amount], one a picture.

    Args:
        amount: in the units of x.
    """

    def __init__(self, amount: float) -> None:
        self.amount = float(amount)

    def apply(self, x: Array, draw: Draw) -> Array:
        """Shift."""
        return x + _column((2 * draw.uniform(1) - 1) * self.amount, x)


class RandomContrast(Augmentation):
    """m + c (x - m), m the mean of the picture, c uniform in [low, high], one a picture."""

    def __init__(self, low: float = 0.8, high: float = 1.2) -> None:
        if not 0 <= low <= high:
            raise ValueError(f"RandomContrast: expected 0 <= low <= high, got {low} and {high}")
        self.low, self.high = low, high

    def apply(self, x: Array, draw: Draw) -> Array:
        """Scale around the mean."""
        c = _column(self.low + (self.high - self.low) * draw.uniform(1), x)
        mean = namespace(x).mean(x, axis=(1, 2, 3), keepdims=True)
        return mean + c * (x - mean)


class ColorPCA(Augmentation):
    """Shift the colour along the principal components of the training set's pixels (Krizhevsky et al., 2012).

    Args:
        sigma: x + sum_i a_i s_i p_i, a_i from N(0, sigma^2) once a picture and epoch, p_i the components and
            s_i the standard deviations of the pixels along them.
        variance: s_i the variances instead, as AlexNet's text has it. Those are squares: with pixels in
            0 .. 255 the shift would be hundreds of units, which the text cannot mean.
    """

    def __init__(self, sigma: float = 0.1, variance: bool = False) -> None:
        self.sigma, self.variance = float(sigma), variance
        self.directions: np.ndarray | None = None

    def fit(self, x: Any) -> ColorPCA:
        """Take the components from the training set, (n, channels, H, W). Returns self.

        Raises:
            ValueError: x is no set of pictures, or not finite.
        """
        host = to_numpy(x)
        check_pictures(host, "ColorPCA")
        check_finite(host, "ColorPCA: x")
        mean = host.mean(axis=(0, 2, 3), dtype=np.float64)
        covariance = np.zeros((mean.size, mean.size))
        for i in range(0, len(host), 1024):
            pixels = (host[i : i + 1024] - mean[:, None, None]).transpose(1, 0, 2, 3).reshape(mean.size, -1)
            covariance += pixels @ pixels.T
        values, vectors = np.linalg.eigh(covariance / (host.size // mean.size))
        values = np.maximum(values, 0)
        scale = values if self.variance else np.sqrt(values)
        self.directions = np.ascontiguousarray((vectors * scale).T.astype(np.float32))
        return self

    def apply(self, x: Array, draw: Draw) -> Array:
        """Shift the colours."""
        if self.directions is None:
            raise RuntimeError("ColorPCA: no components yet; call fit(x) with the training set")
        if x.shape[1] != len(self.directions):
            raise ValueError(f"ColorPCA: fitted on {len(self.directions)} channels, got {x.shape[1]}")
        shift = self.sigma * draw.normal(len(self.directions)) @ self.directions
        return x + asarray(shift[:, :, None, None], dtype_name(x.dtype), backend=backend_of(x))


# ---- beyond the decks -------------------------------------------------------------------------------------


class Cutout(Augmentation):
    """A square set to one value (DeVries & Taylor, 2017). Its centre is any pixel: edges cut it off.

    Args:
        size: side of the square; 16 for CIFAR-10.
        value: inside it; after standardisation, 0 is the mean.
    """

    def __init__(self, size: int, value: float = 0.0) -> None:
        if size < 1:
            raise ValueError(f"Cutout: size must be at least 1, got {size}")
        self.size, self.value = size, float(value)

    def apply(self, x: Array, draw: Draw) -> Array:
        """Cut squares out."""
        u, xp = draw.uniform(2), namespace(x)
        inside = []
        for i, n in enumerate(x.shape[2:]):
            first = _whole(u[:, i], n)[:, None] - self.size // 2
            place = np.arange(n)
            inside.append((place >= first) & (place < first + self.size))
        rows, columns = (asarray(mask, backend=backend_of(x)) for mask in inside)
        square = rows[:, None, :, None] & columns[:, None, None, :]
        return xp.where(square, xp.full_like(x, self.value), x)


class Mixup(Augmentation):
    """Mean of a sample and a random other one, weighted l and 1 - l; so are the targets (Zhang et al., 2018).

    Args:
        data: the data set that the batches come from; the other samples are taken from it.
        alpha: l is drawn from Beta(alpha, alpha); 0.2 mixes little, 1 uniformly; at most 4.
        classes: number of classes; default: those of the data set.

    Class labels become probabilities, which `cross_entropy` takes. Put it first: whatever follows then
    changes the mixed pictures, and the other sample never depends on the batch.
    """

    def __init__(self, data: Dataset, alpha: float = 0.2, classes: int | None = None) -> None:
        if not 0 < alpha <= 4:
            raise ValueError(f"Mixup: alpha must be in (0, 4], got {alpha}")
        self.data, self.alpha, self.classes = data, alpha, classes or data.classes

    def __call__(self, x: Array, y: Array, draw: Draw) -> tuple[Array, Array]:
        """The mixed samples and their targets, (N, classes) float32."""
        other = _whole(draw.uniform(1)[:, 0].astype(np.float64), len(self.data))
        weight = _beta(self.alpha, draw).astype(np.float32)
        x = as_float(x)
        second = as_float(asarray(take(self.data.x, other), backend=backend_of(x)))
        w = _column(weight, x, x.ndim)
        mixed = w * x + (1 - w) * second
        targets = []
        for labels in (y, asarray(take(self.data.y, other), backend=backend_of(y))):
            targets.append(one_hot(labels, self.classes, namespace(labels).float32))
        w = _column(weight, targets[0], 2)
        return mixed, w * targets[0] + (1 - w) * targets[1]


def _beta(alpha: float, draw: Draw) -> np.ndarray:
    """Beta(alpha, alpha) by rejection (Johnk, 1964): s / (s + t), s = u^(1/a), t = v^(1/a), if s + t <= 1."""
    result = np.full(len(draw.indices), np.nan)
    part = 1
    while np.isnan(result).any():
        left = np.flatnonzero(np.isnan(result))
        u = replace(draw, indices=draw.indices[left]).uniform(2, part).astype(np.float64) + 2.0**-25
        # logarithms: u^(1/a) underflows for small a
        a, b = (np.log(u) / alpha).T
        accepted = np.logaddexp(a, b) <= 0
        result[left[accepted]] = np.exp(a - np.logaddexp(a, b))[accepted]
        part += 1
    return result
