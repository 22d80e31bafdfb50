"""Neighbours that one op computes: Linear and its activation, batch norm and ReLU, with a sum between them.

Names, parameters and hooks stay those of the layers. So do the results: the op's body is made of theirs, to
the bit; a kernel of a pair rounds 16-bit numbers once instead of twice. A layer takes part if nobody could
tell the difference: it is of the class itself (a subclass may compute something else), has no hooks, and its
`forward` has not been replaced. With `xpnet.fused(False)` every layer runs on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy import ndarray

from xpnet.core.backend import DeviceError
from xpnet.core.registry import is_enabled
from xpnet.core.tensor import array_of
from xpnet.nn.module import Module

Join = Callable[[Any, Module, Any], Any]
_SMALL = 1 << 14

JOINED: dict[type, Join] = {}
"""By the class of a layer: what gives its output after the layer that follows, or None if it cannot."""


def joins(kind: type) -> Callable[[Join], Join]:
    """Register a function of a layer of this class, the one that follows, and the input."""

    def register(join: Join) -> Join:
        JOINED[kind] = join
        return join

    return register


def unseen(layer: Module) -> bool:
    """Whether nobody looks at what goes in or out of a layer, and `forward` and weights are its own."""
    own = layer.__dict__
    return not layer._forward_hooks and "forward" not in own and "parametrizations" not in own


def row(layers: Sequence[Module], x: Any) -> Any:
    """The layers one after the other, neighbours that can be at once.

    On NumPy looking for pairs costs a small network more than it saves.
    """
    a = x if type(x) is ndarray else array_of(x)
    if (type(a) is ndarray and a.size < _SMALL) or not is_enabled():
        for layer in layers:
            x = layer(x)
        return x
    i, n = 0, len(layers)
    while i < n:
        layer = layers[i]
        i += 1
        join = JOINED.get(type(layer)) if i < n else None
        if join is not None and unseen(layer) and unseen(layers[i]):
            try:
                y = join(layer, layers[i], x)
            except DeviceError:
                layer(x)  # says which parameter is elsewhere
                raise
            if y is not None:
                x = y
                i += 1
                continue
        x = layer(x)
    return x
