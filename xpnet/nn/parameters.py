"""Parameters in a list, or by name, with PyTorch's names in the state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from operator import index as as_integer
from typing import Any, Self

from xpnet.nn.container import _Named
from xpnet.nn.module import Module
from xpnet.nn.parameter import Parameter


def _parameter(who: str, name: object, value: Any) -> Parameter:
    """A parameter, made of a Tensor or an array that is none yet."""
    if isinstance(value, Parameter):
        return value
    if not hasattr(value, "dtype"):
        raise TypeError(
            f"{who}: {name!r} is {type(value).__name__}, expected a Parameter, a Tensor or an array"
        )
    return Parameter(value)


class ParameterList(Module):
    """A list of parameters, to be used in `forward` of the module that holds it.

    Args:
        values: Parameters; Tensors and arrays become some.

    Raises:
        TypeError: something else.

    >>> import xpnet
    >>> from xpnet import nn
    >>> scales = nn.ParameterList([xpnet.asarray([1.0, 2.0]) for _ in range(3)])
    >>> [name for name, _ in scales.named_parameters()], scales[-1].shape
    (['0', '1', '2'], (2,))
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.held: list[Parameter] = []
        self.extend(() if values is None else values)

    def _children(self) -> Iterator[tuple[str, Any]]:
        return ((name.removeprefix("held."), child) for name, child in super()._children())

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.held)

    def __getitem__(self, index: Any) -> Any:
        found = self.held[index]
        return ParameterList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, value: Any) -> None:
        held = list(self.held)
        held[as_integer(index)] = _parameter("ParameterList", index, value)
        self.held = held

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end; returns the list."""
        return self.extend([value])

    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end; returns the list."""
        more = [_parameter("ParameterList", len(self.held) + i, v) for i, v in enumerate(values)]
        self.held = [*self.held, *more]
        return self


class ParameterDict(_Named):
    """Parameters by name, to be used in `forward` of the module that holds it.

    Args:
        parameters: Parameters by name, those of a plain dict in alphabetical order, as in PyTorch; or pairs.
            Tensors and arrays become Parameters.

    Raises:
        KeyError: a name is no string, or has a dot.
        TypeError: a value is something else.

    >>> import xpnet
    >>> from xpnet import nn
    >>> table = nn.ParameterDict({"scale": xpnet.asarray([1.0]), "bias": xpnet.asarray([0.0])})
    >>> [name for name, _ in table.named_parameters()], table.bias is table["bias"]
    (['bias', 'scale'], True)
    """

    _kind = Parameter

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self.named = {}
        self.update({} if parameters is None else parameters)

    def _check(self, name: str, part: Any) -> Any:
        return super()._check(name, _parameter("ParameterDict", name, part))

    def update(self, parts: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parameters, or replace those of the same names; those of a plain dict by the alphabet."""
        plain = isinstance(parts, Mapping) and not isinstance(parts, OrderedDict)
        super().update(sorted(dict(parts).items()) if plain else parts)

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter of a name, or the default."""
        return self.named.get(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The parameter of a name, which becomes the default if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def copy(self) -> ParameterDict:
        """Another one of the same parameters."""
        return ParameterDict(self.items())
