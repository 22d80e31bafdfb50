"""What a convolution sees beyond the ends of its input, if that is not zeros."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.functional.images import same_widths

MODES = ("zeros", "reflect", "replicate", "circular")


def padding_mode(layer: str, mode: str) -> str:
    """The mode.

    Raises:
        ValueError: no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"{layer}: padding_mode must be one of {', '.join(MODES)}, got {mode!r}")
    return mode


def sides(layer: Any) -> list[tuple[int, int]]:
    """How much a layer adds before and after each axis."""
    axes = len(layer.kernel_size)
    along = lambda value: (value,) * axes if isinstance(value, int) else value
    if layer.padding == "same":
        return same_widths(layer.kernel_size, along(layer.dilation))
    return [(p, p) for p in along(0 if layer.padding == "valid" else layer.padding)]


def extended(layer: Any, x: Any) -> tuple[Any, Any]:
    """The input with what lies beyond its ends, and the padding that is left: zeros are the op's own."""
    if layer.padding_mode == "zeros":
        return x, layer.padding
    widths = [width for ends in reversed(sides(layer)) for width in ends]  # `F.pad` begins with the last axis
    return F.pad(x, widths, layer.padding_mode), 0
