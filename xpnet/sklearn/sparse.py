"""Sparse matrices as samples: they stay sparse, and a batch becomes dense when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray
from xpnet.data.dataset import take
from xpnet.nn.inference import BATCH


def is_sparse(x: Any) -> bool:
    """Whether it is a matrix or an array of scipy.sparse."""
    return type(x).__module__.startswith("scipy.sparse")


def rows_of(x: Any, indices: np.ndarray) -> Any:
    """Rows of samples, sparse or not, in the order of `indices`."""
    return x[indices] if is_sparse(x) else take(x, indices)


def dense_batches(x: Any, dtype: str) -> Iterator[Array]:
    """The rows of a CSR matrix in order, a batch at a time, dense and on the default backend."""
    for i in range(0, x.shape[0], BATCH):
        yield asarray(x[i : i + BATCH].toarray(), dtype)


class SparseSamples:
    """Rows of a CSR matrix with their targets, for a DataLoader with `SparseSamples.batch` as its collate.

    Args:
        x: (n, features), CSR.
        y: (n, ...) targets, where the network is.
        dtype: what the rows are to be.
    """

    def __init__(self, x: Any, y: Array, dtype: str) -> None:
        self.x, self.y, self.dtype = x, y, dtype

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        x, y = self.__getitems__([index])
        return x[0, ...], y[0, ...]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Array, Array]:
        rows = np.asarray(indices)
        return asarray(self.x[rows].toarray(), self.dtype), take(self.y, rows)

    @staticmethod
    def batch(items: Any) -> Any:
        """What `__getitems__` gave is a batch already."""
        return items
