"""Neighbours that one op computes: Linear and its activation, batch norm and ReLU, with a sum between them.

Names, parameters and hooks stay those of the layers. So do the results: the op's body is made of theirs, to
the bit; a kernel of a pair rounds 16-bit numbers once instead of twice. A layer takes part if nobody could
tell the difference: it is of the class itself (a subclass may compute something else), has no hooks, and its
`forward` has not been replaced. With `xpnet.fused(False)` every layer runs on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xpnet.core.backend import DeviceError
from xpnet.core.registry import is_enabled
from xpnet.nn.module import Module

Run = Callable[[Any], Any]
JOINED: dict[type, Callable[[Any, Module], Run | None]] = {}
"""By the class of a layer: what computes it and the layer that follows, or None."""


def joins(kind: type) -> Callable[[Callable[[Any, Module], Run | None]], Callable[[Any, Module], Run | None]]:
    """Register a function of a layer of this class and the one that follows."""

    def register(join: Callable[[Any, Module], Run | None]) -> Callable[[Any, Module], Run | None]:
        JOINED[kind] = join
        return join

    return register


def unseen(layer: Module) -> bool:
    """Whether nobody looks at what goes in or out of a layer, and `forward` is that of its class."""
    return not layer._forward_hooks and "forward" not in layer.__dict__


def row(layers: Sequence[Module], x: Any) -> Any:
    """The layers one after the other, neighbours that can be at once."""
    i, n, fused = 0, len(layers), is_enabled()
    while i < n:
        layer = layers[i]
        i += 1
        join = JOINED.get(type(layer)) if fused and i < n else None
        if join is not None and unseen(layer) and unseen(layers[i]):
            run = join(layer, layers[i])
            if run is not None:
                try:
                    x = run(x)
                except DeviceError:
                    layer(x)  # says which parameter is elsewhere
                    raise
                i += 1
                continue
        x = layer(x)
    return x
