"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xpnet.nn.module import Module
from xpnet.operators import add


class Sequential(Module):
    """Layers applied one after the other.

    Args:
        *layers: modules, or one list of modules.

    >>> from xpnet import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (0): Linear(2, 3)
      (1): ReLU()
    )
    """

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            layers = tuple(layers[0])
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: element {i} is {type(layer).__name__}, expected a Module")
        self.layers = list(layers)

    def _children(self) -> Iterator[tuple[str, Any]]:
        return ((name.removeprefix("layers."), child) for name, child in super()._children())

    def forward(self, x: Any) -> Any:
        """The last layer's output."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)


class Residual(Module):
    """x + body(x), or shortcut(x) + body(x) (He et al., 2016).

    Args:
        body: a module that keeps the shape, or has the shape of `shortcut`'s output.
        shortcut: a module for the other branch; default: the identity.
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        """The sum of both branches."""
        y = self.body(x)
        x = x if self.shortcut is None else self.shortcut(x)
        if tuple(x.shape) != tuple(y.shape):
            raise ValueError(
                f"Residual: body gives {tuple(y.shape)}, the other branch {tuple(x.shape)}; "
                "pass a shortcut that maps one to the other"
            )
        return add(x, y)  # x + y would leave the sum to an array x, which may not know Tensors
