"""Images whose channels lie side by side: of shape (N, C, H, W), in memory in the order N, H, W, C."""

from __future__ import annotations

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.cuda import loader


def is_channels_last(x: Array) -> bool:
    """Whether the channels of a pixel are next to each other; not where both orders are one."""
    if x.ndim != 4 or loader.is_contiguous(x):
        return False
    return loader.is_contiguous(x.transpose(0, 2, 3, 1))


def empty(shape: tuple[int, ...], x: Array, channels_last: bool) -> Array:
    """An array of the dtype of x, beside it."""
    if not channels_last:
        return loader.empty(x, shape, x.dtype)
    n, c, h, w = shape
    return loader.empty(x, (n, h, w, c), x.dtype).transpose(0, 3, 1, 2)


def ordered(x: Array, channels_last: bool) -> Array:
    """x, or a copy in the wanted order."""
    wanted = x.transpose(0, 2, 3, 1) if channels_last else x
    if loader.is_contiguous(wanted):
        return x
    made = empty(x.shape, x, channels_last)
    made[...] = x
    return made


def like(a: Array, x: Array) -> Array:
    """a, or a copy of it in the order of x, which is one of the two."""
    if loader.is_contiguous(x):
        return loader.contiguous(a)
    return ordered(a, True)


def dense(x: Array) -> Array:
    """x if it is in one of the two orders, else a copy in the usual one."""
    return x if loader.is_contiguous(x) or is_channels_last(x) else namespace(x).ascontiguousarray(x)
