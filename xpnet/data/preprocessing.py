"""Preprocessing with statistics of the training set, stored so that they apply to every other sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet.backend import Array, asarray, backend_of, namespace, to_numpy
from xpnet.data.dataset import check_finite


class Standardize:
    """(x - mean) / std, with the mean and standard deviation of the training set.

    Args:
        per_feature: statistics of each feature; otherwise one mean and one deviation for all values, which
            keeps rarely inked pixels of a picture small.

    Features that are constant in the training set are only shifted, to 0.

    >>> import numpy as np
    >>> from xpnet.data import Standardize
    >>> scaler = Standardize().fit(np.array([[0.0, 5.0], [2.0, 5.0]], dtype=np.float32))
    >>> scaler.transform(np.array([[4.0, 6.0]], dtype=np.float32))
    array([[3., 1.]], dtype=float32)
    """

    def __init__(self, per_feature: bool = True) -> None:
        self.per_feature = per_feature
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None

    def fit(self, x: Any) -> Standardize:
        """Take the statistics of x, (n, ...): the training set, never all data. Returns self.

        Raises:
            ValueError: x is empty or not finite.
        """
        host = to_numpy(x)
        if host.size == 0 or host.ndim == 0:
            raise ValueError(f"Standardize: nothing to fit: x has shape {host.shape}")
        check_finite(host, "Standardize: x")
        axis = 0 if self.per_feature else None
        mean, std = host.mean(axis=axis, dtype=np.float64), host.std(axis=axis, dtype=np.float64)
        constant = host.min(axis=axis) == host.max(axis=axis)  # rounding leaves such a std just above 0
        self.mean = np.asarray(mean, dtype=np.float32)
        self.std = np.where(constant, 1.0, std).astype(np.float32)
        return self

    def transform(self, x: Any) -> Array:
        """(x - mean) / std, on the backend of x; integers become float32.

        Raises:
            RuntimeError: `fit` has not been called.
            ValueError: the features are not those of the training set.
        """
        x, mean, std = self._match(x)
        return (x - mean) / std

    def inverse(self, x: Any) -> Array:
        """mean + std x: what `transform` undoes. Raises as `transform` does."""
        x, mean, std = self._match(x)
        return x * std + mean

    def _match(self, x: Any) -> tuple[Array, Array, Array]:
        if self.mean is None or self.std is None:
            raise RuntimeError("Standardize: no statistics yet; call fit(x) with the training set")
        x = x if hasattr(x, "dtype") else np.asarray(x, dtype=np.float32)
        if self.per_feature and tuple(x.shape[1:]) != self.mean.shape:
            raise ValueError(
                f"Standardize: fitted on samples of shape {self.mean.shape}, got samples of shape "
                f"{tuple(x.shape[1:])}"
            )
        xp, backend = namespace(x), backend_of(x)
        if "float" not in str(x.dtype):
            x = xp.astype(x, xp.float32)
        dtype = str(x.dtype).split(".")[-1]
        return x, asarray(self.mean, dtype, backend=backend), asarray(self.std, dtype, backend=backend)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The statistics, float32 NumPy arrays `"mean"` and `"std"`.

        Raises:
            RuntimeError: `fit` has not been called.
        """
        if self.mean is None or self.std is None:
            raise RuntimeError("Standardize: no statistics yet; call fit(x) with the training set")
        return {"mean": self.mean, "std": self.std}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.mean, self.std = (np.asarray(to_numpy(state[k]), dtype=np.float32) for k in ("mean", "std"))
        self.per_feature = self.mean.ndim > 0
