"""Losses of numbers that take class labels, too, so that a search may choose among all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from xpnet import functional as F
from xpnet.core.arrays import INTEGER, kind, one_hot
from xpnet.core.convert import array_like
from xpnet.core.tensor import Tensor, array_of
from xpnet.functional.targets import class_indices


def of_labels(loss: Callable[..., Any], least: float, scores: Any, target: Any, **options: Any) -> Tensor:
    """The loss of each class's score: 1 is the target of the right one, `least` that of the others.

    Args:
        loss: of `scores` and a target of their shape.
        least: 0, or -1 for a loss of signs.
        scores: (N, C).
        target: class labels (N,), or what `loss` takes.
        **options: those of the loss, such as `reduction`.

    Raises:
        ValueError: a label is out of range, or shapes do not fit.
    """
    labels = array_like(target)
    if scores.ndim == 2 and labels.ndim == 1 and kind(labels) == INTEGER:
        like = array_of(scores)
        y, _ = class_indices(labels, like, scores.shape[1], None, getattr(loss, "__name__", "loss"))
        hot = one_hot(y, scores.shape[1], like.dtype)
        target = hot if least == 0 else hot * (1 - least) + least
    return loss(scores, target, **options)


LOSSES: dict[str, Callable[..., Any]] = {
    "cross_entropy": F.cross_entropy,
    "smoothed cross_entropy": partial(F.cross_entropy, label_smoothing=0.1),
    "multi_margin_loss": F.multi_margin_loss,
    "mse_loss": partial(of_labels, F.mse_loss, 0.0),
    "l1_loss": partial(of_labels, F.l1_loss, 0.0),
    "smooth_l1_loss": partial(of_labels, F.smooth_l1_loss, 0.0),
    "huber_loss": partial(of_labels, F.huber_loss, 0.0),
    "binary_cross_entropy_with_logits": partial(of_labels, F.binary_cross_entropy_with_logits, 0.0),
    "sigmoid_focal_loss": partial(of_labels, partial(F.sigmoid_focal_loss, reduction="mean"), 0.0),
    "soft_margin_loss": partial(of_labels, F.soft_margin_loss, -1.0),
}
"""All take scores and class labels; from "mse_loss" on, numbers in the shape of the scores as well."""
