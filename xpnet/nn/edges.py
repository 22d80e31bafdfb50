"""What a convolution sees beyond the ends of its input, if that is not zeros."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F

MODES = ("zeros", "reflect", "replicate", "circular")


def padding_mode(layer: str, mode: str) -> str:
    """The mode.

    Raises:
        ValueError: no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"{layer}: padding_mode must be one of {', '.join(MODES)}, got {mode!r}")
    return mode


def widths(layer: Any) -> tuple[int, ...]:
    """How much a layer adds before and after the last axis, then the one before it: as `F.pad` takes them."""
    axes = len(layer.kernel_size)
    along = lambda value: (value,) * axes if isinstance(value, int) else value
    if layer.padding == "same":
        reach = [d * (k - 1) for d, k in zip(along(layer.dilation), layer.kernel_size, strict=True)]
        sides = [(r // 2, r - r // 2) for r in reach]
    else:
        sides = [(p, p) for p in along(0 if layer.padding == "valid" else layer.padding)]
    return tuple(side for pair in reversed(sides) for side in pair)


def extended(layer: Any, x: Any) -> tuple[Any, Any]:
    """The input with what lies beyond its ends, and the padding that is left: zeros are the op's own."""
    if layer.padding_mode == "zeros":
        return x, layer.padding
    return F.pad(x, widths(layer), layer.padding_mode), 0
