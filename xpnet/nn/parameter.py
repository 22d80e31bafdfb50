"""Parameters and buffers: the Tensors that belong to a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.node import Node
from xpnet.core.places import namespace
from xpnet.core.tensor import Tensor, differentiable_numbers


class Buffer(Tensor):
    """State that is saved and moved with a model but not trained, such as running statistics.

    Args:
        data: a Tensor or an array.
        persistent: whether it is in the state that is saved.
    """

    __slots__ = ("persistent",)
    _part = True
    on_host = False

    def __init__(self, data: Any, *, persistent: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else _own(data))
        self.persistent = persistent

    def __reduce__(self) -> Any:
        values = namespace(self.data).asarray(self.data, copy=True)
        return _restore_buffer, (type(self), values, self.persistent)


class HostBuffer(Buffer):
    """A buffer that the host reads, a NumPy array that stays where it is when a model is moved."""

    __slots__ = ()
    on_host = True

    def __init__(self, data: Any, *, persistent: bool = True) -> None:
        super().__init__(Tensor(np.array(to_numpy(data))), persistent=persistent)


def _own(data: Any) -> Array:
    """An array of our own: a parameter is changed in place, an array that somebody has must not be."""
    array = asarray(data)
    return namespace(array).asarray(array, copy=True) if hasattr(data, "dtype") else array


def _restore_buffer(kind: type[Buffer], values: Array, persistent: bool) -> Buffer:
    return kind(Tensor(values), persistent=persistent)


class Parameter(Tensor):
    """A trained Tensor. `data` and `grad` are views into the model's vectors: see `xpnet.nn.flat`.

    `grad` is None until `backward` reaches the parameter and again after `zero_grad`. Assigning to `data`
    copies the values into the vector. A copy or a pickle stands alone, without the vector.
    """

    __slots__ = ()
    _part = True

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else _own(data), requires_grad)
        if requires_grad:
            differentiable_numbers(type(self).__name__, self._data)

    def _assign(self, value: Array) -> None:
        """Set `data`: the view stays, or the vector would no longer hold the parameter."""
        if getattr(self, "_flat", None) is None:
            Node.data.fset(self, value)  # type: ignore[attr-defined]
            return
        view = self.data
        if tuple(value.shape) != tuple(view.shape) or value.dtype != view.dtype:
            raise ValueError(
                f"parameter.data: expected shape {tuple(view.shape)} and dtype {view.dtype}, "
                f"got {tuple(value.shape)} and {value.dtype}"
            )
        if value is not view:
            view[...] = value

    data = property(Node.data.fget, _assign)  # type: ignore[attr-defined]
