"""Columns whose data never leave a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.columns.torch import TorchColumn
from bench.columns.xpnet import XpnetColumn


class DeviceRandom:
    """Normal and whole numbers as CuPy arrays, as fast as memory: repetitions of a few million from the host.

    Of a prime number of them, so that no row of a matrix is like another.
    """

    def __init__(self, seed: int = 0, size: int = 4_194_301) -> None:
        import cupy

        self.xp, self.at = cupy, 0
        rng = np.random.default_rng(seed)
        self.normal = cupy.asarray(rng.standard_normal(size, dtype=np.float32))
        self.word = cupy.asarray(rng.integers(0, 1 << 31, size))

    def _take(self, values: Any, n: int) -> Any:
        """n of the values, from another place each time."""
        self.at = (self.at + 999_983) % values.size
        rolled = self.xp.concatenate([values[self.at :], values[: self.at]])
        return self.xp.tile(rolled, -(-n // values.size))[:n]

    def standard_normal(self, shape: Any, dtype: Any = np.float32) -> Any:
        """Of N(0, 1)."""
        shape = (shape,) if isinstance(shape, int) else shape
        return self._take(self.normal, int(np.prod(shape))).reshape(shape).astype(dtype, copy=False)

    def integers(self, low: int, high: int, n: int) -> Any:
        """From `low` to `high` - 1."""
        return low + self._take(self.word, n) % (high - low)


class OnDevice:
    """A CUDA column whose inputs and results are CuPy arrays."""

    def array(self, host: Any) -> Any:
        return host

    def host(self, array: Any) -> Any:
        return array


class XpnetOnDevice(OnDevice, XpnetColumn):
    """xpnet on CuPy."""

    def host(self, array: Any) -> Any:
        import xpnet

        return array.data if isinstance(array, xpnet.Tensor) else array


class TorchOnDevice(OnDevice, TorchColumn):
    """PyTorch on CUDA; the memory is CuPy's."""

    def array(self, host: Any) -> Any:
        import torch

        if host.dtype.name != "bfloat16":
            return torch.from_dlpack(host)
        return torch.from_dlpack(host.view(np.int16)).view(torch.bfloat16)

    def host(self, array: Any) -> Any:
        import cupy
        import torch

        array = array.detach()
        if array.dtype != torch.bfloat16:
            return cupy.from_dlpack(array)
        import ml_dtypes

        return cupy.from_dlpack(array.view(torch.int16)).view(ml_dtypes.bfloat16)
