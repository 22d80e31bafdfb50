"""Which samples an epoch presents, and in which order: `DataLoader(data, sampler=...)`.

`order(epoch)` is a function of the seed and the epoch (and of what the sampler was told), the same on every
machine and backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core import random
from xpnet.core.backend import HOST
from xpnet.core.convert import to_numpy


def own_seed(seed: int | None) -> int:
    """The seed, or that of `xpnet.manual_seed`."""
    return random.generators[random.SHUFFLE].state[0] if seed is None else seed


def _labels(labels: Any, name: str) -> np.ndarray:
    host = to_numpy(labels)
    if host.ndim != 1 or host.dtype.kind not in "iu" or not host.size:
        raise ValueError(f"{name}: expected integer labels (n,), got {host.dtype} {host.shape}")
    return host


def by_rank_in_class(labels: np.ndarray) -> np.ndarray:
    """Positions sorted by (rank in the class + 1/2) / class size: each prefix has each class's fraction."""
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    grouped = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels))
    rank[grouped] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.argsort((rank + 0.5) / counts[labels], kind="stable")


class Seeded:
    """Saved with the loader: an order that began under one seed goes on under it."""

    seed: int

    def state_dict(self) -> dict[str, Any]:
        """What the order depends on beside the epoch and what the sampler was made from."""
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.seed = int(state["seed"])


class Interleaved(Seeded):
    """Every sample once, with the classes taking turns: no batch is of one class (deck S3).

    Args:
        labels: (n,) integers.
        seed: default: that of `xpnet.manual_seed`.

    Every span of an epoch has each class's fraction of the data, to within one sample. Within a class the
    order is random, and so is the order of the classes in each turn.
    """

    def __init__(self, labels: Any, seed: int | None = None) -> None:
        self.labels, self.seed = _labels(labels, "Interleaved"), own_seed(seed)

    def order(self, epoch: int) -> np.ndarray:
        """The indices of an epoch."""
        shuffled = random.permutation(len(self.labels), random.Key(self.seed, random.SHUFFLE, epoch))
        return shuffled[by_rank_in_class(self.labels[shuffled])]


class _Weighted(Seeded):
    """Draws samples with replacement in proportion to their weights; an epoch has as many as the data set."""

    def __init__(self, n: int, seed: int | None) -> None:
        self.n, self.seed = n, own_seed(seed)

    def weights(self) -> np.ndarray:
        """(n,) positive numbers."""
        raise NotImplementedError

    def order(self, epoch: int) -> np.ndarray:
        """The indices of an epoch.

        Systematic sampling: one random offset, then equal steps through the cumulated weights. A sample comes
        within one of n times its fraction, so an epoch is as even as whole numbers allow.
        """
        cumulative = np.cumsum(self.weights(), dtype=np.float64)
        key = random.Key(self.seed, random.SHUFFLE, epoch)
        offset = int(random.bits(1, key, HOST, 2 * self.n)[0]) / 2**32  # beyond those of the permutation
        positions = (np.arange(self.n) + offset) / self.n * cumulative[-1]
        chosen = np.minimum(np.searchsorted(cumulative, positions, side="right"), self.n - 1)
        # any shuffle of them: equal samples must not follow each other
        return chosen[random.permutation(self.n, key)]


class ClassBalanced(_Weighted):
    """Every class equally often, however rare it is.

    Args:
        labels: (n,) integers.
        seed: default: that of `xpnet.manual_seed`.
    """

    def __init__(self, labels: Any, seed: int | None = None) -> None:
        self.labels = _labels(labels, "ClassBalanced")
        super().__init__(len(self.labels), seed)

    def weights(self) -> np.ndarray:
        """1 / size of the sample's class."""
        _, inverse, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        return 1 / counts[inverse]


