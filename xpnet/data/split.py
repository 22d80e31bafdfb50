"""Hold-out splits: parts of a data set that share no sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from xpnet import random
from xpnet.backend import to_numpy
from xpnet.data.dataset import Dataset

_NAMES = {2: ("training", "test"), 3: ("training", "validation", "test")}


def split(
    data: Dataset,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    *,
    stratify: bool = True,
    seed: int | None = None,
) -> tuple[Dataset, ...]:
    """Divide a data set at random: every sample lands in exactly one part.

    Args:
        data: what to divide.
        fractions: the share of each part; they add up to 1.
        stratify: keep each class's share in every part, to within one sample; needs integer labels, (n,).
        seed: default: the next draw of the split stream, which `xpnet.manual_seed` seeds.

    Returns:
        One data set a fraction, each in random order. The third of three is a test set: evaluating it twice
        warns.

    Raises:
        ValueError: fractions that are not positive or do not add up to 1, or too few samples for the parts.
        TypeError: stratify without integer labels.

    >>> from xpnet.data import load_digits, split
    >>> train, validation, test = split(load_digits(), (0.7, 0.15, 0.15), seed=0)
    >>> len(train), len(validation), len(test)
    (1258, 269, 270)
    """
    if not fractions or any(f <= 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"split: fractions must be positive and add up to 1, got {tuple(fractions)}")
    key = random.generators[random.SPLIT].next_key() if seed is None else random.Key(seed, random.SPLIT, 0)
    order = random.permutation(len(data), key)
    ranked = _by_rank_in_class(to_numpy(data.y)[order], data.name) if stratify else np.arange(len(data))
    bounds = [round(float(c) * len(data)) for c in np.cumsum([0, *fractions])]
    # sorted positions in a random order: each part is in random order again, not nearly periodic in the class
    parts = [order[np.sort(ranked[a:b])] for a, b in pairwise(bounds)]
    if any(part.size == 0 for part in parts):
        raise ValueError(f"split: {len(data)} samples are too few for the fractions {tuple(fractions)}")
    names = _NAMES.get(len(parts), tuple(f"part {i}" for i in range(len(parts))))
    found = [data.subset(part, f"{data.name} {name} set") for part, name in zip(parts, names, strict=True)]
    if len(found) == 3:  # of two parts, the second may be for validation
        found[2] = found[2].guarded()
    return tuple(found)


def _by_rank_in_class(labels: np.ndarray, name: str) -> np.ndarray:
    """Positions sorted by (rank in the class + 1/2) / class size: every prefix holds each class's share."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise TypeError(
            f"split: {name}: stratify needs integer labels of shape (n,), got {labels.dtype} {labels.shape}"
        )
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    grouped = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels))
    rank[grouped] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.argsort((rank + 0.5) / counts[labels], kind="stable")
