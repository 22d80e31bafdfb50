"""Preprocessing with statistics of the training set, stored so that they apply to every other sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_of, namespace
from xpnet.data.dataset import as_array, check_finite


class Preprocessing:
    """Base class: `fit` takes statistics of the training set, `transform` applies them to any sample.

    A subclass names its statistics, computes them in `measure`, and applies them in `apply`. They are kept as
    NumPy arrays and follow the samples to their backend. Those of float64 data and of whole numbers are
    float64, and applied in it: a time of 1.7e9 seconds has no seconds in float32. Others are float32.
    """

    statistics: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        for name in self.statistics:
            setattr(self, name, None)

    # ---- what a subclass writes ----

    def measure(self, x: np.ndarray) -> tuple[Any, ...]:
        """The statistics of x, (n, ...), in the order of their names."""
        raise NotImplementedError

    def apply(self, x: Array, *statistics: Array) -> Array:
        """The transformed samples."""
        raise NotImplementedError

    def undo(self, y: Array, *statistics: Array) -> Array:
        """What `apply` was given."""
        raise NotImplementedError(f"{type(self).__name__} cannot be undone")

    def fits(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape that samples must have, if `shape` is not one that the statistics apply to."""
        expected = getattr(self, self.statistics[0]).shape
        return None if shape == expected else expected

    def fits_inverse(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape that transformed samples must have, if `shape` is not one."""
        return self.fits(shape)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make another one like this, as JSON can hold them."""
        return {}

    # ---- what everybody uses ----

    def fit(self, x: Any) -> Any:
        """Take the statistics of x, (n, ...): the training set, never all data. Returns self.

        Raises:
            ValueError: x is empty or not finite.
        """
        host, name = to_numpy(x), type(self).__name__
        if host.size == 0 or host.ndim == 0:
            raise ValueError(f"{name}: nothing to fit: x has shape {host.shape}")
        check_finite(host, f"{name}: x")
        fine = host.dtype == np.float64 or (host.dtype.kind in "iu" and host.dtype.itemsize > 2)
        for statistic, value in zip(self.statistics, self.measure(host), strict=True):
            setattr(self, statistic, np.asarray(value, dtype=np.float64 if fine else np.float32))
        return self

    def transform(self, x: Any) -> Array:
        """The transformed samples, on the backend of x and in its dtype; integers become float32.

        Raises:
            RuntimeError: `fit` has not been called.
            ValueError: the features are not those of the training set.
        """
        return self._with(self.apply, self.fits, x)

    def inverse(self, x: Any) -> Array:
        """What `transform` undoes. Raises as `transform` does."""
        return self._with(self.undo, self.fits_inverse, x)

    def _with(self, function: Any, fits: Any, x: Any) -> Array:
        state = self.state_dict()
        x = as_array(x)
        expected = fits(tuple(x.shape[1:]))
        if expected is not None:
            raise ValueError(
                f"{type(self).__name__}: fitted on samples of shape {expected}, got samples of shape "
                f"{tuple(x.shape[1:])}"
            )
        xp, backend = namespace(x), backend_of(x)
        dtype = x.dtype if "float" in str(x.dtype) else xp.float32
        fine = any(value.dtype == np.float64 for value in state.values())
        x = xp.astype(x, xp.float64 if fine else dtype, copy=False)
        like = dtype_name(x.dtype)
        y = function(x, *(asarray(value, like, backend=backend) for value in state.values()))
        return xp.astype(y, dtype, copy=False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The statistics by name, NumPy arrays.

        Raises:
            RuntimeError: `fit` has not been called.
        """
        state = {name: getattr(self, name) for name in self.statistics}
        if any(value is None for value in state.values()):
            raise RuntimeError(f"{type(self).__name__}: no statistics yet; call fit(x) with the training set")
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            ValueError: the names are not those of this class.
        """
        if set(state) != set(self.statistics):
            raise ValueError(
                f"{type(self).__name__}: its statistics are {', '.join(self.statistics)}, the state has "
                f"{', '.join(state) or 'none'}"
            )
        for name in self.statistics:
            value = np.asarray(to_numpy(state[name]))
            setattr(self, name, value.astype(value.dtype if value.dtype == np.float64 else np.float32))


class _ShiftScale(Preprocessing):
    """(x - shift) / scale, with the shift as the first statistic and the scale, if any, as the second."""

    def apply(self, x: Array, shift: Array, scale: Array | None = None) -> Array:
        """(x - shift) / scale."""
        return x - shift if scale is None else (x - shift) / scale

    def undo(self, y: Array, shift: Array, scale: Array | None = None) -> Array:
        """Scale y + shift."""
        return y + shift if scale is None else y * scale + shift


def _mean_and_std(x: np.ndarray, axis: int | tuple[int, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation; 1 instead of the deviation of what is constant."""
    mean, std = x.mean(axis=axis, dtype=np.float64), x.std(axis=axis, dtype=np.float64)
    constant = x.min(axis=axis) == x.max(axis=axis)  # rounding leaves such a std just above 0
    return mean, np.where(constant, 1.0, std)


class Standardize(_ShiftScale):
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

    statistics = ("mean", "std")
    mean: np.ndarray | None
    std: np.ndarray | None

    def __init__(self, per_feature: bool = True) -> None:
        super().__init__()
        self.per_feature = per_feature

    def measure(self, x: np.ndarray) -> tuple[Any, ...]:
        """Mean and standard deviation."""
        return _mean_and_std(x, 0 if self.per_feature else None)

    def fits(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Any shape, if there is one mean."""
        return super().fits(shape) if self.per_feature else None

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments."""
        return {"per_feature": self.per_feature}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        super().load_state_dict(state)
        self.per_feature = self.mean is not None and self.mean.ndim > 0


class MinMax(_ShiftScale):
    """(x - min) / (max - min): each feature of the training set fills [0, 1]; other samples may leave it.

    Features that are constant in the training set are only shifted, to 0.

    >>> import numpy as np
    >>> from xpnet.data import MinMax
    >>> MinMax().fit(np.array([[2.0], [6.0]])).transform(np.array([[3.0]], dtype=np.float32))
    array([[0.25]], dtype=float32)
    """

    statistics = ("min", "range")

    def measure(self, x: np.ndarray) -> tuple[Any, ...]:
        """The minimum, and the maximum minus the minimum."""
        low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        return low, np.where(high == low, 1.0, high - low)


class MeanImage(_ShiftScale):
    """x - mean: the mean of every pixel over the training set is taken away, as AlexNet does (S1, S5)."""

    statistics = ("mean",)

    def measure(self, x: np.ndarray) -> tuple[Any, ...]:
        """The mean of each feature."""
        return (x.mean(axis=0, dtype=np.float64),)


class ChannelMean(_ShiftScale):
    """(x - mean) / std of each channel of (n, channels, ...), as VGG and ResNet do (decks S1, S5).

    Args:
        scale: divide by the standard deviation; otherwise only the mean is taken away.

    Pictures may have any height and width.
    """

    def __init__(self, scale: bool = True) -> None:
        self.scale = scale
        self.statistics = ("mean", "std") if scale else ("mean",)  # type: ignore[misc]
        super().__init__()

    def measure(self, x: np.ndarray) -> tuple[Any, ...]:
        """Mean and standard deviation over samples and positions."""
        if x.ndim < 2:
            raise ValueError(f"ChannelMean: expected samples (n, channels, ...), got {x.shape}")
        return _mean_and_std(x, (0, *range(2, x.ndim)))[: len(self.statistics)]

    def fits(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Any number of positions."""
        return super().fits(shape[:1])

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments."""
        return {"scale": self.scale}

    def apply(self, x: Array, *statistics: Array) -> Array:
        """(x - mean) / std."""
        return super().apply(x, *(_over_positions(s, x) for s in statistics))

    def undo(self, y: Array, *statistics: Array) -> Array:
        """Mean + std y."""
        return super().undo(y, *(_over_positions(s, y) for s in statistics))


def _over_positions(statistic: Array, x: Array) -> Array:
    return namespace(statistic).reshape(statistic, (-1, *(1 for _ in x.shape[2:])))
