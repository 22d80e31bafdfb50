"""Faults of the data, found before any training: scale, constant features, classes, order, leakage."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.diagnostics.finding import Finding, judge

_CHUNK = 512  # rows worked on at a time
_SAMPLE = 20_000  # rows that statistics of a large data set are taken from


def _rows(x: Any) -> np.ndarray:
    """(n, features) on the host."""
    host = to_numpy(x)
    return host.reshape(len(host), -1)


def _some_rows(x: Any) -> np.ndarray:
    """Up to 20,000 rows of x, evenly spaced, in float32."""
    stride = -(-int(x.shape[0]) // _SAMPLE)
    return _rows(x[::stride, ...]).astype(np.float32)


def input_scale(x: Any) -> Finding:
    """Whether inputs have a mean near 0 and a deviation near 1 (deck S4: standardise).

    Args:
        x: (n, ...) samples as the network gets them.

    Returns:
        The larger of |mean| and the factor between the deviation and 1. FAIL beyond 10, WARN beyond 2 (or
        where features differ in scale by more than 100).

    >>> import numpy as np
    >>> from xpnet.train import input_scale
    >>> input_scale(np.random.default_rng(0).uniform(0, 255, (100, 5))).status
    'FAIL'
    """
    rows = _some_rows(x)
    mean, std = float(rows.mean(dtype=np.float64)), float(rows.std(dtype=np.float64))
    factor = max(std, 1 / std) if std else np.inf
    value = max(abs(mean), factor)
    scales = rows.std(axis=0)
    scales = scales[scales > 0]
    # the 10th and 90th percentile: the borders of pictures may vary as little as they like
    low, high = np.percentile(scales, [10, 90]) if scales.size else (1.0, 1.0)
    uneven = high > 100 * low and rows.shape[1] < 64
    return judge(
        "input scale",
        value,
        "mean near 0, std near 1",
        warn=abs(mean) > 0.5 or factor > 4 or uneven,
        fail=value > 10,
        advice="Standardise with the training set's mean and deviation: xpnet.data.Standardize, ChannelMean."
        + (" Features differ in scale by more than 100: do it for each feature." if uneven else ""),
        detail=f"mean {mean:.3g}, std {std:.3g}",
    )


def constant_features(x: Any) -> Finding:
    """The fraction of features that are the same in every sample; they carry nothing.

    Args:
        x: (n, ...) samples. The empty borders of pictures are constant features and do no harm while they
            are small and a quarter of all at most.
    """
    rows = _some_rows(x)
    constant = rows.min(axis=0) == rows.max(axis=0)
    fraction = float(constant.mean())
    large = bool(constant.any()) and float(np.abs(rows[0, constant]).max()) > 5
    return judge(
        "constant features",
        fraction,
        "at most a quarter of the features",
        warn=fraction > 0.25 or large,
        fail=fraction == 1.0,
        advice="Every sample is the same: look at how the data is read."
        if fraction == 1.0
        else "Drop these columns: they carry nothing, and their weights learn nothing.",
        detail=f"{int(constant.sum())} of {constant.size}",
    )


def class_balance(y: Any, classes: int | None = None) -> Finding:
    """The largest class over the smallest.

    Args:
        y: (n,) labels.
        classes: their number; default: the largest label + 1.

    Returns:
        The ratio. FAIL if a class has no sample, WARN above 3.

    Raises:
        ValueError: a label is negative, or y is not of one axis.
        TypeError: labels that are not integers.

    >>> import numpy as np
    >>> from xpnet.train import class_balance
    >>> finding = class_balance(np.array([0, 0, 0, 0, 1]))
    >>> finding.value, finding.status
    (4.0, 'WARN')
    """
    labels = to_numpy(y)
    counts = np.bincount(labels, minlength=classes or 0)
    ratio = float(counts.max() / counts.min()) if counts.min() else np.inf
    empty = np.flatnonzero(counts == 0)
    return judge(
        "class balance",
        ratio,
        "largest class up to 3 times the smallest",
        warn=ratio > 3,
        fail=empty.size > 0,
        advice=f"No training sample of class {', '.join(map(str, empty[:5]))}: it cannot be learned."
        if empty.size
        else "Weight the classes (cross_entropy(weight=...)) or sample them evenly; look at the accuracy of "
        "each class, not at the mean alone.",
        detail=f"{int(counts.min())} to {int(counts.max())} samples",
    )


def class_order(y: Any) -> Finding:
    """Whether neighbours are of one class more often than chance has it: blocks of a class (deck S3, S4).

    Args:
        y: (n,) labels in the order in which training sees them; or a DataLoader over a Dataset.

    Returns:
        How much of the way from a random order (0) to one block a class (1) the order is.
    """
    if isinstance(y, DataLoader):
        order = y.order(y.epoch)
        labels = to_numpy(y.dataset.y)
        labels = labels if order is None else labels[order]
    else:
        labels = to_numpy(y)
    same = float(np.mean(labels[1:] == labels[:-1])) if len(labels) > 1 else 0.0
    chance = float(np.sum((np.bincount(labels) / len(labels)) ** 2))
    value = max(0.0, (same - chance) / (1 - chance)) if chance < 1 else 0.0
    return judge(
        "class order",
        value,
        "near 0: no blocks of one class",
        warn=value > 0.2,
        fail=value > 0.5,
        advice="Shuffle the training data each epoch (DataLoader does by default): a batch of one class "
        "pulls the whole network towards it.",
    )


def leakage(train: Any, test: Any, name: str = "test") -> Finding:
    """Samples of one split that are also in the other: they are remembered, not recognised.

    Args:
        train: (n, ...) samples, or a Dataset.
        test: likewise.
        name: what the second split is called in the result.

    Returns:
        The fraction of test samples that are in the training set. FAIL above 0.01, WARN above 0.

    Raises:
        ValueError: a split has no samples.

    Rows are compared exactly, by a hash of their bytes, and again after each row has been standardised by its
    own mean and deviation, to 0.001: the same picture is found where each split was scaled by statistics of
    its own. (The second comparison needs rows of at least 16 values that vary.)

    >>> import numpy as np
    >>> from xpnet.train import leakage
    >>> train, test = np.arange(12.0).reshape(6, 2), np.array([[2.0, 3.0], [5.0, 9.0]])
    >>> leakage(train, test).value
    0.5
    """
    a, b = (_rows(d.x if isinstance(d, Dataset) else d) for d in (train, test))
    found = np.zeros(len(b), dtype=bool)
    if a.shape[1] == b.shape[1]:
        known = set(_digests(a))
        found = np.array([digest in known for digest in _digests(b)])
        if a.shape[1] >= 16:
            found |= _scaled_copies(a, b)
    fraction = float(found.mean())
    first = ", ".join(map(str, np.flatnonzero(found)[:5]))
    return judge(
        f"leakage: {name}",
        fraction,
        "0: no sample in both splits",
        warn=fraction > 0,
        fail=fraction > 0.01,
        advice="Split before augmenting or resampling, remove duplicates, and keep what belongs together "
        "(one person, one recording) in one split; scores on this split are too good.",
        detail=f"{int(found.sum())} of {len(found)}" + (f": samples {first}" if first else ""),
    )


def _digests(rows: np.ndarray) -> list[bytes]:
    found = []
    for i in range(0, len(rows), _CHUNK):
        chunk = np.ascontiguousarray(rows[i : i + _CHUNK])
        if chunk.dtype.kind == "f":
            chunk = np.add(chunk, 0, dtype=chunk.dtype)  # -0.0 equals 0.0 and has other bytes
        found += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in chunk]
    return found


def _scaled_copies(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """Which rows of b are rows of a up to scale and shift.

    Equal rows have equal projections on a random direction, so only neighbours on that line are compared.
    """
    normal: np.ndarray = np.random.default_rng(0).normal(size=(a.shape[1],))
    direction = (normal - normal.mean()).astype(np.float32)  # its sum is 0: a row's mean does not matter
    offset = float(a[:1000].mean(dtype=np.float64))
    line_a, line_b = (_project(rows, direction, offset) for rows in (a, b))
    order = np.argsort(line_a, kind="stable")
    line_a = line_a[order]
    # copies differ by rounding, some 1e-6 in each place, and so by less than this on the line
    reach = 1e-4 * float(np.linalg.norm(direction))
    low, high = np.searchsorted(line_a, line_b - reach), np.searchsorted(line_a, line_b + reach)
    found = np.zeros(len(b), dtype=bool)
    for j in np.flatnonzero(high > low):
        near = _standard(a[order[low[j] : high[j]]])
        found[j] = bool((np.abs(near - _standard(b[j : j + 1])).max(axis=1) < tolerance).any())
    return found


def _project(rows: np.ndarray, direction: np.ndarray, offset: float) -> np.ndarray:
    """(n,) projections of the standardised rows; NaN, which is near nothing, for constant rows.

    The offset, near the mean, keeps E[x^2] - E[x]^2 from losing its digits.
    """
    line = np.empty(len(rows))
    for i in range(0, len(rows), _CHUNK):
        chunk = rows[i : i + _CHUNK].astype(np.float32) - np.float32(offset)
        mean = chunk.mean(axis=1)
        square = np.einsum("ij,ij->i", chunk, chunk) / chunk.shape[1]
        variance = square - mean * mean
        variance[variance <= 1e-6 * square] = np.nan
        line[i : i + _CHUNK] = (chunk @ direction) / np.sqrt(variance)
    return line


def _standard(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    mean, std = rows.mean(axis=1, keepdims=True), rows.std(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        standard: np.ndarray = (rows - mean) / std
    standard[std[:, 0] <= 1e-6 * (1 + np.abs(mean[:, 0]))] = np.nan
    return standard
