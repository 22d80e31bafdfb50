"""A step on NumPy, written down while it runs: what is done to arrays, in order.

The arrays of such a step are of a subclass that NumPy tells of each operation (NEP 13, NEP 18). Each becomes
a call that writes its result where it was made, so that the calls can be made again with other values: what
a CUDA graph is on a device. The step itself runs as it always does. Where it leaves NumPy for a value (`if
loss > 1`, `loss.item()`) the trace is refused; what the trace does not see shows in `Program.prove`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from xpnet.core.backend import HOST_TYPES
from xpnet.core.numpy_namespace import tell_of_new
from xpnet.core.recording import CaptureError, current
from xpnet.core.trees import leaves, mapped

OWN, OUTSIDE = "made by the step", "there before it"


class Trace:
    """What a step does.

    Attributes:
        calls: of functions, in order; each writes where its result was.
        host: which of them are work of the host (`xpnet.core.recording.on_host`), and the arrays they gave.
        refused: why the trace cannot be used, or None.
        outside: arrays that the step finds, or writes, and did not make.
        kinds: values that decide which way the step goes, what says which, and the call that looks at them.
    """

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.host: dict[int, list[np.ndarray]] = {}
        self.refused: str | None = None
        self.outside: list[np.ndarray] = []
        self.kinds: list[tuple[np.ndarray, Callable[[np.ndarray], object], int]] = []
        self._written: set[int] = set()
        self._known: dict[int, tuple[np.ndarray, str]] = {}

    def refuse(self, reason: str) -> None:
        """The trace cannot be used; the step goes on."""
        self.refused = self.refused or reason

    def know(self, array: Any, whose: str) -> None:
        """Memory that is there, or that the step has made."""
        memory = _memory(array)
        if id(memory) not in self._known:
            self._known[id(memory)] = memory, whose
            if whose is OUTSIDE:
                self.outside.append(memory)

    def writes(self, array: Any) -> None:
        """A call that has been written down writes there."""
        self._written.add(id(_memory(array)))

    def is_written(self, array: np.ndarray) -> bool:
        """Whether one of the calls writes there."""
        return id(_memory(array)) in self._written

    def need_not_look(self, place: int) -> None:
        """Of a call whose way is known before: if it only hands back what it is given, leave it out."""
        if not self.calls[place].args[0]:  # type: ignore[attr-defined]
            self.calls[place] = _nothing

    def is_part(self, array: np.ndarray, of: np.ndarray) -> bool:
        """Whether one is a view of the other."""
        return _memory(array) is _memory(of)

    def found(self, array: np.ndarray) -> np.ndarray:
        """An array that the step comes across, as one whose operations are written down."""
        self.know(array, OUTSIDE)
        return array.view(Traced)

    def plain(self, value: Any) -> Any:
        """An operand as NumPy's own, in tuples and lists, too."""
        if isinstance(value, np.ndarray):
            if type(value) is not Traced:
                self.know(value, OUTSIDE)
                return value
            if id(_memory(value)) not in self._known:
                self.refuse("it makes an array in a way that cannot be followed")
                self.know(value, OWN)
            return value.view(np.ndarray)
        if type(value) is tuple or type(value) is list:
            return type(value)([self.plain(v) for v in value])
        return value

    def made(self, result: Any, call: Callable[[], object] | None) -> Any:
        """A result as the step sees it; `call` makes it again, if it is not a view of something known."""
        array = np.asarray(result)  # a NumPy scalar as a 0-d array
        if id(_memory(array)) not in self._known:
            self.know(array, OWN)
            if call is not None:
                self.calls.append(call)
        return array.view(Traced)

    def apply(self, function: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function of NumPy and write it down."""
        args, given = [self.plain(a) for a in args], tuple(args)
        kwargs, named = {k: self.plain(v) for k, v in kwargs.items()}, kwargs
        result = function(*args, **kwargs)
        if function in _ALLOCATE:
            return self.made(result, None)
        if result is None:  # it writes into an argument
            self.calls.append(partial(function, *args, **kwargs))
            self.writes(args[0])
            return None
        for own, theirs in ((args, given), (kwargs.values(), named.values())):
            for a, b in zip(own, theirs, strict=True):
                if result is a and isinstance(a, np.ndarray):  # written into `out`
                    self.calls.append(partial(function, *args, **kwargs))
                    self.writes(a)
                    return b
        if isinstance(result, np.ndarray | np.generic):
            array = np.asarray(result)
            return self.made(array, _again(array, function, args, kwargs))
        if type(result) in (tuple, list) and any(isinstance(r, np.ndarray) for r in result):
            arrays = [np.asarray(r) for r in result]
            if any(id(_memory(a)) not in self._known for a in arrays):
                self.calls.append(partial(_copy_all, arrays, function, args, kwargs))
            return type(result)([self.made(a, None) for a in arrays])
        return result

    def kernel(self, run: Callable[..., Any], signature: str, arguments: Any) -> Any:
        """Run a compiled kernel, which writes into some of its arguments; False if it has refused them."""
        for letter, a in zip(signature, arguments, strict=True):
            if letter == "w" and isinstance(a, np.ndarray):
                if type(a) is not Traced:
                    self.know(a, OWN)  # unless it is known to be something else
                self.writes(a)
        arguments = [self.plain(a) for a in arguments]
        result = run(*arguments)
        if result is not False:
            self.calls.append(partial(run, *arguments))
        return result

    def call(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function that has a state: it runs in each replay, and its arrays are taken over."""
        place = len(self.calls)
        result = self.look(function, args, kwargs)
        self.host[place] = self.calls[place].args[0]  # type: ignore[attr-defined]
        return result

    def look(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Likewise of one that has none."""
        args, kwargs = [self.plain(a) for a in args], {k: self.plain(v) for k, v in kwargs.items()}
        result = function(*args, **kwargs)
        result = mapped(_shown, result)
        arrays = _arrays(result)
        fresh = [a for a in arrays if id(_memory(a)) not in self._known]
        for a in fresh:
            self.know(a, OWN)
        kind = getattr(function, "kind", None)
        count = None if kind is None else len(arrays)
        arrays = arrays if fresh else []  # what it hands back is where it was
        if kind is not None and isinstance(args[0], np.ndarray):
            place = len(self.calls)
            self.kinds.append((args[0], lambda values: kind(values, *args[1:], **kwargs), place))
        self.calls.append(partial(_take_over, arrays, count, function, args, kwargs))
        return mapped(lambda a: a.view(Traced) if type(a) is np.ndarray else a, result)


class Witness:
    """What the host does in a step that is not written down, to compare one with its trace.

    Attributes:
        log: of each work of the host: the values of the arrays from outside before it and after it, and what
            it gave.
    """

    def __init__(self, outside: list[np.ndarray]) -> None:
        self.outside = outside
        self.log: list[tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]] = []

    def call(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function that works on the host."""
        before = [a.copy() for a in self.outside]
        result = function(*args, **kwargs)
        self.log.append((before, [a.copy() for a in self.outside], [a.copy() for a in _arrays(result)]))
        return result

    def look(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function that has no state: the trace calls it itself."""
        return function(*args, **kwargs)


class Traced(np.ndarray):
    """An array of a step that is written down. Outside of one, operations give NumPy's own arrays."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        trace, out = tracing(), kwargs.pop("out", None)
        if trace is None:
            if out is not None:
                kwargs["out"] = tuple(map(_bare, out))
            return function(*map(_bare, inputs), **kwargs)
        inputs = tuple(map(trace.plain, inputs))
        kwargs = {k: trace.plain(v) for k, v in kwargs.items()}
        outs = None if out is None else tuple(map(trace.plain, out))
        result = function(*inputs, **kwargs) if outs is None else function(*inputs, out=outs, **kwargs)
        if result is None:  # ufunc.at
            trace.calls.append(partial(function, *inputs, **kwargs))
            trace.writes(inputs[0])
            return None
        if out is not None and all(o is not None for o in out):
            trace.calls.append(_into(function, method, inputs, outs, kwargs))
            for array in outs or ():
                trace.writes(array)
            return out if len(out) > 1 else out[0]
        results = tuple(map(np.asarray, result)) if isinstance(result, tuple) else (np.asarray(result),)
        for array in results:
            trace.know(array, OWN)
        trace.calls.append(_into(function, method, inputs, results, kwargs))
        views = tuple(array.view(Traced) for array in results)
        return views if isinstance(result, tuple) else views[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        trace = tracing()
        if trace is None:
            return func(*mapped(_bare, list(args)), **mapped(_bare, dict(kwargs)))
        if func in _BY_VALUES:
            trace.refuse(f"what it does depends on values ({func.__name__})")
        return trace.apply(func, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        trace = tracing()
        if trace is None:
            return _bare(self)[_bare(key)]
        for part in key if type(key) is tuple else (key,):
            if isinstance(part, np.ndarray | list) and np.asarray(part).dtype == bool:
                trace.refuse("the shape of a result depends on values (x[mask])")
        return trace.apply(operator.getitem, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        trace = tracing()
        if trace is None:
            _bare(self)[_bare(key)] = _bare(value)
        else:
            trace.apply(operator.setitem, (self, key, value), {})


def _bare(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_bare, value))
    return value.view(np.ndarray) if type(value) is Traced else value


def _memory(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _shown(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf


def _arrays(result: Any) -> list[np.ndarray]:
    """The arrays that work of the host gives."""
    return [np.asarray(a) for _, a in leaves(result) if isinstance(a, np.ndarray | np.generic)]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of one shape and dtype hold the same bytes."""
    return a.tobytes() == b.tobytes()


# ---- the same once more, into the same memory -------------------------------------------------------------


def _copy(into: np.ndarray, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    np.copyto(into, function(*args, **kwargs))


def _copy_all(into: list[np.ndarray], function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    for a, b in zip(into, function(*args, **kwargs), strict=True):
        np.copyto(a, b)


def _nothing() -> None:
    """In place of a call."""


def _take_over(
    into: list[np.ndarray], count: int | None, function: Callable[..., Any], args: Any, kwargs: Any
) -> None:
    result = function(*args, **kwargs)
    if count is None and not into:
        return
    found = _arrays(result)
    if count is not None and len(found) != count:
        raise CaptureError(
            f"a replay finds values of another kind than the captured step ({function.__name__}), such as "
            "labels to be ignored; call it without capture, or give it the labels as an argument"
        )
    if into:
        for a, b in zip(into, found, strict=True):
            if a is not b:
                np.copyto(a, b)


def _into(function: Any, method: str, inputs: Any, outs: Any, kwargs: Any) -> Callable[[], object]:
    """A ufunc's call that writes into `outs`; by position where that is possible, which is sooner."""
    if method == "__call__" and function not in (np.maximum, np.minimum):  # whose third may be an operand
        return partial(function, *inputs, *outs, **kwargs)
    if method == "reduce" and not kwargs.keys() - {"axis", "dtype", "keepdims"}:
        named = kwargs.get("axis", 0), kwargs.get("dtype"), outs[0], kwargs.get("keepdims", False)
        return partial(function, *inputs, *named)
    return partial(function, *inputs, out=outs, **kwargs)


def _again(into: np.ndarray, function: Any, args: Any, kwargs: Any) -> Callable[[], object]:
    if function is np.dot and len(args) == 2:
        return partial(np.dot, *args, into)
    if function in _INTO:
        return partial(function, *args, out=into, **kwargs)
    return partial(_copy, into, function, args, kwargs)


_INTO = {np.concatenate, np.stack, np.take, np.cumsum, np.cumprod}
_ALLOCATE = {np.empty_like}
_BY_VALUES = {
    *(np.allclose, np.array_equal, np.array_equiv),
    *(np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.extract, np.compress, np.trim_zeros),
}


def _method(name: str) -> Callable[..., Any]:
    """A method of arrays that NumPy tells nobody of."""
    function = getattr(np.ndarray, name)

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        trace = tracing()
        if trace is None:
            return function(_bare(self), *map(_bare, args), **{k: _bare(v) for k, v in kwargs.items()})
        return trace.apply(_FUNCTIONS.get(name, function), (self, *args), kwargs)

    return method


def _look(name: str) -> Callable[..., Any]:
    """A method that gives values to Python."""
    function = getattr(np.ndarray, name)

    def method(self: Traced, *args: Any) -> Any:
        trace = tracing()
        if trace is not None:
            trace.refuse(f"it looks at values ({name.strip('_')})")
        return function(_bare(self), *args)

    return method


_FUNCTIONS: dict[str, Any] = {"dot": np.dot}
_METHODS = (
    "dot astype copy flatten ravel reshape repeat take choose cumsum cumprod trace diagonal sort argsort "
    "argmax argmin partition argpartition fill put round searchsorted byteswap squeeze transpose swapaxes "
    "conj conjugate"
)
_LOOKS = (
    "item tolist tobytes dump dumps nonzero compress "
    "__bool__ __float__ __int__ __index__ __complex__ __contains__ __format__ __str__ __repr__"
)
for _name in _METHODS.split():
    setattr(Traced, _name, _method(_name))
for _name in _LOOKS.split():
    setattr(Traced, _name, _look(_name))
HOST_TYPES.add(Traced)


def tracing() -> Trace | None:
    """The trace of the step that runs now, if it is written down."""
    recording = current()
    host = None if recording is None else recording.host_work
    return host if type(host) is Trace else None


def traced(values: list[Any]) -> list[Any]:
    """Arrays that an op or a pullback of a traced step is given."""
    trace = tracing()
    if trace is None:
        return values
    return [trace.found(v) if type(v) is np.ndarray else v for v in values]


def _tell_of_new(function: Callable[..., Any], args: Any) -> Any:
    trace = tracing()
    if trace is None:
        return function(*args)
    if function is np.empty:
        return trace.made(function(*args), None)
    return trace.apply(function, args, {})


tell_of_new.append(_tell_of_new)
