"""Root mean square normalisation."""

from __future__ import annotations

from xpnet.core.arrays import floating, widen
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import namespace
from xpnet.functional.normalization import _affine, _check_shapes


@differentiable
def rms_norm(
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    eps: float | None = None,
) -> tuple[Array, Pullback]:
    """y = weight x / sqrt(mean(x^2) + eps) over the last axes (Zhang & Sennrich, 2019).

    Args:
        x: (..., *normalized_shape).
        normalized_shape: the sizes of the last axes, or of the last one.
        weight: shape `normalized_shape`, or None.
        eps: added to the mean square; default: the smallest step at 1 of the dtype that sums are made in.

    Returns:
        The shape of x.

    Raises:
        ValueError: x does not end in `normalized_shape`.
        TypeError: x is not of floats.

    >>> import xpnet, xpnet.functional as F
    >>> F.rms_norm(xpnet.asarray([[3.0, 3.0], [0.0, 0.0]]), 2)
    array([[1., 1.],
           [0., 0.]], dtype=float32)
    """
    xp = namespace(x, weight)
    wide = widen(floating("rms_norm", x))
    tail = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not tail or tuple(x.shape[x.ndim - len(tail) :]) != tail:
        raise ValueError(f"rms_norm: expected an input ending in {tail}, got {tuple(x.shape)}")
    _check_shapes("rms_norm", x, tail, {"weight": weight})
    lead = tuple(range(x.ndim - len(tail)))
    axes = tuple(range(len(lead), x.ndim))
    eps = float(xp.finfo(wide.dtype).eps) if eps is None else eps
    inverse = 1 / xp.sqrt(xp.mean(wide * wide, axis=axes, keepdims=True) + eps)
    normal = wide * inverse

    def to_input(dy: Array) -> Array:
        return inverse * (dy - normal * xp.mean(dy * normal, axis=axes, keepdims=True))

    y, pullback = _affine(xp, x, normal, weight, None, lead, to_input)

    def positions(dy: Array) -> tuple[Array | None, ...]:
        dx, dweight, _ = pullback(dy)
        return dx, None, dweight

    return y, positions
