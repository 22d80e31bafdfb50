"""Cross-entropy of float32 rows with plain integer labels; other cases stay with the body."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.cpu.launch import NOT_EMPTY, contiguous, empty, run, single
from xpnet.functional import losses
from xpnet.functional.targets import class_indices, reduce_losses

_INT64 = np.dtype(np.int64)


@losses.cross_entropy.kernel("numpy", NOT_EMPTY)
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
    if getattr(target, "ndim", 1) != 1 or not logits.size:
        return NotImplemented
    y, valid = class_indices(target, logits, logits.shape[1], ignore_index, "cross_entropy")
    if valid is not None:
        return NotImplemented
    z, y = single(logits), contiguous(y, _INT64)
    rows, classes = z.shape
    losses = empty(rows, np.float32)
    scale = 1 / rows if reduction == "mean" else 1.0

    def launch(gradient: np.ndarray | None) -> np.ndarray | None:
        run("cross_entropy", z, y, losses, gradient, scale, rows, classes)
        return gradient

    gradient = launch(np.empty_like(z) if recorded else None)
    value, _ = reduce_losses(losses, reduction)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        dz: Any = launch(np.empty_like(z)) if gradient is None else gradient
        if type(dy) is float:
            return (dz if dy == 1 else dz * dy,)
        return (dz * (dy if dy.ndim == 0 else dy[:, None]),)

    return value, pullback
