"""Hold-out and cross-validation splits: parts of a data set that share no sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from xpnet.core import random
from xpnet.core.convert import to_numpy
from xpnet.data.dataset import Dataset
from xpnet.data.samplers import by_rank_in_class

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
        fractions: the fraction of the samples in each part; they add up to 1.
        stratify: keep each class's fraction in every part, to within one sample; needs integer labels, (n,).
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
    order, ranked = _shuffled(data, stratify, seed)
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


def k_fold(
    data: Dataset, k: int = 5, *, stratify: bool = True, seed: int | None = None
) -> Iterator[tuple[Dataset, Dataset]]:
    """Cross-validation: k pairs of training and validation set; every sample is in one validation set.

    Args:
        data: what to divide; never the test set.
        k: number of parts.
        stratify: keep each class's fraction in every part, to within one sample; needs integer labels, (n,).
        seed: default: the next draw of the split stream, which `xpnet.manual_seed` seeds.

    Returns:
        An iterator of (training set, validation set), each made when it is asked for.

    Raises:
        ValueError: k is below 2 or above the number of samples.
        TypeError: stratify without integer labels.

    The mean of the k accuracies estimates that of a model trained on (k - 1) / k of the data.

    >>> from xpnet.data import k_fold, load_digits
    >>> [(len(train), len(validation)) for train, validation in k_fold(load_digits(), 4, seed=0)]
    [(1348, 449), (1348, 449), (1347, 450), (1348, 449)]
    """
    if not 2 <= k <= len(data):
        raise ValueError(f"k_fold: k must be from 2 to the {len(data)} samples, got {k}")
    order, ranked = _shuffled(data, stratify, seed)
    bounds = [round(i * len(data) / k) for i in range(k + 1)]

    def fold(i: int) -> tuple[Dataset, Dataset]:
        inside = np.zeros(len(data), dtype=bool)
        inside[ranked[bounds[i] : bounds[i + 1]]] = True
        return (
            data.subset(order[~inside], f"{data.name} training fold {i}"),
            data.subset(order[inside], f"{data.name} validation fold {i}"),
        )

    return (fold(i) for i in range(k))  # made one by one: a fold is a copy of the data


def _shuffled(data: Dataset, stratify: bool, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """A random order of the samples; and positions in it, of which every span is a fair part."""
    key = random.generators[random.SPLIT].next_key() if seed is None else random.Key(seed, random.SPLIT, 0)
    order = random.permutation(len(data), key)
    if not stratify:
        return order, np.arange(len(data))
    labels = to_numpy(data.y)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise TypeError(
            f"split: {data.name}: stratify needs integer labels of shape (n,), got {labels.dtype} "
            f"{labels.shape}"
        )
    return order, by_rank_in_class(labels[order])