class HardExamples(_Weighted):
    """Samples with a large error more often (deck S3), but not outliers, whose error stays large.

    Args:
        n: number of samples.
        strength: the weight is (loss / mean loss)^strength; 0 is uniform.
        smallest: no weight is less than this fraction of the mean one: what is learnt is not forgotten.
        outlier: losses above the median by this many median absolute deviations (times 1.4826, the standard
            deviation of a normal distribution) are taken for outliers or wrong labels: weight 1.
        seed: default: that of `xpnet.manual_seed`.

    Tell it the losses with `update`, such as once an epoch; until then all weights are equal.
    """

    def __init__(
        self,
        n: int,
        strength: float = 1.0,
        smallest: float = 0.1,
        outlier: float = 5.0,
        seed: int | None = None,
    ) -> None:
        if n < 1 or strength < 0 or not 0 < smallest <= 1 or outlier <= 0:
            raise ValueError(
                "HardExamples: expected n >= 1, strength >= 0, 0 < smallest <= 1, outlier > 0, got "
                f"{n}, {strength}, {smallest}, {outlier}"
            )
        super().__init__(n, seed)
        self.strength, self.smallest, self.outlier = strength, smallest, outlier
        self.losses: np.ndarray | None = None

    def update(self, losses: Any) -> None:
        """The loss of every sample, (n,), in the order of the data set.

        Raises:
            ValueError: another shape, or losses that are negative or not finite.
        """
        host = to_numpy(losses).astype(np.float64)
        if host.shape != (self.n,):
            raise ValueError(f"HardExamples: expected losses of shape ({self.n},), got {host.shape}")
        if not (np.isfinite(host) & (host >= 0)).all():
            raise ValueError("HardExamples: losses must be finite and not negative")
        self.losses = host

    def state_dict(self) -> dict[str, Any]:
        """Seed and losses."""
        return {**super().state_dict(), **({} if self.losses is None else {"losses": self.losses})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        super().load_state_dict(state)
        self.losses = state.get("losses")

    def outliers(self) -> np.ndarray:
        """(n,) booleans: the samples whose losses are too large to be believed. Look at them."""
        if self.losses is None:
            return np.zeros(self.n, dtype=bool)
        median = np.median(self.losses)
        deviation = 1.4826 * np.median(np.abs(self.losses - median))
        return self.losses > median + self.outlier * deviation if deviation else np.zeros(self.n, dtype=bool)

    def weights(self) -> np.ndarray:
        """Powers of the losses, bounded."""
        if self.losses is None:
            return np.ones(self.n)
        outliers = self.outliers()
        mean = self.losses[~outliers].mean()
        if not mean:
            return np.ones(self.n)
        weights = np.maximum((self.losses / mean) ** self.strength, self.smallest)
        weights[outliers] = 1.0
        return weights


class Curriculum(Seeded):
    """Easy samples first, then more and more of the hard ones (Bengio et al., 2009; deck S4).

    Args:
        difficulty: (n,) a score for each sample, larger is harder: the loss of a small model, the length of a
            sentence, the noise of a picture.
        start: the fraction of the samples that the first epoch presents, the easiest ones.
        epochs: from this epoch on, all are presented; the fraction grows evenly until then.
        seed: default: that of `xpnet.manual_seed`.

    An epoch presents each of its samples once, in random order.
    """

    def __init__(
        self, difficulty: Any, start: float = 0.3, epochs: int = 10, seed: int | None = None
    ) -> None:
        host = to_numpy(difficulty)
        if host.ndim != 1 or not host.size or not np.isfinite(host).all():
            raise ValueError(f"Curriculum: expected a finite score for each sample, (n,), got {host.shape}")
        if not 0 < start <= 1 or epochs < 1:
            raise ValueError(f"Curriculum: expected 0 < start <= 1 and epochs >= 1, got {start} and {epochs}")
        self.by_difficulty = np.argsort(host, kind="stable")
        self.start, self.epochs, self.seed = start, epochs, own_seed(seed)

    def share(self, epoch: int) -> float:
        """The fraction of the samples that an epoch presents."""
        return min(1.0, self.start + (1 - self.start) * epoch / self.epochs)

    def order(self, epoch: int) -> np.ndarray:
        """The indices of an epoch."""
        n = max(1, round(self.share(epoch) * len(self.by_difficulty)))
        return self.by_difficulty[:n][random.permutation(n, random.Key(self.seed, random.SHUFFLE, epoch))]
