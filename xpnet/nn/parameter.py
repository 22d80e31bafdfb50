"""Parameters and buffers: the Tensors that belong to a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import namespace
from xpnet.core.tensor import Tensor, differentiable_numbers


class Buffer(Tensor):
    """State that is saved and moved with a model but not trained, such as running statistics.

    Args:
        data: a Tensor or an array.
        persistent: whether it is in the state that is saved.

    Raises:
        TypeError: something in data is not a number.

    >>> import xpnet
    >>> from xpnet import nn
    >>> class Counter(nn.Module):
    ...     def __init__(self):
    ...         self.calls = nn.Buffer(xpnet.asarray([0.0]))
    ...     def forward(self, x):
    ...         self.calls.data += 1
    ...         return x
    >>> model = Counter()
    >>> _ = model(xpnet.asarray([1.0]))
    >>> model.state_dict()["calls"], list(model.parameters())
    (array([1.], dtype=float32), [])
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

    Args:
        data: its first values: a Tensor or an array of any shape, or nested numbers.
        requires_grad: False for one that is frozen.

    Raises:
        TypeError: something in data is not a number.
        ValueError: on assignment, values of another shape or dtype.

    >>> import xpnet
    >>> from xpnet import nn
    >>> scale = nn.Parameter(xpnet.asarray([2.0, 3.0]))
    >>> (scale * scale).sum().backward()
    >>> scale.grad
    array([4., 6.], dtype=float32)
    """

    __slots__ = ()
    _part = True

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else _own(data), requires_grad)
        if requires_grad:
            differentiable_numbers(type(self).__name__, self._data)
