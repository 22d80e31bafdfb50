"""Dropout of whole channels, and of whole branches."""

from __future__ import annotations

from typing import Any

from xpnet.core import random
from xpnet.core.arrays import carries_gradients, constant, floating, keep
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import backend_of, namespace
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor
from xpnet.functional.public import result


@differentiable
def dropped(x: Array, p: float, key: random.Key, axes: int, factor: float) -> tuple[Array, Pullback]:
    """Each part of x, by the first `axes` axes, set to 0 with probability p, or multiplied by factor."""
    xp = namespace(x)
    if p == 1:
        return xp.zeros_like(x), lambda dy: xp.zeros_like(dy)
    shape = (*x.shape[:axes], *(1,) * (x.ndim - axes))
    mask = random.keep_mask(shape, p, key, backend_of(x.data if carries_gradients(x) else x))
    of_x = constant(xp.astype(mask, x.dtype) * factor, x)  # a product hides no NaN
    return of_x * x, lambda dy: keep(dy, xp.broadcast_to(mask, x.shape)) * factor


def _channels(name: str, x: Any, p: float, training: bool, inplace: bool, axes: dict[int, int]) -> Any:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is the probability of dropping, in [0, 1], got {p}")
    if x.ndim not in axes:
        words = " or ".join(map(str, sorted(axes)))
        raise ValueError(f"{name}: expected x of {words} axes, got {tuple(x.shape)}")
    floating(name, x)
    if not training or p == 0:
        return x
    key = random.generators[random.DROPOUT].next_key()
    return result(x, dropped(x, p, key, axes[x.ndim], 1 / (1 - p) if p < 1 else 0.0), inplace)


@takes_input
def dropout1d(x: Array | Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of sequences (Tompson et al., 2015).

    Args:
        x: (N, C, L) or (C, L).
        p: the probability of *dropping* a channel.
        training: False gives x unchanged.
        inplace: write the result over x; where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        ValueError: p is outside [0, 1], or other numbers of axes.

    >>> import xpnet, xpnet.functional as F
    >>> F.dropout1d(xpnet.asarray([[1.0, 2.0]]), training=False)
    array([[1., 2.]], dtype=float32)
    """
    return _channels("dropout1d", x, p, training, inplace, {2: 1, 3: 2})


@takes_input
def dropout2d(x: Array | Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of images (Tompson et al., 2015).

    Args:
        x: (N, C, H, W); of three axes (N, C, L), as in PyTorch.
        p: the probability of *dropping* a channel.
        training: False gives x unchanged.
        inplace: write the result over x; where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        ValueError: p is outside [0, 1], or other numbers of axes.

    >>> import xpnet, xpnet.functional as F
    >>> F.dropout2d(xpnet.asarray([[[[1.0, 2.0]]]]), training=False)
    array([[[[1., 2.]]]], dtype=float32)
    """
    return _channels("dropout2d", x, p, training, inplace, {3: 2, 4: 2})


@takes_input
def dropout3d(x: Array | Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of volumes.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        p: the probability of *dropping* a channel.
        training: False gives x unchanged.
        inplace: write the result over x; where gradients are recorded, x stays as it is: use the result.

    Returns:
        The shape of x.

    Raises:
        ValueError: p is outside [0, 1], or other numbers of axes.

    >>> import xpnet, xpnet.functional as F
    >>> F.dropout3d(xpnet.asarray([[[[[1.0, 2.0]]]]]), training=False)
    array([[[[[1., 2.]]]]], dtype=float32)
    """
    return _channels("dropout3d", x, p, training, inplace, {4: 1, 5: 2})


def drop_path(
    x: Array | Tensor, drop_prob: float = 0.0, training: bool = False, scale_by_keep: bool = True
) -> Tensor:
    """Stochastic depth: the branch of a sample is dropped as a whole (Huang et al., 2016).

    Args:
        x: (N, ...), what a branch adds.
        drop_prob: the probability of *dropping* a sample.
        training: False gives x unchanged.
        scale_by_keep: multiply the others by 1 / (1 - drop_prob).

    Returns:
        The shape of x.

    Raises:
        ValueError: drop_prob is outside [0, 1], or there is no axis of samples.

    >>> import xpnet, xpnet.functional as F
    >>> F.drop_path(xpnet.asarray([[1.0, 2.0]]), 0.5)
    array([[1., 2.]], dtype=float32)
    """
    if not 0 <= drop_prob <= 1:
        raise ValueError(f"drop_path: drop_prob is the probability of dropping, in [0, 1], got {drop_prob}")
    if not x.ndim:
        raise ValueError("drop_path: expected x of shape (N, ...), got ()")
    floating("drop_path", x)
    if not training or drop_prob == 0:
        return x
    key = random.generators[random.DROPOUT].next_key()
    factor = 1 / (1 - drop_prob) if scale_by_keep and drop_prob < 1 else 1.0
    return dropped(x, drop_prob, key, 1, factor)
