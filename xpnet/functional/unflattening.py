"""One axis as several."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xpnet.core.backend import Array
from xpnet.core.operators import reshape
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor


@takes_input
def unflatten(x: Array | Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Several axes in place of one, the opposite of `flatten`: (N, C H W) -> (N, C, H, W).

    Args:
        x: any shape.
        dim: the axis.
        sizes: of the new axes; one of them may be -1, for what is left.

    Returns:
        The elements in the same order.

    Raises:
        ValueError: x does not have this axis, or the sizes do not make it up.

    >>> import xpnet, xpnet.functional as F
    >>> F.unflatten(xpnet.asarray([[1.0, 2.0, 3.0, 4.0]]), 1, (2, -1))
    array([[[1., 2.],
            [3., 4.]]], dtype=float32)
    """
    shape, sizes = tuple(x.shape), tuple(sizes)
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"unflatten: dim={dim} is not an axis of {shape}")
    dim, known = dim % len(shape), math.prod(n for n in sizes if n != -1)
    free = sizes.count(-1)
    whole = known and shape[dim] % known == 0 if free else shape[dim] == known
    if not sizes or min(sizes) < -1 or free > 1 or not whole:
        raise ValueError(f"unflatten: sizes {sizes} do not make up axis {dim} of {shape}")
    parts = tuple(shape[dim] // known if n == -1 else n for n in sizes)
    return reshape(x, (*shape[:dim], *parts, *shape[dim + 1 :]))
