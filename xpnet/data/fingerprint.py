"""Whether data are the data they were: a hash of whole labels, and of samples spread over the set."""

from __future__ import annotations

import random as of_python
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet.core.fingerprint import WHOLE, array_fingerprint, compare, fingerprint, is_array
from xpnet.core.random import forked
from xpnet.data.arrays import Arrays
from xpnet.data.batch import TARGETS
from xpnet.data.dataset import Dataset
from xpnet.data.loader import DataLoader
from xpnet.data.source import is_data_set

_ITEMS = 8
"""Items read of a data set of one's own; batches of a list of them."""


def data_fingerprint(data: Any) -> Any:
    """What the samples and targets are, in terms of JSON; None for data that cannot be looked at twice.

    Args:
        data: a Dataset, Arrays, anything with samples by number, arrays, a list of batches, or a DataLoader
            of such, whose augmentation and transform are not looked at.

    Returns:
        For `xpnet.core.fingerprint.compare`. Arrays up to 8 MiB and labels are hashed as a whole, of larger
        ones rows spread over them; of items, some, and only their form if they are random.

    >>> import numpy as np
    >>> from xpnet.core.fingerprint import compare
    >>> from xpnet.data import Dataset, load_digits
    >>> from xpnet.data.fingerprint import data_fingerprint
    >>> digits = load_digits()
    >>> shuffled = Dataset(digits.x, np.roll(digits.y, 1))
    >>> compare(data_fingerprint(digits), data_fingerprint(shuffled))
    'other'
    """
    if isinstance(data, DataLoader):
        data = data.dataset
    if isinstance(data, Dataset):
        return {"x": array_fingerprint(data.x), "y": _of_target(data.y)}
    if isinstance(data, Arrays):
        return _of_parts(data.parts)
    if is_array(data) or isinstance(data, tuple | dict):
        return _of_parts(data)
    if isinstance(data, Sequence) or is_data_set(data):
        return _of_items(data)
    return None


def _of_target(y: Any) -> Any:
    return array_fingerprint(y, 8 * WHOLE)


def _of_parts(parts: Any) -> Any:
    if isinstance(parts, dict):
        return {name: (_of_target if name in TARGETS else _of_parts)(part) for name, part in parts.items()}
    if isinstance(parts, tuple):
        return [_of_parts(part) for part in parts]
    return fingerprint(parts)


def _of_items(data: Any) -> Any:
    """Of items spread over the data, the first one read twice: another one then is drawn by chance."""
    n = len(data)
    with _nothing_drawn():
        places = sorted({i * (n - 1) // max(1, _ITEMS - 1) for i in range(_ITEMS)})
        items = [fingerprint(data[i]) for i in places]
        again = fingerprint(data[places[0]])
    steady = compare(items[0], again) == "same"
    return {"items": n, **({"some": items} if steady else {"random": True})}


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Whatever random numbers reading takes, those that follow are the ones without it."""
    ours, theirs = of_python.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with forked():
            yield
    finally:
        of_python.setstate(ours)
        np.random.set_state(theirs)  # noqa: NPY002
