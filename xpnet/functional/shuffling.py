"""Channels that become pixels, and the opposite."""

from __future__ import annotations

from xpnet.core.backend import Array
from xpnet.core.operators import reshape, transpose
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor


@takes_input
def pixel_shuffle(x: Array | Tensor, upscale_factor: int) -> Tensor:
    """r^2 channels become an image r times as high and wide (Shi et al., 2016).

    Args:
        x: (..., C r^2, H, W).
        upscale_factor: r.

    Returns:
        (..., C, r H, r W).

    Raises:
        ValueError: r^2 does not divide the channels.

    >>> import xpnet, xpnet.functional as F
    >>> F.pixel_shuffle(xpnet.asarray([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2)
    array([[[1., 2.],
            [3., 4.]]], dtype=float32)
    """
    r, lead = upscale_factor, tuple(x.shape[:-3])
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: {tuple(x.shape)} has no multiple of {r}^2 channels, (..., C, H, W)")
    c, h, w = x.shape[-3] // (r * r), x.shape[-2], x.shape[-1]
    n = len(lead)
    y = transpose(reshape(x, (*lead, c, r, r, h, w)), (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshape(y, (*lead, c, h * r, w * r))


@takes_input
def pixel_unshuffle(x: Array | Tensor, downscale_factor: int) -> Tensor:
    """The opposite of `pixel_shuffle`: an image becomes r^2 channels of 1/r its height and width.

    Args:
        x: (..., C, r H, r W).
        downscale_factor: r.

    Returns:
        (..., C r^2, H, W).

    Raises:
        ValueError: r does not divide height and width.

    >>> import xpnet, xpnet.functional as F
    >>> F.pixel_unshuffle(xpnet.asarray([[[1.0, 2.0], [3.0, 4.0]]]), 2)[:, 0, 0]
    array([1., 2., 3., 4.], dtype=float32)
    """
    r, lead = downscale_factor, tuple(x.shape[:-3])
    if x.ndim < 3 or r < 1 or x.shape[-2] % r or x.shape[-1] % r:
        raise ValueError(f"pixel_unshuffle: {r} does not divide the height and width of {tuple(x.shape)}")
    c, h, w = x.shape[-3], x.shape[-2] // r, x.shape[-1] // r
    n = len(lead)
    y = transpose(reshape(x, (*lead, c, h, r, w, r)), (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshape(y, (*lead, c * r * r, h, w))
