"""An ONNX graph that grows layer by layer, and the registry of what each layer becomes in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import to_numpy
from xpnet.core.tensor import array_of


@dataclass(frozen=True)
class Value:
    """A value of the graph.

    Attributes:
        name: in the graph.
        example: an array of its dtype and, but for the number of samples on axis 0, its shape.
    """

    name: str
    example: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, with some number of samples on axis 0."""
        return tuple(self.example.shape)

    @property
    def dtype(self) -> np.dtype:
        """The dtype, in NumPy's terms."""
        return np.dtype(dtype_name(self.example.dtype))


@dataclass(frozen=True, init=False)
class Input:
    """A further input of a graph, for `inputs` of `export`.

    Attributes:
        shape: numbers, and "N" where there are as many as samples.
        dtype: of it; default: that of the model.

    >>> from xpnet.io.onnx import Input
    >>> Input("N", 5, dtype="bool").shape
    ('N', 5)
    """

    shape: tuple[int | str, ...]
    dtype: str | None

    def __init__(self, *shape: int | str, dtype: str | None = None) -> None:
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)


Translator = TypeVar("Translator", bound=Callable[..., "str | dict[str, str]"])
_TRANSLATORS: dict[type, Callable[..., str | dict[str, str]]] = {}


def translates(*kinds: type) -> Callable[[Translator], Translator]:
    """Register what layers of exactly these classes become: `f(graph, layer, x)` gives the output's name.

    A layer of several outputs gives a dict: what each is called, and its name in the graph. Further arguments
    are those of the layer's `forward`, by their names: Values, or what is constant.

    >>> from xpnet import nn
    >>> from xpnet.io.onnx import translates
    >>> class Square(nn.Module):
    ...     def forward(self, x):
    ...         return x * x
    >>> @translates(Square)
    ... def square(graph, layer, x):
    ...     return graph.add("Mul", x.name, x.name)
    """

    def register(translator: Translator) -> Translator:
        _TRANSLATORS.update(dict.fromkeys(kinds, translator))
        return translator

    return register


class Graph:
    """Nodes and constants in the order they were added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._path: list[str] = []
        self._count = 0

    @property
    def path(self) -> str:
        """Where the layer is that is being added."""
        return "/".join(self._path)

    def _name(self, kind: str) -> str:
        self._count += 1
        return "/".join([*self._path, f"{kind}.{self._count}"])

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, and give that output's name."""
        return self.add_several(op, 1, *inputs, **attributes)[0]

    def add_several(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node, and give the names of its first outputs."""
        name = self._name(op)
        names = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, **attributes))
        return names

    def constant(self, values: Any, dtype: Any) -> str:
        """Add a constant of that dtype, and give its name; Tensors and arrays of any backend will do."""
        name = self._name("constant")
        array = np.asarray(to_numpy(values), dtype=dtype, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def axes(self, *axes: int) -> str:
        """A constant list of axes or sizes."""
        return self.constant(np.array(axes), np.int64)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Add a reshape; 0 keeps an axis, -1 stands for the rest."""
        return self.add("Reshape", x, self.axes(*shape))

    def apply(self, layer: Any, x: Value, name: str = "", **more: Any) -> Value:
        """Add what a layer of one output becomes.

        Args:
            layer: of xpnet.nn, or one that `translates` knows.
            x: its input.
            name: of the layer.
            **more: further arguments of its `forward`, Values or constants.

        Raises:
            TypeError: nobody has said what that is, or it has several outputs.
        """
        found = self.apply_several(layer, x, name, **more)
        if len(found) > 1:
            path = "/".join([*self._path, f"{name}:{type(layer).__name__}" if name else type(layer).__name__])
            raise TypeError(f"ONNX: {path} gives several outputs, and a chain of layers has one")
        return next(iter(found.values()))

    def apply_several(self, layer: Any, x: Value, name: str = "", **more: Any) -> dict[str, Value]:
        """Likewise of a layer of one output, "output", or several."""
        kind = type(layer)
        self._path.append(f"{name}:{kind.__name__}" if name else kind.__name__)
        if kind not in _TRANSLATORS:
            raise TypeError(
                f"ONNX: {self.path} is not a layer of xpnet; say what it becomes with "
                f"@xpnet.onnx.translates({kind.__name__})"
            )
        translator = _TRANSLATORS[kind]
        try:
            signature(translator).bind(self, layer, x, **more)
        except TypeError as error:
            raise TypeError(
                f"ONNX: {self.path} cannot be exported: {error}; a model that is this layer alone is given "
                "further arguments by inputs={...}"
            ) from None
        names = translator(self, layer, x, **more)
        names = {"output": names} if isinstance(names, str) else names
        self._path.pop()
        function = layer.transform if hasattr(layer, "transform") else layer
        results = arrays_of(function(x.example, **{key: example_of(value) for key, value in more.items()}))
        return {key: Value(y, result) for (key, y), result in zip(names.items(), results, strict=True)}


def example_of(argument: Any) -> Any:
    """What a layer is called with: arrays for Values, also in tuples."""
    if isinstance(argument, tuple | list):
        return tuple(map(example_of, argument))
    return argument.example if isinstance(argument, Value) else argument


def arrays_of(result: Any) -> list[Array]:
    """The arrays of a result, without its tape."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in arrays_of(part)]
    return [] if result is None else [array_of(result)]
