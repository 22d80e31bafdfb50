"""An ONNX graph that grows layer by layer, and the registry of what each layer becomes in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import to_numpy


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


Translator = Callable[["Graph", Any, Value], str]
_TRANSLATORS: dict[type, Translator] = {}


def translates(*kinds: type) -> Callable[[Translator], Translator]:
    """Register what layers of exactly these classes become: `f(graph, layer, x)` gives the output's name.

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


def refuse(why: str) -> Callable[..., None]:
    """Say of layers of certain classes why ONNX cannot have them."""

    def register(*kinds: type) -> None:
        def refused(graph: Graph, layer: Any, x: Value) -> str:
            raise TypeError(f"ONNX: {graph.path} cannot be exported: {why}")

        translates(*kinds)(refused)

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
        name = self._name(op)
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

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

    def apply(self, layer: Any, x: Value, name: str = "") -> Value:
        """Add what a layer becomes.

        Raises:
            TypeError: nobody has said what that is.
        """
        kind = type(layer)
        self._path.append(f"{name}:{kind.__name__}" if name else kind.__name__)
        if kind not in _TRANSLATORS:
            raise TypeError(
                f"ONNX: {'/'.join(self._path)} is not a layer of xpnet; say what it becomes with "
                f"@xpnet.onnx.translates({kind.__name__})"
            )
        output = _TRANSLATORS[kind](self, layer, x)
        self._path.pop()
        function = layer.transform if hasattr(layer, "transform") else layer
        result = function(x.example)
        return Value(output, getattr(result, "data", result) if hasattr(result, "backward") else result)
