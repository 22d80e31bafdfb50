"""In which order convolutions keep images: a property of a model, `model.to(memory_format=...)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xpnet.core.context import Setting, Within

FORMATS = ("contiguous_format", "channels_last")
_last: Setting[bool] = Setting("xpnet_channels_last", False)


def channels_last() -> Within[bool]:
    """Convolutions in the block would have the channels of a pixel side by side in memory."""
    return _last.within(True)


def is_channels_last_wanted() -> bool:
    """Whether that is so here."""
    return _last.get()


def set_format(layers: Iterable[Any], given: Any) -> None:
    """Set `memory_format` of those layers that have one.

    Args:
        layers: any.
        given: one of FORMATS, or PyTorch's object for it.

    Raises:
        ValueError: there is no such format.
    """
    name = str(given).removeprefix("torch.")
    if name not in FORMATS:
        raise ValueError(f"to(): memory_format must be one of {', '.join(FORMATS)}, got {given!r}")
    for layer in layers:
        if hasattr(layer, "memory_format"):
            layer.memory_format = name
