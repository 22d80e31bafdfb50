"""Modules made of modules."""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from operator import index as as_integer
from typing import Any, Self

from xpnet import functional as F
from xpnet.core.operators import add
from xpnet.core.registry import is_enabled
from xpnet.core.structure import flip
from xpnet.nn import fuse
from xpnet.nn.activation import ReLU
from xpnet.nn.module import Layer, Module
from xpnet.nn.normalization import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d


class Identity(Layer):
    """Its input, unchanged; takes and ignores any arguments, to stand in for another layer.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Identity()(xpnet.asarray([1.0, 2.0]))
    array([1., 2.], dtype=float32)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        """The input."""
        return x


class _Row(Module):
    """Modules in a row, `layers`; their names are their numbers unless they were given others."""

    layers: list[Module]
    _names: list[str | None]

    def __init__(self, layers: Iterable[Any], names: Iterable[str | None] | None = None) -> None:
        layers = list(layers)
        for i, layer in enumerate(layers):
            self._check(layer, f"element {i}")
        self.layers = layers
        if names is not None:
            self._names = list(names)

    def _check(self, layer: Any, what: str) -> Module:
        if not isinstance(layer, Module):
            raise TypeError(f"{type(self).__name__}: {what} is {type(layer).__name__}, expected a Module")
        return layer

    def _name(self, i: int) -> str:
        names = vars(self).get("_names", ())
        return (names[i] if i < len(names) else None) or str(i)

    def _children(self) -> Iterator[tuple[str, Any]]:
        for name, child in super()._children():
            number = name.removeprefix("layers.")
            yield (self._name(int(number)) if number != name else name), child

    def __getattr__(self, name: str) -> Any:
        names = vars(self).get("_names", ())
        if name in names:
            return self.layers[names.index(name)]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        names = vars(self).get("_names", ())
        if isinstance(value, Module) and name in names:
            self[names.index(name)] = value
        else:
            super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __contains__(self, module: object) -> bool:
        return any(module is layer for layer in self.layers)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.layers[index]
        names = [self._name(i) for i in range(*index.indices(len(self)))] if "_names" in vars(self) else None
        part = type(self).__new__(type(self))
        _Row.__init__(part, self.layers[index], names)
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        layers = list(self.layers)
        layers[as_integer(index)] = self._check(module, f"element {index}")
        self.layers = layers

    def __delitem__(self, index: Any) -> None:
        del self.layers[index]
        if "_names" in vars(self):
            del self._names[index]

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before position `index`; returns the container."""
        layers = list(self.layers)
        layers.insert(index, self._check(module, f"element {index}"))
        self.layers = layers
        if "_names" in vars(self):
            self._names.insert(index, None)
        return self

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        return self.insert(len(self.layers), module)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out."""
        module = self.layers[index]
        del self[index]
        return module

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module with a name at the end, or put it in the place of the one with that name."""
        layer = self._check(module, f"element {name!r}")
        taken = [self._name(i) for i in range(len(self))]
        if name in taken:
            self[taken.index(name)] = layer
            return
        names = list(vars(self).get("_names", [None] * len(self)))
        self.append(layer)
        self._names = [*names, name]

    register_module = add_module


class Sequential(_Row, Layer):
    """Layers applied one after the other.

    Args:
        *layers: modules, one list of modules, or one dict of modules by name.

    >>> from xpnet import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (0): Linear(2, 3)
      (1): ReLU()
    )
    >>> model = nn.Sequential({"hidden": nn.Linear(2, 3), "act": nn.ReLU()})
    >>> model.hidden, [name for name, _ in model.named_parameters()]
    (Linear(2, 3), ['hidden.weight', 'hidden.bias'])
    """

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            for name in layers[0]:
                if not isinstance(name, str) or not name or "." in name:
                    raise ValueError(f"Sequential: a name is a string without dots, got {name!r}")
            super().__init__(layers[0].values(), layers[0])
            return
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            layers = tuple(layers[0])
        super().__init__(layers)

    def forward(self, x: Any) -> Any:
        """The last layer's output."""
        return fuse.row(self.layers, x)


class ModuleList(_Row):
    """A list of modules, to be used in `forward` of the module that holds it.

    >>> from xpnet import nn
    >>> blocks = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> len(blocks.append(nn.ReLU())), blocks[-1]
    (4, ReLU())
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__(() if modules is None else modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)


class _Named(Module):
    """Parts by name, `named`, which are attributes, too."""

    _kind: type = Module
    named: dict[str, Any]

    def _children(self) -> Iterator[tuple[str, Any]]:
        return ((name.removeprefix("named."), child) for name, child in super()._children())

    def _check(self, name: str, part: Any) -> Any:
        who = type(self).__name__
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{who}: a name is a string without dots, got {name!r}")
        if not isinstance(part, self._kind):
            raise TypeError(f"{who}: {name!r} is {type(part).__name__}, expected a {self._kind.__name__}")
        return part

    def __getattr__(self, name: str) -> Any:
        if name in vars(self).get("named", ()):
            return self.named[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        known = name in vars(self).get("named", ()) and not hasattr(type(self), name)
        if known or (isinstance(value, self._kind) and "named" in vars(self)):
            self[name] = value
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in vars(self).get("named", ()):
            del self[name]
        else:
            super().__delattr__(name)

    def __getitem__(self, name: str) -> Any:
        return self.named[name]

    def __setitem__(self, name: str, part: Any) -> None:
        self.named = {**self.named, name: self._check(name, part)}

    def __delitem__(self, name: str) -> None:
        del self.named[name]

    def __len__(self) -> int:
        return len(self.named)

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def __contains__(self, name: object) -> bool:
        return name in self.named

    def keys(self) -> KeysView[str]:
        """The names."""
        return self.named.keys()

    def values(self) -> ValuesView[Any]:
        """The parts."""
        return self.named.values()

    def items(self) -> ItemsView[str, Any]:
        """(name, part) pairs."""
        return self.named.items()

    def update(self, parts: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parts, or replace those of the same names."""
        for name, part in parts.items() if hasattr(parts, "items") else parts:
            self[name] = part

    def pop(self, name: str) -> Any:
        """Take a part out."""
        return self.named.pop(name)

    def clear(self) -> None:
        """Take all parts out."""
        self.named = {}


