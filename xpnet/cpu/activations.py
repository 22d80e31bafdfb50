"""ReLU of float32 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import SMALL, compiled, flat
from xpnet.functional import activations


@activations.relu.kernel("numpy", SMALL)
def relu(x: Array) -> Any:
    """NumPy's maximum is one pass already; its derivative takes three."""
    run = compiled("activations", "relu_gradient") if x.dtype == np.float32 else None
    if run is None:
        return NotImplemented
    y = np.maximum(np.ascontiguousarray(x), np.float32(0))

    def pullback(dy: Array) -> Array:
        dx = np.empty_like(y)
        run(flat(dx), flat(np.ascontiguousarray(dy, np.float32)), flat(y))
        return dx

    return y, pullback
