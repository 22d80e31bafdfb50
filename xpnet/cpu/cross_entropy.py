"""Cross-entropy of float32 rows with plain integer labels; other cases stay with the body."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import SMALL, compiled
from xpnet.functional import losses
from xpnet.functional.targets import class_indices, reduce_losses

_EMPTY = np.empty((0, 0), np.float32)


@losses.cross_entropy.kernel("numpy", SMALL)
def cross_entropy(
    logits: Array,
    target: Any,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    *,
    recorded: bool = False,
) -> Any:
    """One pass over the logits in training: the gradient is made with the loss."""
    if logits.dtype != np.float32 or logits.ndim != 2 or weight is not None or label_smoothing:
        return NotImplemented
    run = compiled("cross_entropy", "cross_entropy")
    if run is None or getattr(target, "ndim", 1) != 1:
        return NotImplemented
    y, valid = class_indices(target, logits, logits.shape[1], ignore_index, "cross_entropy")
    if valid is not None:
        return NotImplemented
    z = np.ascontiguousarray(logits)
    rows = z.shape[0]
    losses = np.empty(rows, np.float32)
    scale = np.float32(1 / rows if reduction == "mean" else 1)

    def launch(gradient: np.ndarray) -> np.ndarray:
        run(z, z.view(np.int32), y, losses, gradient, scale)
        return gradient

    gradient = launch(np.empty_like(z) if recorded else _EMPTY)
    value, _ = reduce_losses(losses, reduction)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dz = gradient if gradient.size else launch(np.empty_like(z))
        if type(dy) is float:
            return (dz if dy == 1 else dz * dy,)
        return (dz * (dy if dy.ndim == 0 else dy[:, None]),)

    return value, pullback
