"""Samples of a test set that the training set has, too: what is measured by them says nothing of new ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from xpnet.data.dataset import Dataset

_BLOCK = 1 << 20  # numbers that are hashed at once


def repeated(test: Dataset, others: Iterable[Dataset]) -> int:
    """How many samples of a test set are in other parts of the data with the same target, value for value.

    Args:
        test: on the host, as the others, in float32.
        others: what is trained and chosen by.

    Samples are found by a hash of 64 bits, the products of their words with random numbers added up (Carter &
    Wegman, 1979), and then compared.

    >>> import numpy as np
    >>> from xpnet.data import Dataset
    >>> from xpnet.data.duplicates import repeated
    >>> train = Dataset(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> repeated(train.subset([2, 2]), [train])
    2
    """
    own, found = _hashes(test), np.zeros(len(test), dtype=bool)
    for other in others:
        theirs = _hashes(other)
        order = np.argsort(theirs, kind="stable")
        at = np.minimum(np.searchsorted(theirs, own, sorter=order), len(theirs) - 1)
        for i in np.flatnonzero((theirs[order[at]] == own) & ~found):
            j = order[at[i]]
            found[i] = np.array_equal(test.x[i], other.x[j]) and np.array_equal(test.y[i], other.y[j])
    return int(np.count_nonzero(found))


def _hashes(data: Dataset) -> np.ndarray:
    """One of each sample with its target, (n,) uint64."""
    return _hashed(data.x) + np.uint64(3) * _hashed(data.y)


def _hashed(array: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    words = flat.view(np.uint32 if flat.itemsize % 4 == 0 else np.uint8)
    factors = np.random.default_rng(0).integers(1 << 63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    rows = max(1, _BLOCK // words.shape[1])
    parts = [words[i : i + rows].astype(np.uint64) @ factors for i in range(0, len(words), rows)]
    return np.concatenate(parts)


def duplicates(test: Dataset, others: Iterable[Dataset], what: str) -> list[str]:
    """A line about them, if there are some; arguments as above.

    Args:
        test: on the host, as the others.
        others: what is trained and chosen by.
        what: what samples are called, "rows" or "pictures".
    """
    n = repeated(test, others)
    if not n:
        return []
    verb = "is" if n == 1 else "are"
    return [
        f"{n} of the {len(test)} {what} of the test set {verb} in the training set, too, value for value: "
        "what is measured by them says nothing about new ones"
    ]
