"""Reverse-mode differentiation: a `Tensor` remembers the op that made it; `backward` walks the graph once.

An op is a function that returns its value and its pullback::

    @differentiable
    def relu(x):
        y = namespace(x).maximum(x, 0)
        return y, lambda dy: dy * (y > 0)

Called on arrays it gives an array and keeps nothing. Called on a Tensor it gives a Tensor with one node.
A pullback takes the gradient of the output and comes in one of three forms:

- one function of `dy` that returns the gradient of the only input;
- one function of `dy` that returns a tuple of gradients, one per positional argument (work is shared);
- a tuple of functions of `(dy, out)`, one per positional argument, so that only the gradients somebody
  needs are computed. `out` is None or the array where the result would be stored: a hint, to write there.

None stands for "no gradient". A pullback must not change `dy`. What it returns is the caller's to keep, each
array in memory of its own, unless it is `dy` or a view.

Reverse mode costs about as much as the forward pass, whatever the number of parameters (Baydin et al., 2018,
"Automatic differentiation in machine learning: a survey"; deck S3).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from heapq import heappop, heappush
from inspect import Parameter, signature
from itertools import count
from math import prod
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast

from numpy import generic, ndarray

from xpnet.core.backend import (
    NUMPY,
    Array,
    asarray,
    device,
    device_key,
    is_capturing,
    namespace,
    on_device,
    to_numpy,
)
from xpnet.core.methods import Methods
from xpnet.core.registry import Kernels, OwnsKernels, is_left_to_body, own, run

if TYPE_CHECKING:
    from typing import Self

P = ParamSpec("P")
_new = object.__new__
Pullback = Callable[..., Any] | tuple[Callable[..., Any], ...]


class _State(threading.local):
    enabled = True  # False inside no_grad
    recording = False  # whether the op running now is recorded
    complete: Callable[[Tensor], None] | None = None  # see `on_complete`


_state = _State()


LENT = 2  # `_filled` of a gradient that somebody outside may have kept


class Tensor(Methods):
    """An array that takes part in differentiation.

    Attributes:
        data: the array.
        requires_grad: whether gradients flow to or through it.
        grad: the gradient, an array like `data`; None before `backward` and after `zero_grad`.

    Make one with `xpnet.tensor`. Arithmetic, comparison, indexing, reductions and shape methods are in
    `xpnet.core.methods`. Comparisons and integer results are plain arrays: they have no gradient.
    """

    __slots__ = (
        "__weakref__",
        "_filled",
        "_flat",
        "_grad",
        "_kept",
        "_offset",
        "_parents",
        "_pullback",
        "_time",
        "data",
        "requires_grad",
    )

    _grad: Array | None
    _filled: int  # 0: _grad is None or leftover memory; 1: it holds a gradient; LENT: that was given out
    _kept: list[Array]  # of a computed tensor after `retain_grad`: nothing, or its gradient
    _parents: Sequence[tuple[int, Tensor]] | None  # (position, input); None once backward has freed the node
    _pullback: Pullback | None  # None for a leaf
    _time: int  # when the op ran
    _flat: Any  # of a parameter: the `FlatParameters` that data and _grad are views of, and the place in it
    _offset: int

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.requires_grad = requires_grad
        self._grad = self._pullback = self._flat = None
        self._filled = False
        self._parents = ()
        self._offset = 0

    @property
    def grad(self) -> Array | None:
        """The accumulated gradient, of the same shape and dtype as `data`, or None.

        Of a computed tensor it is None unless `retain_grad` asked for it.
        """
        if self._filled:
            self._filled = LENT
            return self._grad
        kept = getattr(self, "_kept", None)
        return kept[0] if kept else None

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is None:
            self._forget()
            return
        value = array_of(value)
        namespace(self.data, value)  # refuses another backend
        if tuple(value.shape) != tuple(self.shape) or value.dtype != self.dtype:
            raise ValueError(
                f"grad: expected shape {tuple(self.shape)} and dtype {self.dtype}, "
                f"got {tuple(value.shape)} and {value.dtype}"
            )
        if value is self._grad:  # p.grad *= 0.5
            return
        self._forget()
        if self._is_leaf:
            self._accumulate(value)
        else:
            self._kept = [value]

    def _forget(self) -> None:
        """No gradient from here on; one that has been given out stays as it is, in memory of its own."""
        if self._filled == LENT:
            if self._flat is None:
                self._grad = None
            else:
                self._flat.renew_grads()
        self._filled = 0
        if hasattr(self, "_kept"):
            self._kept.clear()

    @property
    def _is_leaf(self) -> bool:
        """Whether it was made, not computed; also if `backward` has freed the graph."""
        return self._pullback is None and self._parents is not None

    def _accumulate(self, gradient: Array, fresh: bool = False) -> None:
        """The first gradient since `zero_grad` is stored, later ones are added.

        A leaf outside of a vector adopts a `fresh` array, which nobody else has; otherwise values are copied:
        two leaves must not share memory.
        """
        if gradient.shape != self.data.shape:
            raise ValueError(
                f"a gradient of shape {tuple(gradient.shape)} reached a tensor of shape {tuple(self.shape)}: "
                "the pullback of an operation on it returns the wrong shape"
            )
        if self._filled:
            self._grad += gradient
            return
        if fresh and self._flat is None and getattr(gradient, "base", gradient) is None:  # not a view
            self._grad = gradient
        elif self._grad is None:
            self._grad = namespace(gradient).asarray(gradient, copy=True)
        elif gradient is not self._grad:
            self._grad[...] = gradient
        self._filled = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.data.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the array."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.data.shape)

    @property
    def device(self) -> Any:
        """The device of the array; None on NumPy."""
        return device(self.data)

    def __dlpack__(self, **options: Any) -> Any:
        """The memory, for `from_dlpack` of another library, which then shares it.

        Raises:
            BufferError: it requires a gradient, which a write from elsewhere would invalidate.
        """
        if self.requires_grad:
            raise BufferError("a Tensor that requires a gradient is not exported: pass x.detach() or x.data")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device, in the terms of DLPack."""
        return self.data.__dlpack_device__()

    def numpy(self) -> Any:
        """The values as a NumPy array (a copy if they are on a device)."""
        return to_numpy(self.data)

    def detach(self) -> Tensor:
        """The same array without its history."""
        return Tensor(self.data)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of a leaf; returns the tensor."""
        if not self._is_leaf and not requires_grad:
            raise RuntimeError("requires_grad_(False) of a computed tensor: use x.detach()")
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Have `backward` leave the gradient of this computed tensor in `.grad`; leaves have theirs anyway.

        Raises:
            RuntimeError: no gradient will reach it.

        >>> import xpnet
        >>> x = xpnet.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * 3
        >>> y.retain_grad()
        >>> (y * y).sum().backward()
        >>> y.grad
        array([ 6., 12.], dtype=float32)
        """
        if (self._is_leaf and self.requires_grad) or hasattr(self, "_kept"):
            return
        pullback = self._pullback
        if pullback is None:
            raise RuntimeError("retain_grad() of a tensor that no gradient reaches: it needs a graph")
        kept: list[Array] = []  # not the tensor itself, which would then hold itself

        def keep(dy: Array) -> None:
            total = kept[0] + dy if kept else namespace(dy).asarray(dy, copy=True)
            kept[:] = [total]

        if isinstance(pullback, tuple):
            first = min(i for i, _ in self._parents or ())

            def keeping(i: int, back: Callable[..., Any]) -> Callable[..., Any]:
                def call(dy: Array, out: Array | None) -> Any:
                    if i == first:
                        keep(dy)
                    return back(dy, out)

                return call

            self._pullback = tuple(keeping(i, back) for i, back in enumerate(pullback))
        else:

            def call(dy: Array) -> Any:
                keep(dy)
                return pullback(dy)

            self._pullback = call
        self._kept = kept

    def backward(self, gradient: Array | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it was computed from.

        Args:
            gradient: d(objective)/d(self), shaped like `self`; default 1, for a tensor of one element.
            retain_graph: keep the graph for another `backward`; by default it is freed.

        Raises:
            RuntimeError: nothing to differentiate, the graph is freed already, `self` has many elements and
                no gradient was given, or an argument that has no gradient (a class weight) requires one.
            ValueError: the gradient's shape is not `self.shape`.

        >>> import xpnet
        >>> x = xpnet.tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        array([2., 4., 6.], dtype=float32)
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward() on a tensor without a graph: no input required a gradient, or it was made in "
                "no_grad()"
            )
        if gradient is None:
            if self.data.shape and self.size != 1:
                raise RuntimeError(
                    "backward() without a gradient needs a tensor of one element, this one is "
                    f"{tuple(self.shape)}; reduce it with .sum() or .mean(), or pass backward(gradient)"
                )
            gradient = _unit(self.data)
        else:
            gradient = array_of(gradient)
            namespace(self.data, gradient)  # refuses another backend or device
            if tuple(gradient.shape) != tuple(self.shape):
                raise ValueError(
                    f"backward(): gradient of shape {tuple(gradient.shape)} for a tensor of shape "
                    f"{tuple(self.shape)}"
                )
        if isinstance(self.data, NUMPY):
            _backward(self, gradient, retain_graph)
            return
        with on_device(self.data):
            _backward(self, gradient, retain_graph)

    def __reduce__(self) -> Any:
        """A copy or a pickle is a leaf."""
        values = namespace(self.data).asarray(self.data, copy=True)
        return _restore, (type(self), values, self.requires_grad, self._grad if self._filled else None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if not self._is_leaf and self.requires_grad:
            raise RuntimeError("a tensor with a history is not copied: take x.detach() or x.clone()")
        make, arguments = self.__reduce__()
        memo[id(self)] = copy = make(*arguments)
        return copy

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({self.data}{grad})"


def _restore(kind: type[Tensor], values: Array, requires_grad: bool, gradient: Array | None) -> Tensor:
    """A leaf from a copy or a pickle."""
    leaf = _new(kind)
    Tensor.__init__(leaf, values, requires_grad)
    leaf.grad = gradient
    return leaf


def array_of(x: Any) -> Array:
    """The array of a Tensor; an array as it is."""
    return x.data if isinstance(x, Tensor) else x


# ---- the walk ---------------------------------------------------------------------------------------------

_clock = count()  # an op's inputs exist before its output: falling times are a topological order


def _backward(root: Tensor, gradient: Array, retain_graph: bool) -> None:
    if root._pullback is None:
        if root._parents is None:
            raise RuntimeError(_FREED)
        root._accumulate(gradient)
        return
    complete = _state.complete
    uses = _leaf_uses(root) if complete is not None else {}
    # a waiting tensor holds the gradient found so far in its _grad
    root._grad = gradient
    queue: list[tuple[int, Tensor]] = [(-root._time, root)]
    while queue:
        node = heappop(queue)[1]
        dy, pullback, parents = node._grad, node._pullback, node._parents
        node._grad = None
        if pullback is None or parents is None:
            raise RuntimeError(_FREED)
        if not retain_graph:
            node._pullback = node._parents = None
        each = type(pullback) is tuple
        if not each:
            found = pullback(dy)  # type: ignore[operator]
            if type(found) is not tuple:
                found = (found,)
        try:
            for i, parent in parents:
                if parent._pullback is not None or parent._parents is None:
                    gradient = pullback[i](dy, None) if each else found[i]  # type: ignore[index]
                    if gradient is None:
                        continue
                    if parent._grad is None:
                        parent._grad = gradient
                        heappush(queue, (-parent._time, parent))
                    else:
                        parent._grad = parent._grad + gradient
                    continue
                # a leaf
                out = None
                if each:
                    out = None if parent._filled else parent._grad
                    gradient = pullback[i](dy, out)  # type: ignore[index]
                else:
                    gradient = found[i]
                if gradient is out and out is not None:  # written in place
                    parent._filled = True
                elif gradient is not None:
                    if gradient.dtype != parent.data.dtype:
                        raise TypeError(
                            f"a gradient of dtype {gradient.dtype} reached a tensor of dtype "
                            f"{parent.data.dtype}: two dtypes met in one operation; give the data the "
                            "dtype of the model, as in xpnet.asarray(x, 'float32')"
                        )
                    shared = retain_graph or gradient is dy or (not each and _repeats(gradient, found))
                    parent._accumulate(gradient, fresh=not shared)
                if complete is not None:
                    uses[id(parent)] -= 1
                    if not uses[id(parent)]:
                        complete(parent)
        except IndexError:
            if i < len(pullback if each else found):  # type: ignore[arg-type]
                raise
            raise RuntimeError(
                f"backward(): argument {i} of this operation has no gradient; pass it as x.detach()"
            ) from None


def _leaf_uses(root: Tensor) -> dict[int, int]:
    """How many ops of the graph each leaf goes into, by the leaf's id."""
    uses: dict[int, int] = {}
    seen, stack = {id(root)}, [root]
    while stack:
        for _, parent in stack.pop()._parents or ():
            if parent._pullback is None:
                uses[id(parent)] = uses.get(id(parent), 0) + 1
            elif id(parent) not in seen:
                seen.add(id(parent))
                stack.append(parent)
    return uses


@contextmanager
def on_complete(function: Callable[[Tensor], None]) -> Iterator[None]:
    """In `backward` inside the block, call `function(leaf)` as soon as a leaf has its whole gradient.

    So that work on it can begin while the walk goes on; a leaf that no gradient reaches is not called for.
    """
    previous, _state.complete = _state.complete, function
    try:
        yield
    finally:
        _state.complete = previous


def _repeats(gradient: Array, found: tuple[Any, ...]) -> bool:
    """Whether one array is the gradient of two inputs."""
    return len(found) > 1 and sum(other is gradient for other in found) > 1


_FREED = "backward() through a graph that is freed already; call it once, or with retain_graph=True"

_UNITS: dict[Any, Array] = {}


def _unit(like: Array) -> Array:
    """The gradient of a loss with respect to itself: one shared array of one element per kind of array."""
    key = (type(like), like.dtype, None if isinstance(like, NUMPY) else device_key(like), like.shape)
    unit = _UNITS.get(key)
    if unit is None:
        unit = namespace(like).ones_like(like)
        if not is_capturing(like):  # it would be made by the replays only
            _UNITS[key] = unit
    return unit


def is_unit(dy: Array) -> bool:
    """Whether `dy` is the seed of `backward`, a one: a loss then need not multiply by it."""
    for unit in _UNITS.values():  # noqa: SIM110  any() would start a generator on the hot path
        if dy is unit:
            return True
    return False


def is_recording() -> bool:
    """Inside an op: whether this call is recorded, so that its pullback will probably be used.

    A hint that lets a kernel make value and gradient in one pass; ask at the start of the op.
    """
    return _state.recording


# ---- making ops -------------------------------------------------------------------------------------------


class Op(OwnsKernels, Protocol[P]):
    """What `differentiable` makes of a body: a function of Tensors and arrays.

    Attributes:
        body: the function `(*arrays, **options) -> (value, pullback)`.
        kernels: what may run instead, by backend.
    """

    body: Callable[P, tuple[Any, Any]]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        """The value: a Tensor if an argument is one, else an array, which type checkers take for one, too."""


def differentiable(body: Callable[P, tuple[Any, Pullback]]) -> Op[P]:
    """Turn `body(*arrays, **options) -> (value, pullback)` into an op on Tensors and arrays.

    Tensors may be passed by position or by name. If the op has a kernel for the backend of its first argument
    (`@op.kernel("cupy")`), that runs instead of the body.

    >>> import xpnet
    >>> @xpnet.differentiable
    ... def cube(x):
    ...     return x * x * x, lambda dy: 3 * x * x * dy
    >>> x = xpnet.tensor([2.0], requires_grad=True)
    >>> cube(x).backward(xpnet.asarray([1.0]))
    >>> x.grad
    array([12.], dtype=float32)
    """
    kernels: Kernels = {}
    parameters = list(signature(body).parameters.values())

    @wraps(body)
    def op(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for value in kwargs.values():
                if isinstance(value, Tensor):
                    args, kwargs = _positional(parameters, args, kwargs)
                    break
                if isinstance(value, generic):
                    kwargs = {k: v.item() if isinstance(v, generic) else v for k, v in kwargs.items()}
                    break
        values, parents, tensors, scalars = [], [], False, False
        for i, arg in enumerate(args):
            if isinstance(arg, Tensor):
                tensors = True
                if arg.requires_grad:
                    parents.append((i, arg))
                arg = arg.data
            elif isinstance(arg, generic):
                scalars = True
            values.append(arg)
        if scalars and (tensors or any(getattr(value, "shape", ()) for value in values)):
            # a NumPy scalar among arrays is a number: float64 must not spread from it
            values = [v.item() if isinstance(a, generic) else v for a, v in zip(args, values, strict=True)]
        _state.recording = needed = bool(parents) and _state.enabled
        if values and type(values[0]) is ndarray and is_left_to_body(kernels, values[0]):
            value, pullback = body(*values, **kwargs)
        else:
            value, pullback = run(kernels, body, values, kwargs)
        if not needed:
            return Tensor(value) if tensors else value
        result = _new(Tensor)  # without __init__: this is the hot path
        result.data, result.requires_grad, result._grad, result._filled = value, True, None, False
        result._parents, result._pullback, result._time = parents, pullback, next(_clock)
        return result

    return cast("Op[P]", own(op, body, kernels))


def _positional(
    parameters: list[Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move Tensors given by name to their position; gaps take the other named arguments or the defaults."""
    kwargs = dict(kwargs)
    last = max(i for i, p in enumerate(parameters) if isinstance(kwargs.get(p.name), Tensor))
    return args + tuple(kwargs.pop(p.name, p.default) for p in parameters[len(args) : last + 1]), kwargs


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the block: ops on Tensors give Tensors without history.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> with xpnet.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    previous, _state.enabled = _state.enabled, False
    try:
        yield
    finally:
        _state.enabled = previous


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A Tensor on the default backend, with memory of its own; `Tensor(array)` shares that of the array.

    Args:
        data: an array of any backend, or nested Python numbers (floats become float32).
        requires_grad: whether `backward` should fill its `.grad`.
        dtype: a dtype or its name; default: that of `data`.

    >>> import xpnet
    >>> xpnet.tensor([1, 2]).dtype
    dtype('int64')
    """
    if data is None:
        raise TypeError("tensor(): expected numbers or an array, got None")
    array = asarray(data, dtype)
    if hasattr(data, "dtype"):  # memory of its own: `t += 1` must not change the array it was made from
        array = namespace(array).asarray(array, copy=True)
    return Tensor(array, requires_grad)


def gradcheck(
    f: Callable[..., Any], *inputs: Any, eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7
) -> bool:
    """Compare `backward` with central differences (f(x + eps) - f(x - eps)) / 2 eps, element by element.

    Args:
        f: a function of Tensors that returns one Tensor of any shape.
        *inputs: float64 Tensors; those that require a gradient are checked.
        eps: the step; float64 leaves about 1e-10 of error at the default.
        rtol: allowed relative difference.
        atol: allowed absolute difference.

    Returns:
        True.

    Raises:
        TypeError: an input to check is not float64 (float32 has no room for differences).
        AssertionError: the first element that differs, with both values.

    >>> import numpy as np, xpnet
    >>> x = xpnet.tensor(np.array([0.5, -1.5]), requires_grad=True)
    >>> xpnet.gradcheck(lambda x: x * x, x)
    True
    """
    import numpy as np

    inputs = tuple(x if isinstance(x, Tensor) else Tensor(asarray(x)) for x in inputs)
    checked = [x for x in inputs if x.requires_grad]
    for x in checked:
        if "float64" not in str(x.dtype):
            raise TypeError(f"gradcheck needs float64 inputs, got {x.dtype}")
    y = f(*inputs)
    # a fixed, uneven direction: sum(weights * y) has a gradient that no symmetry hides
    weights = np.cos(np.arange(y.size, dtype=np.float64) + 1.0).reshape(y.shape)

    def objective(moving: Tensor, values: np.ndarray) -> float:
        moved = [Tensor(_like(values, x.data) if x is moving else x.data) for x in inputs]
        with no_grad():
            return float(np.sum(weights * f(*moved).numpy()))

    for x in checked:
        x.grad = None
    y.backward(_like(weights, y.data))
    for position, x in enumerate(inputs):
        if not x.requires_grad:
            continue
        analytic = np.zeros(x.shape) if x.grad is None else to_numpy(x.grad)
        base = np.array(x.numpy(), dtype=np.float64)
        for index in np.ndindex(*x.shape):
            ends = []
            for step in (eps, -eps):
                values = base.copy()
                values[index] += step
                ends.append(objective(x, values))
            numeric = (ends[0] - ends[1]) / (2 * eps)
            if not abs(analytic[index] - numeric) <= atol + rtol * abs(numeric):
                raise AssertionError(
                    f"gradcheck: input {position}, element {index}: backward gives {analytic[index]:.10g}, "
                    f"central differences give {numeric:.10g}"
                )
    return True


def _like(values: Any, array: Array) -> Array:
    """NumPy values as an array on the backend and device of another."""
    from xpnet.core.backend import backend_of

    return asarray(values, backend=backend_of(array))
