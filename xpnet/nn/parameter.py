"""Parameters and buffers, and the arena: all parameters of a model are one vector, theta.

The decks write theta = {W1, b1, ..., WL, bL}; so does the code. A step, a global norm, weight averaging, a
checkpoint and an all-reduce are each one operation on one array, whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xpnet.core.backend import (
    Array,
    Backend,
    asarray,
    backend_of,
    device_key,
    dtype_name,
    named_dtype,
    namespace,
    on_device,
    to_numpy,
)
from xpnet.core.node import LENT, Node
from xpnet.core.tensor import Tensor


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
    """A trained Tensor. In an arena, `data` and `grad` are views into the model's theta and gradient vector.

    `grad` is None until `backward` reaches the parameter and again after `zero_grad`. Assigning to `data`
    copies the values into the vector. A copy or a pickle stands alone, without the vector.
    """

    __slots__ = ()
    _part = True

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else _own(data), requires_grad)

    def _assign(self, value: Array) -> None:
        """Set `data`: in an arena the view stays, or theta would no longer hold the parameter."""
        if getattr(self, "_arena", None) is None:
            self._data = value
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


class Arena:
    """Parameters of one dtype on one device as views into one vector; their gradients into another.

    Attributes:
        parameters: in the order of the vector.
        theta: (n,) all values.
        grad: (n,) all gradients; stretches of parameters without a gradient hold leftover values.
        alive: False once another arena has taken the parameters over (a model moved, say).
    """

    def __init__(self, parameters: Sequence[Tensor], backend: Backend | None = None) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0].data
        backend = backend or backend_of(first)
        xp = backend.xp
        size = sum(p.size for p in self.parameters)
        dtype = named_dtype(dtype_name(first.dtype), backend)
        self.theta = xp.empty(size, dtype=dtype, device=backend.device)
        self.grad = xp.zeros(size, dtype=dtype, device=backend.device)
        self.alive = True
        with on_device(self.theta):
            self._take_over(backend)

    def _take_over(self, backend: Backend) -> None:
        xp, offset = backend.xp, 0
        for p in self.parameters:
            if p._arena is not None:
                p._arena.alive = False
            value, gradient = asarray(p.data, backend=backend), p.grad
            stop, shape = offset + p.size, tuple(p.shape)
            self.theta[offset:stop] = xp.reshape(value, (-1,))
            p._arena = None  # so that `data` takes the view itself
            p.data = xp.reshape(self.theta[offset:stop], shape)
            p._grad = xp.reshape(self.grad[offset:stop], shape)
            p._filled = 0
            p._arena, p._offset = self, offset
            if gradient is not None:
                p._accumulate(asarray(gradient, backend=backend))
            offset = stop

    def renew_gradients(self) -> None:
        """Other memory for the gradients: somebody has kept what they were."""
        xp = namespace(self.grad)
        self.grad = xp.asarray(self.grad, copy=True)
        for p in self.parameters:
            if p._arena is self:
                p._grad = xp.reshape(self.grad[p._offset : p._offset + p.size], tuple(p.shape))
                p._filled = min(p._filled, 1)


def forget_gradients(parameters: Iterable[Tensor], set_to_none: bool = True) -> None:
    """No gradients from here on, or zeros in those that there are."""
    if not set_to_none:
        for p in parameters:
            if p._grad is not None and p._filled:
                p._grad[...] = namespace(p.data).zeros_like(p.data)
        return
    for p in parameters:
        if p._filled == LENT:
            p._forget()
        else:
            p._filled = 0


def has_views(backend: Backend) -> bool:
    """Whether slicing and reshaping share memory on this backend; the arena needs both."""
    if backend.name not in _HAS_VIEWS:
        xp = backend.xp
        base = xp.zeros(4, device=backend.device)
        with on_device(base):
            view = xp.reshape(base[1:3], (1, 2))
            view[...] = xp.ones((1, 2), device=backend.device)
            _HAS_VIEWS[backend.name] = bool(base[1] == 1)
    return _HAS_VIEWS[backend.name]


_HAS_VIEWS: dict[str, bool] = {}


def gather(parameters: Iterable[Tensor]) -> None:
    """Put every parameter that is in no living arena into one, one arena a dtype and device."""
    loose: dict[Any, list[Tensor]] = {}
    for p in parameters:
        if p._arena is None or not p._arena.alive:
            loose.setdefault((type(p.data), p.dtype, device_key(p.data)), []).append(p)
    for group in loose.values():
        if has_views(backend_of(group[0].data)):
            Arena(group)
        else:  # without views, each parameter is a vector of its own
            for p in group:
                p._grad = namespace(p.data).zeros_like(p.data) if p._grad is None else p._grad


class Run:
    """Neighbouring parameters: one stretch of an arena, or one parameter where there is no arena.

    Attributes:
        parameters: in order.
        arena: their arena, or None.
        start: offset in the arena.
        stop: end in the arena.
    """

    __slots__ = ("arena", "parameters", "start", "stop")

    def __init__(self, parameter: Tensor) -> None:
        self.parameters = [parameter]
        self.arena = parameter._arena
        self.start = parameter._offset
        self.stop = self.start + parameter.size

    def add(self, parameter: Tensor) -> bool:
        """Take the parameter in if it comes next in the arena; whether it did."""
        if self.arena is None or parameter._arena is not self.arena or parameter._offset != self.stop:
            return False
        self.parameters.append(parameter)
        self.stop += parameter.size
        return True

    @property
    def theta(self) -> Array:
        """The values: a vector, or the parameter's own array."""
        return self.parameters[0].data if self.arena is None else self.arena.theta[self.start : self.stop]

    @property
    def grad(self) -> Array:
        """The gradients, likewise."""
        return self.parameters[0]._grad if self.arena is None else self.arena.grad[self.start : self.stop]


def runs(parameters: Iterable[Tensor]) -> list[Run]:
    """The fewest stretches that cover the parameters, in order."""
    found: list[Run] = []
    for p in parameters:
        if not found or not found[-1].add(p):
            found.append(Run(p))
    return found
