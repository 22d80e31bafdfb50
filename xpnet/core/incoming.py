"""NumPy arrays as they come from files and other libraries, made into what all of xpnet works on."""

from __future__ import annotations

from numbers import Real

import numpy as np


def ordinary(x: np.ndarray) -> np.ndarray:
    """The same values as a plain array in the machine's byte order; itself where it is one.

    FITS, idx and HDF5 files hold big-endian numbers, pandas gives numbers as objects, a np.matrix no vectors.

    Raises:
        ValueError: some values are masked, so that there is no number to take.
    """
    if type(x) is np.ndarray and x.dtype.isnative and x.dtype.kind != "O":
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