class ModuleDict(_Named):
    """Modules by name, to be used in `forward` of the module that holds it.

    They are attributes, too, but for those that are called like one of its own, as `keys` is.

    >>> from xpnet import nn
    >>> heads = nn.ModuleDict({"left": nn.Linear(2, 1), "right": nn.Linear(2, 1, bias=False)})
    >>> heads.left is heads["left"]
    True
    >>> [name for name, _ in heads.named_parameters()]
    ['left.weight', 'left.bias', 'right.weight']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        self.named = {}
        self.update({} if modules is None else modules)


class Residual(Layer):
    """x + body(x), or shortcut(x) + body(x) (He et al., 2016).

    Args:
        body: a module that keeps the shape, or has the shape of `shortcut`'s output.
        shortcut: a module for the other branch; default: the identity.

    Raises:
        ValueError: when it is called, the branches have different shapes.

    >>> import xpnet
    >>> from xpnet import nn
    >>> nn.Residual(nn.ReLU())(xpnet.asarray([-1.0, 2.0]))
    array([-1.,  4.], dtype=float32)
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        for name, branch in (("body", body), ("shortcut", shortcut)):
            if not isinstance(branch, Module) and (branch is not None or name == "body"):
                raise TypeError(f"Residual: {name} is {type(branch).__name__}, expected a Module")
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        """The sum of both branches."""
        return self._with_norm(x) if self._ends_in_norm() and is_enabled() else self._sum(x, self.body(x))

    def _sum(self, x: Any, y: Any, norm: BatchNorm | None = None, relu: bool = False) -> Any:
        x = x if self.shortcut is None else self.shortcut(x)
        if tuple(x.shape) != tuple(y.shape):
            raise ValueError(
                f"Residual: body gives {tuple(y.shape)}, the other branch {tuple(x.shape)}; "
                "pass a shortcut that maps one to the other"
            )
        if norm is None:
            return add(x, y)  # x + y would leave the sum to an array x, which may not know Tensors
        arguments: Any = (*norm.arguments(y), x, relu)
        return F.batch_norm_relu(*arguments)

    def _ends_in_norm(self) -> bool:
        """Whether the body is a row whose last layer is batch norm, which can add the other branch."""
        body = self.body
        if type(body) is not Sequential or not body.layers or not fuse.unseen(body):
            return False
        last = body.layers[-1]
        if self.shortcut is not None and any(last is layer for layer in self.shortcut.modules()):
            return False  # its statistics would move in another order
        return type(last) in (BatchNorm1d, BatchNorm2d, BatchNorm3d) and fuse.unseen(last)

    def _with_norm(self, x: Any, relu: bool = False) -> Any:
        layers: Any = vars(self.body)["layers"]
        return self._sum(x, fuse.row(layers[:-1], x), layers[-1], relu)


@fuse.joins(Residual)
def _then_relu(block: Residual, following: Module, x: Any) -> Any:
    if type(following) is not ReLU or not block._ends_in_norm():
        return None
    return block._with_norm(x, relu=True)


class Average(Module):
    """The mean of what several networks give: an ensemble as one network.

    Args:
        layers: the networks, each of (N, ...) -> (N, C).
        probabilities: whether their outputs are scores of classes; then it gives the logarithm of the mean
            of the probabilities, which are scores again.

    Raises:
        ValueError: there are none.

    >>> import xpnet
    >>> from xpnet import nn
    >>> members = [nn.Linear(1, 1), nn.Linear(1, 1)]
    >>> for member, value in zip(members, (1.0, 3.0)):
    ...     member.theta[...] = value
    >>> nn.Average(*members)(xpnet.asarray([[2.0]])).tolist()
    [[6.0]]
    """

    def __init__(self, *layers: Module, probabilities: bool = False) -> None:
        if not layers:
            raise ValueError("Average: no networks")
        self.layers, self.probabilities = list(layers), probabilities

    def forward(self, x: Any) -> Any:
        """(N, ...) -> (N, C)."""
        return mean_of([layer(x) for layer in self.layers], self.probabilities)


class Mirrored(Module):
    """What a network says of pictures and of their mirror images together: test-time augmentation.

    Args:
        module: of (N, C, H, W) -> (N, classes), scores.

    Gives the logarithm of the mean of the probabilities, which are scores again. For pictures whose class
    stays when left and right are exchanged. Meant for a trained network: it takes twice the time.

    Source: Krizhevsky et al., 2012, section 4.1; decks S3, S5.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> model = nn.Mirrored(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)))
    >>> x = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    >>> np.allclose(model(x), model(x[..., ::-1]))
    True
    """

    def __init__(self, module: Module) -> None:
        self.module = module

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, classes)."""
        return mean_of([self.module(x), self.module(flip(x, axis=-1))], probabilities=True)


def mean_of(outputs: Sequence[Any], probabilities: bool) -> Any:
    """The mean; or log mean_k p_k, by log(a + b) = log a + softplus(log b - log a), which is never log 0."""
    total: Any = F.log_softmax(outputs[0]) if probabilities else outputs[0]
    for output in outputs[1:]:
        total = total + (F.softplus(F.log_softmax(output) - total) if probabilities else output)
    return total - math.log(len(outputs)) if probabilities else total / len(outputs)
