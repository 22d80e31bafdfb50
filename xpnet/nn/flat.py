"""Flat parameters: all parameters of a model are one vector, their gradients another.

The decks write theta = {W1, b1, ..., WL, bL}; so does the code. A step, a global norm, weight averaging, a
checkpoint and an all-reduce are each one operation on one array, whatever the number of layers. Whoever works
on parameters works on spans of the vector::

    for span in spans(model):
        average = span.like()  # a vector like the values: a moment, an average
        average += 0.1 * (span.values - average)
        average_of_weight = span.view(model.weight, average)

In memory each parameter starts at a multiple of 16 bytes, as vectorized loads and matrix products of a GPU
want it; the elements between are zero and stay so. `Module.theta` has none between: see `packed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from xpnet.core.arrays import widen
from xpnet.core.backend import Array, Backend, dtype_name, named_dtype
from xpnet.core.convert import asarray
from xpnet.core.node import LENT, clock
from xpnet.core.places import backend_name, backend_of, device, device_key, namespace, on_device
from xpnet.core.recording import on_host
from xpnet.core.tensor import Tensor
from xpnet.core.versions import last

ALIGNMENT = 16  # bytes


class FlatParameters:
    """Parameters of one dtype on one device, as views into one vector; their gradients into another.

    They leave the vector they were in; their values and gradients come with them.

    Args:
        parameters: in order; or a mapping of their names.
        backend: where to; default: where the first one is.
        dtype: its name; default: that of the first one.
        aligned: whether each starts at a multiple of 16 bytes.

    Attributes:
        values: (n,) all values.
        grads: (n,) all gradients; where a parameter has none, leftover values. Another array after
            `renew_grads`.
        members: the parameters that are still here, by `id`.
        departures: how many have been taken over by another vector.
        written: when each part (start, stop) that has been written into was, on the clock of ops.

    >>> import xpnet
    >>> from xpnet.nn.flat import FlatParameters
    >>> w, b = (xpnet.tensor(x, requires_grad=True) for x in ([[1.0, 2.0]], [3.0]))
    >>> flat = FlatParameters({"weight": w, "bias": b})
    >>> flat.values  # the bias begins at byte 16
    array([1., 2., 0., 0., 3.], dtype=float32)
    >>> w.data *= 10
    >>> flat.view("weight")
    array([[10., 20.]], dtype=float32)
    """

    __slots__ = ("_names", "_step", "departures", "grads", "members", "values", "written")

    def __init__(
        self,
        parameters: Sequence[Tensor] | Mapping[str, Tensor],
        backend: Backend | None = None,
        dtype: str | None = None,
        aligned: bool = True,
    ) -> None:
        named = isinstance(parameters, Mapping)
        self._names: dict[str, Tensor] = dict(parameters) if named else {}  # type: ignore[arg-type]
        members: list[Tensor] = list(self._names.values() if named else parameters)  # type: ignore[arg-type]
        first = members[0].data
        backend = backend or backend_of(first)
        name = dtype or dtype_name(first.dtype)
        self._step = max(1, ALIGNMENT // _bytes(name)) if aligned else 1
        offsets, stop = [], 0
        for p in members:
            offsets.append(self.next(stop))
            stop = offsets[-1] + p.size
        kind = named_dtype(name, backend)
        self.values = backend.xp.zeros(stop, dtype=kind, device=backend.device)
        self.grads = backend.xp.zeros(stop, dtype=kind, device=backend.device)
        self.members: dict[int, Tensor] = {}
        self.departures = 0
        self.written: dict[tuple[int, int], int] = {}
        with on_device(self.values):
            for p, offset in zip(members, offsets, strict=True):
                self._take_over(p, offset, backend, name)

    def _take_over(self, p: Tensor, offset: int, backend: Backend, dtype: str) -> None:
        value, gradient, shape = asarray(p.data, dtype, backend=backend), p.grad, tuple(p.shape)
        if p._flat is not None:
            p._flat.release(p)
        place, xp = slice(offset, offset + p.size), backend.xp
        self.values[place] = xp.reshape(value, (-1,))
        p.data = xp.reshape(self.values[place], shape)
        p._grad = xp.reshape(self.grads[place], shape)
        p._filled = 0
        p._flat, p._offset = self, offset
        self.members[id(p)] = p
        if gradient is not None:
            p._accumulate(asarray(gradient, dtype, backend=backend))

    def release(self, parameter: Tensor) -> None:
        """Let a parameter go: it keeps its array. The others stay where they are."""
        del self.members[id(parameter)]
        self.departures += 1
        parameter._flat = None  # so that `data` takes another array

    def wrote(self, start: int, stop: int) -> None:
        """Note that a part has other values now: a gradient that needs those before is refused."""
        last[0] = self.written[start, stop] = next(clock)

    def next(self, stop: int) -> int:
        """Where the parameter after one that ends at `stop` begins."""
        return -(-stop // self._step) * self._step

    @property
    def packed(self) -> bool:
        """Whether no elements are between the parameters."""
        return self._step == 1

    def pack(self) -> FlatParameters:
        """The parameters that are here, in another vector without elements between them."""
        members = list(self.members.values())
        return FlatParameters(self._names if len(self._names) == len(members) else members, aligned=False)

    def like(self) -> Array:
        """A vector of zeros like `values`, for a moment or an average; float32 for the 16-bit types."""
        with on_device(self.values):
            return namespace(self.values).zeros_like(widen(self.values))

    def view(self, parameter: Tensor | str, vector: Array | None = None) -> Array:
        """What a vector like `values` holds for a parameter, in its shape; it shares memory.

        Args:
            parameter: one that is here, or its name if the vector was made with names.
            vector: default: `values`.

        Raises:
            KeyError: it is not here.
        """
        p = self._names[parameter] if isinstance(parameter, str) else parameter
        p = self.members[id(p)]
        vector = self.values if vector is None else vector
        return namespace(vector).reshape(vector[p._offset : p._offset + p.size], tuple(p.shape))

    def spans(self, together: Callable[[Tensor], Any] | None = None) -> list[Span]:
        """The fewest spans of the parameters that are here: see the function `spans`."""
        return _spans(self.members.values(), together)

    def renew_grads(self) -> None:
        """Other memory for the gradients: somebody has kept what they were."""
        with on_device(self.grads):
            self.grads = namespace(self.grads).asarray(self.grads, copy=True)
        for p in self.members.values():
            p._grad = self.view(p, self.grads)
            p._filled = min(p._filled, 1)


class Span:
    """Neighbouring parameters: a piece of the vector, or one parameter where there is no vector.

    Attributes:
        parameters: in order.
        flat: the vector they are in, or None on a backend without views.
        start: offset in the vector.
        stop: end in the vector.
        values: (n,) the values; the parameter's own array where there is no vector.
    """

    __slots__ = ("_departures", "_grads", "_places", "_seen", "flat", "parameters", "start", "stop", "values")

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        first, last = self.parameters[0], self.parameters[-1]
        self.flat: FlatParameters | None = first._flat
        self.start, self.stop = first._offset, last._offset + last.size
        self._grads = self._seen = None
        if self.flat is None:
            self.values, self._departures = first.data, 0
            self._places: dict[int, Any] = {id(first): ...}
            return
        self.values, self._departures = self.flat.values[self.start : self.stop], self.flat.departures
        if self.stop - self.start == self.flat.values.shape[0]:
            self.values = self.flat.values
        self._places = {
            id(p): slice(p._offset - self.start, p._offset - self.start + p.size) for p in self.parameters
        }

    @property
    def grads(self) -> Array:
        """The gradients, like `values`; where a parameter has none, leftover values."""
        flat = self.flat
        if flat is None:
            return self.parameters[0]._grad
        if flat.grads is not self._seen:
            self._seen, self._grads = flat.grads, flat.grads[self.start : self.stop]
        return self._grads

    @property
    def current(self) -> bool:
        """Whether the parameters are still here."""
        flat = self.flat
        if flat is None:
            first = self.parameters[0]
            return first.data is self.values and first._flat is None
        return flat.departures == self._departures

    @property
    def packed(self) -> bool:
        """Whether no elements are between the parameters."""
        return self.stop - self.start == sum(p.size for p in self.parameters)

    def like(self) -> Array:
        """Zeros like `values`, for a moment or an average; float32 for the 16-bit types."""
        with on_device(self.values):
            return namespace(self.values).zeros_like(widen(self.values))

    def place(self, parameter: Tensor) -> Any:
        """The index of a parameter in arrays like `values`, as it was when the span was made."""
        return self._places[id(parameter)]

    def view(self, parameter: Tensor, vector: Array | None = None) -> Array:
        """What an array like `values` holds for a parameter, in its shape; it shares memory."""
        vector = self.values if vector is None else vector
        return namespace(vector).reshape(vector[self._places[id(parameter)]], tuple(parameter.shape))


def spans(parameters: Any, together: Callable[[Tensor], Any] | None = None) -> list[Span]:
    """The fewest spans that cover parameters, in order; those in no vector are put into one first.

    Args:
        parameters: a Module or parameters. The spans of a Module are kept until it changes.
        together: gives a key; neighbours of different keys are in different spans.

    >>> from xpnet import nn
    >>> from xpnet.nn.flat import spans
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    >>> [len(span.parameters) for span in spans(model)]
    [4]
    >>> [len(span.parameters) for span in spans(model, lambda p: p.ndim)]
    [1, 1, 1, 1]
    """
    kept = getattr(parameters, "_kept_spans", None)
    if kept is not None and together is None:
        return kept(False)
    members = parameters.parameters() if hasattr(parameters, "parameters") else list(parameters)
    flatten(members)
    return _spans(members, together)


def spans_with_gradient(parameters: Any) -> list[Span]:
    """The fewest spans that cover those of the parameters that have a gradient: see `spans`."""
    kept = getattr(parameters, "_kept_spans", None)
    if kept is not None:
        return kept(True)
    members = parameters.parameters() if hasattr(parameters, "parameters") else parameters
    members = [members] if isinstance(members, Tensor) else members
    return spans([p for p in members if p._filled])


def _spans(members: Iterable[Tensor], together: Callable[[Tensor], Any] | None = None) -> list[Span]:
    found: list[list[Tensor]] = []
    flat, key, stop = None, None, -1
    for p in members:
        own = None if together is None else together(p)
        if found and flat is not None and p._flat is flat and p._offset == flat.next(stop) and own == key:
            found[-1].append(p)
        else:
            found.append([p])
        flat, key, stop = p._flat, own, p._offset + p.size
    return [Span(neighbours) for neighbours in found]


def flatten(parameters: Iterable[Tensor]) -> None:
    """Put every parameter that is in no vector into one, one vector a dtype and device."""
    loose: dict[Any, list[Tensor]] = {}
    for p in parameters:
        if p._flat is None:
            loose.setdefault((type(p.data), p.dtype, device_key(p.data)), []).append(p)
    for group in loose.values():
        if has_views(backend_of(group[0].data)):
            FlatParameters(group)
        else:  # without views, each parameter is a vector of its own
            for p in group:
                p._grad = namespace(p.data).zeros_like(p.data) if p._grad is None else p._grad


def named_views(module: Any, vectors: Iterable[tuple[Span, Array]]) -> dict[str, Array]:
    """What vectors like spans of a module hold for its parameters, by name; they share memory."""
    names = {id(p): name for name, p in module.named_parameters()}
    return {names[id(p)]: span.view(p, vector) for span, vector in vectors for p in span.parameters}


def as_one_vector(named: Mapping[str, Tensor]) -> Span:
    """One span of all parameters, without elements between them; those that are one already stay."""
    parameters = list(named.values())
    first = parameters[0]._flat
    if first is not None:
        found = _spans(parameters)
        if len(found) == 1:
            if found[0].packed:
                return found[0]
            first.pack()  # with its neighbours, which stay neighbours
            return _spans(parameters)[0]
    return FlatParameters(named, aligned=False).spans()[0]


@on_host
def zero_grads(parameters: Iterable[Tensor], set_to_none: bool = True) -> None:
    """No gradients from here on, or zeros in those that there are."""
    if not set_to_none:
        for p in parameters:
            if p._kept:  # a gradient with a graph, of `create_graph=True`
                p._kept.clear()
            if p._grad is not None and p._filled:
                p._grad[...] = namespace(p.data).zeros_like(p.data)
        return
    for p in parameters:
        if p._filled == LENT or p._kept:
            p._forget()
        else:
            p._filled = 0


def is_at(array: Array, backend: Backend) -> bool:
    """Whether an array is on a backend, and on its device if it names one."""
    return backend_name(array) == str(backend) and (backend.device is None or device(array) == backend.device)


def move_separately(parameters: Iterable[Tensor], backend: Backend, dtype: str) -> None:
    """Move parameters to a backend without views."""
    for p in parameters:
        value, gradient = asarray(p.data, dtype, backend=backend), p.grad
        if p._flat is not None:
            p._flat.release(p)
        p._filled, p._grad = 0, None
        p.data = value
        p._grad = backend.xp.zeros_like(value)
        if gradient is not None:
            p._accumulate(asarray(gradient, dtype, backend=backend))


def has_views(backend: Backend) -> bool:
    """Whether slicing and reshaping share memory on this backend; a vector of parameters needs both."""
    if backend.name not in _HAS_VIEWS:
        xp = backend.xp
        base = xp.zeros(4, device=backend.device)
        with on_device(base):
            view = xp.reshape(base[1:3], (1, 2))
            view[...] = xp.ones((1, 2), device=backend.device)
            _HAS_VIEWS[backend.name] = bool(base[1] == 1)
    return _HAS_VIEWS[backend.name]


_HAS_VIEWS: dict[str, bool] = {}


def _bytes(dtype: str) -> int:
    """Of an element: the names of dtypes end in their bits."""
    return int("".join(c for c in dtype if c.isdigit()) or 8 * ALIGNMENT) // 8
