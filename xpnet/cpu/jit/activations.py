"""Derivatives of activations in one pass."""

from __future__ import annotations

import numba
import numpy as np

from xpnet.cpu.jit import loop


@loop
def relu_gradient(dx, dy, y):
    """dx = dy * 1[y != 0]: of NaN, too."""
    for i in numba.prange(dx.shape[0]):
        dx[i] = dy[i] if y[i] != 0 else np.float32(0)  # not a product: dy may be infinite
