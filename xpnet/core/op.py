"""Ops: a function that returns its value and its pullback, made into one that works on Tensors and arrays.

::

    @differentiable
    def relu(x):
        y = namespace(x).maximum(x, 0)
        return y, lambda dy: dy * (y > 0)

Called on arrays it gives an array and keeps nothing. Called on a Tensor it gives a Tensor with one node.

A pullback is a function of the gradient of the output, `dy`. It returns the gradient of each positional
argument: a tuple, or of one argument the gradient itself. A gradient is an array, or None for "no gradient",
or a function of `out`, which is called if somebody needs that gradient, and only then::

    @differentiable
    def multiply(a, b):
        return a * b, lambda dy: (lambda out: dy * b, lambda out: dy * a)

`out` is None or the array where the result would be stored: a hint, to write there. A pullback must not
change `dy`. What it returns is the caller's to keep, each array in memory of its own, unless it is `dy` or a
view.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from typing import Any, ParamSpec, Protocol, cast, overload

from numpy import generic, ndarray

from xpnet.core.backend import HOST_TYPES, DeviceError
from xpnet.core.context import Setting, Within, active, autocasts, casting
from xpnet.core.convert import asarray
from xpnet.core.incoming import is_foreign
from xpnet.core.node import Carried, Node, Pullback, clock
from xpnet.core.registry import Kernels, OwnsKernels, misplaced, own, run, run_numpy, unloaded
from xpnet.core.renamed import input_first
from xpnet.core.tensor import Tensor
from xpnet.core.tracing import traced
from xpnet.core.views import viewed

P = ParamSpec("P")
_new = object.__new__
_TENSORS = (Node, Carried)  # a tuple: a union would be made anew in each call

_enabled: Setting[Any] = Setting("xpnet_grad_enabled", True)
TANGENTS_ONLY = 0
"""What jvp within no_grad() sets: as False, but a no_grad() of the function itself stops tangents, too."""


class Op(OwnsKernels, Protocol[P]):
    """What `differentiable` makes of a body: a function of Tensors and arrays.

    Attributes:
        body: the function `(*arrays, **options) -> (value, pullback)`.
        kernels: what may run instead, by backend.
        arguments: the names of the positional arguments.
        is_loss: whether the pullback takes the number 1.0 for `dy`.
        anywhere: the names of arguments that may be of any library and device.
        forward: the rule for tangents, one of `xpnet.core.forward`; None: those of what the body calls.
        keeps: whether its gradient needs values of arguments or result; not that of a linear op.
        views: whether its result may lie in the memory of its first argument.
    """

    body: Callable[P, tuple[Any, Any]]
    is_loss: bool
    anywhere: tuple[str, ...]
    forward: str | None
    keeps: bool
    views: bool

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        """The value: a Tensor if an argument is one, else an array, which type checkers take for one, too."""


@overload
def differentiable(body: Callable[P, tuple[Any, Pullback]]) -> Op[P]: ...
@overload
def differentiable(
    *,
    loss: bool = False,
    anywhere: tuple[str, ...] = (),
    forward: str | None = None,
    keeps: bool | None = None,
    views: bool = False,
) -> Callable[[Callable[P, tuple[Any, Pullback]]], Op[P]]: ...
def differentiable(
    body: Any = None,
    *,
    loss: bool = False,
    anywhere: tuple[str, ...] = (),
    forward: str | None = None,
    keeps: bool | None = None,
    views: bool = False,
) -> Any:
    """Turn `body(*arrays, **options) -> (value, pullback)` into an op on Tensors and arrays.

    Tensors may be passed by position or by name, and a first argument x as `input`, too. If the op has a
    kernel for the backend of its first argument (`@op.kernel("cupy")`), that runs instead of the body.

    Args:
        body: the function.
        loss: the result is where `backward` begins. Its pullback then gets the number 1.0, not an array, and
            need not multiply by it.
        anywhere: names of arguments that may be of any library and device, since body and kernels move them.
        forward: how tangents go through: "pointwise", "linear", "multilinear" or "transposed". By default
            through what the body calls, which is right for a body made of the namespace's functions; an op
            that such a function is made of must say.
        keeps: whether its gradient needs the values of arguments or result, so that they may not be written
            into before `backward`; default: unless it is "linear".
        views: the result may lie in the memory of the first argument, as that of a slice does.

    Returns:
        The op: a function with the arguments of the body that gives the value alone, a Tensor if one of them
        is, else an array; with `body`, and `kernel(backend)`, a decorator.

    Raises:
        DeviceError: by the op, of arrays of two backends or devices; it names the argument.

    >>> import xpnet
    >>> @xpnet.differentiable
    ... def cube(x):
    ...     return x * x * x, lambda dy: 3 * x * x * dy
    >>> x = xpnet.tensor([2.0], requires_grad=True)
    >>> cube(x).backward(xpnet.asarray([1.0]))
    >>> x.grad
    array([12.], dtype=float32)
    """
    if body is None:
        return partial(
            differentiable, loss=loss, anywhere=anywhere, forward=forward, keeps=keeps, views=views
        )
    kernels: Kernels = {}
    parameters = list(signature(body).parameters.values())
    if any(p.kind is p.KEYWORD_ONLY and p.name in anywhere for p in parameters):
        body = _by_place(body, parameters)

    @wraps(body)
    def op(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            if "input" in kwargs:
                args, kwargs = input_first(body.__name__, body, args, kwargs)
            for value in kwargs.values():
                if isinstance(value, _TENSORS):
                    args, kwargs = _positional(parameters, args, kwargs)
                    break
                if isinstance(value, generic):
                    kwargs = {k: v.item() if isinstance(v, generic) else v for k, v in kwargs.items()}
                    break
        if autocasts[0] and (cast_to := casting.get()) is not None:
            return cast_to(op, args, kwargs)
        values, parents, tensors, scalars = [], [], False, False
        for i, arg in enumerate(args):
            if type(arg) is ndarray:
                pass
            elif isinstance(arg, Node):
                tensors = True
                if arg.requires_grad:
                    parents.append((i, arg))
                arg = arg._data
            elif isinstance(arg, generic):
                scalars = True
            elif isinstance(arg, Carried):
                return arg.apply(op, args, kwargs)
            values.append(arg)
        if scalars and (tensors or any(getattr(value, "shape", ()) for value in values)):
            # a NumPy scalar among arrays is a number: float64 must not spread from it
            values = [v.item() if isinstance(a, generic) else v for a, v in zip(args, values, strict=True)]
        if active[0]:
            values, kwargs = traced(values), dict(zip(kwargs, traced([*kwargs.values()]), strict=True))
        recorded = bool(parents) and _enabled.get()
        kernel = kernels.get("numpy")
        try:
            if not values or type(values[0]) not in HOST_TYPES or "numpy" in unloaded:
                value, pullback = run(kernels, body, values, kwargs, recorded, anywhere)
            elif kernel is None or values[0].size < kernel.min_size:
                value, pullback = body(*values, **kwargs)
            else:
                value, pullback = run_numpy(kernel, body, values, kwargs, recorded, anywhere)
        except DeviceError as error:
            arrays = [v for v in values if hasattr(v, "dtype")]
            raise (arrays and misplaced(body, anywhere, arrays[0], values, kwargs)) or error from None
        except TypeError:
            if not any(map(is_foreign, args)):  # a Series or a frame, where an array is expected
                raise
            return op(*[asarray(arg) if is_foreign(arg) else arg for arg in args], **kwargs)
        if type(value) is not ndarray and isinstance(value, _TENSORS):
            value = _closed_over(op, value)
        if not recorded:
            if not tensors:
                return value
            result = Tensor(value)
            if views and isinstance(args[0], Node):
                viewed(result, args[0], _once_more(op, args, kwargs))
            return result
        if not callable(pullback):
            raise TypeError(
                f"{op.__name__}: the pullback must be a function of dy, got {type(pullback).__name__}; for "
                "several gradients return a tuple from it"
            )
        result = _new(Tensor)  # without __init__: this is the hot path
        result._data, result.requires_grad = value, True
        result._grad = result._kept = None
        result._filled = 0
        result._parents, result._pullback, result._op, result._time = parents, pullback, op, next(clock)
        result._values, result._options = values, kwargs
        if views:
            viewed(result, args[0], _once_more(op, args, kwargs))
        return result

    made: Any = own(op, body, kernels)
    made.is_loss, made.anywhere, made.forward, made.views = loss, anywhere, forward, views
    made.keeps = forward != "linear" if keeps is None else keeps
    made.arguments = [p.name for p in parameters]
    return cast("Op[Any]", made)


def _once_more(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], Any]:
    """The op as a function of its first argument, which it does not keep. No cells in the hot path."""
    rest = args[1:]
    return lambda x: op(x, *rest, **kwargs)


def _closed_over(op: Any, value: Any) -> Any:
    """The array of a value that is a Tensor, although the body was given arrays: it closes over one.

    Raises:
        TypeError: that one is to be differentiated, which the op does not know of.
    """
    if isinstance(value, Carried) or (value.requires_grad and _enabled.get()):
        raise TypeError(
            f"{op.__name__}: its function closes over a Tensor that is differentiated, whose gradient it "
            "cannot give: pass it as an argument"
        )
    return value._data


def inside(op: Any, *values: Any) -> tuple[Any, Pullback]:
    """The value and the pullback of an op in another one's body, by its kernel if it has one for these."""
    if type(values[0]) in HOST_TYPES and "numpy" not in unloaded:
        return run_numpy(op.kernels.get("numpy"), op.body, values, {})
    return run(op.kernels, op.body, values, {})


