"""NumPy arrays as they come from files and other libraries, made into what all of xpnet works on."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from xpnet.core.backend import HOST_TYPES

TABLES = ("pandas", "polars", "pyarrow", "scipy")
"""Libraries whose tables and matrices go in wherever arrays do."""


def is_foreign(x: Any) -> bool:
    """Whether something is a table or a matrix of another library, to be made an array."""
    table = type(x).__module__.partition(".")[0] in TABLES
    return table and (hasattr(x, "shape") or hasattr(x, "collect"))  # a LazyFrame has no shape yet


def dense(x: Any) -> np.ndarray:
    """What `numpy.asarray` makes of another library's values, where it would keep them as one object.

    SciPy's sparse matrices become dense, a polars LazyFrame is collected.
    """
    library = type(x).__module__.split(".")[0]
    if library == "scipy" and hasattr(x, "toarray"):
        return np.asarray(x.toarray())
    if library == "polars" and hasattr(x, "collect"):
        x = x.collect()
    return np.asarray(x)


def gaps(x: Any) -> str:
    """What to say of an array of objects in which values are missing: None, or the NA of pandas; "" else."""
    x = np.asarray(x)
    gone = [value is None or str(value) == "<NA>" for value in x.flat] if x.dtype.kind == "O" else []
    return f"; {sum(gone)} values are missing: fill them, or drop their samples" if any(gone) else ""


def ordinary(x: np.ndarray) -> np.ndarray:
    """The same values as a plain array in the machine's byte order; itself where it is one.

    FITS, idx and HDF5 files hold big-endian numbers, pandas gives numbers as objects, a np.matrix no vectors.

    Raises:
        ValueError: some values are masked, so that there is no number to take.
    """
    if type(x) in HOST_TYPES and x.dtype.isnative and x.dtype.kind != "O":
        return x
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(
                f"a masked array has {np.ma.count_masked(x)} masked values: fill them with x.filled(value), "
                "or drop their samples"
            )
        x = x.data
    x = np.asarray(x)
    if x.dtype.kind == "O" and all(isinstance(value, Real | np.bool_) for value in x.flat):
        x = np.array(x.tolist())
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
