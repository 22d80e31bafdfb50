"""More elements at the ends of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet.core.arrays import pad as padded
from xpnet.core.arrays import unpad
from xpnet.core.backend import Array
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.operators import getitem
from xpnet.core.renamed import takes_input
from xpnet.core.tensor import Tensor

MODES = ("constant", "reflect", "replicate", "circular")


@differentiable(forward="transposed")
def constant_pad(x: Array, widths: Any, value: float = 0.0) -> tuple[Array, Pullback]:
    """x with `before, after` elements of a value on each axis; the gradient is that of the inside."""
    widths = list(widths)
    return padded(x, widths, value), lambda dy: unpad(dy, widths)


@takes_input
def pad(x: Array | Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with more elements at the ends of its last axes, or fewer.

    Args:
        x: any shape.
        pad: (before, after) of the last axis, then of the one before it, and so on; negative ones take away.
        mode: "constant"; "reflect", mirrored without the end itself; "replicate", the end again; "circular".
        value: of a constant; default 0.

    Returns:
        x with both widths added to each of these axes.

    Raises:
        ValueError: an odd number of widths or too many, more than there is to mirror or to take away, or
            another mode.

    >>> import xpnet, xpnet.functional as F
    >>> x = xpnet.asarray([1.0, 2.0, 3.0])
    >>> F.pad(x, (1, 2)), F.pad(x, (2, 1), "reflect")
    (array([0., 1., 2., 3., 0., 0.], dtype=float32), array([3., 2., 1., 2., 3., 2.], dtype=float32))
    """
    sides = [int(p) for p in pad]
    if len(sides) % 2 or len(sides) > 2 * x.ndim:
        raise ValueError(f"pad: expected (before, after) of at most {x.ndim} axes, got {tuple(pad)}")
    pairs = list(zip(sides[::2], sides[1::2], strict=True))
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(MODES)}, got {mode!r}")
    if mode != "constant" and value is not None:
        raise ValueError(f"pad: mode {mode!r} takes no value")
    _check(mode, pairs, tuple(x.shape))
    if mode == "constant":
        return _constant(x, pairs, 0.0 if value is None else value)
    for i, (before, after) in enumerate(pairs):
        n = x.shape[-1 - i]
        if before or after:
            there: Any = places(mode, n, before, after) or slice(0)
            x = getitem(x, (..., there, *(slice(None),) * i))
    return x


def _check(mode: str, pairs: list[tuple[int, int]], shape: tuple[int, ...]) -> None:
    """Refuse widths that leave less than nothing, or nothing whose ends could be mirrored or repeated."""
    mirrored = mode in ("reflect", "replicate")
    for i, (before, after) in enumerate(pairs):
        n = shape[-1 - i]
        cut = n - max(-before, 0) - max(-after, 0)
        less = n + before + after < 0 if mirrored else cut < 0
        if less or (not n and mode != "constant" and (mirrored or before or after)):
            raise ValueError(f"pad: {before, after} does not fit axis {-1 - i} of shape {shape}")
    if mirrored and pairs and not any(shape[-1 - i] + sum(pair) for i, pair in enumerate(pairs)):
        raise ValueError(
            f"pad: {', '.join(map(str, pairs))} with mode {mode!r} leaves nothing of shape {shape}"
        )


def _constant(x: Any, pairs: list[tuple[int, int]], value: float) -> Any:
    lead = x.ndim - len(pairs)
    cut = [slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(pairs[::-1], x.shape[lead:], strict=True)]
    if any(min(p) < 0 for p in pairs):
        x = getitem(x, (*(slice(None),) * lead, *cut))
    widths = [(0, 0)] * lead + [(max(b, 0), max(a, 0)) for b, a in pairs[::-1]]
    return constant_pad(x, tuple(widths), value)


def places(mode: str, n: int, before: int, after: int) -> list[int]:
    """Which of the n elements of an axis stand on the padded one, of a mode that is not constant."""
    if mode != "circular":
        return [_place(mode, k, n) for k in range(-before, n + after)]
    start, stop = max(-before, 0), n - max(-after, 0)  # what is cut off does not come round
    around = range(-max(before, 0), stop - start + max(after, 0))
    return [start + _place(mode, k, stop - start) for k in around]


def _place(mode: str, k: int, n: int) -> int:
    """Which of n elements is at place k, which may lie outside."""
    if mode == "replicate":
        return min(max(k, 0), n - 1)
    if not (-n if mode == "circular" else 1 - n) <= k < (2 * n if mode == "circular" else 2 * n - 1):
        raise ValueError(f"pad: mode {mode!r} has no element {k} of {n}: pad by less")
    if mode == "circular":
        return k % n
    return abs(k) if k < n else 2 * (n - 1) - k