def _by_place(body: Callable[..., Any], parameters: list[Parameter]) -> Callable[..., Any]:
    """The body with what is passed by name alone behind the rest, where an op has its Tensors."""
    places = sum(p.kind is not p.KEYWORD_ONLY for p in parameters)
    names = [p.name for p in parameters[places:]]

    @wraps(body)
    def call(*args: Any, **kwargs: Any) -> Any:
        return body(*args[:places], **dict(zip(names, args[places:], strict=False)), **kwargs)

    return call


def _positional(
    parameters: list[Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move Tensors given by name to their position; gaps take the other named arguments or the defaults.

    Raises:
        TypeError: a name is unknown, or an argument that has no default is missing.
    """
    rest = dict(kwargs)
    last = max(
        (i for i, p in enumerate(parameters) if isinstance(rest.get(p.name), Tensor | Carried)), default=-1
    )
    moved = tuple(rest.pop(p.name, p.default) for p in parameters[len(args) : last + 1])
    if last < 0 or any(value is Parameter.empty for value in moved):
        Signature(parameters).bind(*args, **kwargs)  # says which
    return args + moved, rest


def no_grad() -> Within[Any]:
    """Record nothing inside the block: ops on Tensors give Tensors without history.

    It holds for this thread (or task) alone. In a function that `jvp` runs it stops tangents, too.

    >>> import xpnet
    >>> x = xpnet.tensor([1.0], requires_grad=True)
    >>> with xpnet.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return _enabled.within(False)


def recording() -> Within[Any]:
    """Record inside the block, whatever is said around it."""
    return _enabled.within(True)


def is_recording() -> bool:
    """Whether ops are recorded here."""
    return bool(_enabled.get())


def forward_mode() -> Within[Any]:
    """A function runs for its tangents: inside of it no_grad() makes constants, around it it does not."""
    return _enabled.within(_enabled.get() or TANGENTS_ONLY)


def is_constant() -> bool:
    """Whether a no_grad() holds here that stops tangents, too."""
    return bool(_enabled.get() is False)


def is_recorded(*tensors: Any) -> bool:
    """Whether an op of these arguments would be recorded, or carry a tangent."""
    return any(
        isinstance(t, Carried) or (isinstance(t, Node) and t.requires_grad and _enabled.get())
        for t in tensors
    )
