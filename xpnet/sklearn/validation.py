"""Input of the estimators: scikit-learn checks what is on the host, this module what is on a device.

scikit-learn's validation turns device arrays into NumPy arrays, or refuses them. Here they stay where they
are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_X_y, validate_data

from xpnet.core.backend import BACKENDS, Array, Backend
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.incoming import ordinary
from xpnet.core.places import backend_of, namespace
from xpnet.core.tensor import array_of
from xpnet.data.dataset import check_finite
from xpnet.sklearn.sparse import is_sparse

# both dtypes are kept, others become the first one
_ARRAYS: dict[str, Any] = {"dtype": [np.float32, np.float64], "order": "C", "accept_sparse": "csr"}


def device_of(x: Any) -> Backend | None:
    """The backend of a device array (CuPy, PyTorch, ...); None for whatever NumPy takes."""
    x = array_of(x)
    name = type(x).__module__.split(".")[0]
    return backend_of(x) if name in BACKENDS and name != "numpy" else None


def on_host(x: Any) -> Any:
    """A device array as a NumPy array; anything else as it is, but for masks, which scikit-learn drops.

    Raises:
        ValueError: values are masked.
    """
    if isinstance(x, np.ma.MaskedArray):
        return ordinary(x)
    if hasattr(x, "collect") and hasattr(x, "lazy"):  # a LazyFrame
        return x.collect()
    return x if device_of(x) is None else to_numpy(x)


def like_input(result: Array, x: Any) -> Array:
    """A result as the kind of array that the input x is, on its device."""
    return asarray(result, backend=device_of(x)) if device_of(x) is not None else to_numpy(result)


def check_samples(estimator: Any, x: Any, *, reset: bool = False, images: bool = False) -> Array:
    """Samples where they are, as float64 if they are float64, else as float32.

    Args:
        estimator: whose features these are.
        x: (n, features), or (n, ...) with `images`; a sparse matrix becomes one of CSR.
        reset: learn the number of features instead of checking it.
        images: whether samples may have more than one axis.

    Raises:
        ValueError: wrong shapes, values that are not finite, another number of features.
        TypeError: no numbers.
    """
    if device_of(x) is not None:
        return _check_device_samples(estimator, x, reset, images)
    return validate_data(estimator, on_host(x), allow_nd=images, reset=reset, **_ARRAYS)


def check_pairs(
    estimator: Any, x: Any, y: Any, *, reset: bool, images: bool, **y_options: Any
) -> tuple[Array, np.ndarray]:
    """Samples as `check_samples` gives them, and their targets on the host; y_options: see `check_X_y`.

    Raises:
        ValueError: as `check_samples`, or targets that do not fit the samples.
        TypeError: as `check_samples`.
    """
    if device_of(x) is None:
        y = y.toarray() if is_sparse(y) else on_host(y)  # as small as what the network gives
        return validate_data(estimator, on_host(x), y, allow_nd=images, reset=reset, **_ARRAYS, **y_options)
    x = _check_device_samples(estimator, x, reset, images)
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    stand_in = np.zeros((x.shape[0], 1), dtype=np.float32)  # scikit-learn looks at the targets beside this
    return x, check_X_y(stand_in, on_host(y), estimator=estimator, **y_options)[1]


def check_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Weights as (n,) float64 on the host.

    Raises:
        ValueError: another shape, a negative weight, or no positive one.
    """
    if sample_weight is None:
        return None
    weights = check_array(
        on_host(sample_weight), dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weights.ndim == 0:
        weights = np.full(n, weights)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n},), one for each sample")
    if weights.min() < 0:
        raise ValueError(f"sample_weight: negative values in data: {weights.min():g}; weights count from 0")
    if not weights.any():
        raise ValueError("sample_weight: all weights are zero, there is nothing to learn from")
    return weights


def uneven(weights: np.ndarray | None) -> np.ndarray | None:
    """The weights, or None if all are equal: then there is nothing to weigh."""
    return None if weights is None or weights.min() == weights.max() else weights


def _check_device_samples(estimator: Any, x: Any, reset: bool, images: bool) -> Array:
    x = array_of(x)
    name, shape = type(estimator).__name__, tuple(x.shape)
    if len(shape) != 2 and not (images and len(shape) > 2):
        raise ValueError(f"{name}: expected a 2D array, samples by features, got one of shape {shape}")
    if 0 in shape:
        raise ValueError(f"{name}: no samples or no features: X has shape {shape}")
    if "complex" in str(x.dtype):
        raise ValueError(f"{name}: complex data not supported: X holds {x.dtype}")
    xp = namespace(x)
    if x.dtype not in (xp.float32, xp.float64):
        x = xp.astype(x, xp.float32)
    check_finite(x, f"{name}: X")
    if reset:
        estimator.n_features_in_ = shape[1]
        vars(estimator).pop("feature_names_in_", None)
    elif shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {shape[1]} features, but {name} is expecting {estimator.n_features_in_} features as input"
        )
    return x
