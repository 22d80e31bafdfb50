"""Reverse mode as functions of functions: gradients and pullbacks of anything that is made of ops."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from xpnet.core.arrays import FLOAT, carries_gradients, kind
from xpnet.core.backward import reached
from xpnet.core.context import differentiated
from xpnet.core.forward import Dual, primal, pull
from xpnet.core.op import is_recording, recording
from xpnet.core.places import namespace
from xpnet.core.tensor import Tensor, why_constant
from xpnet.core.trees import leaves, mapped, rebuilt
from xpnet.transforms.trees import argument, function_of, inner, tensor_of

Function = Callable[..., Any]


def _outside(roots: list[Any], cores: list[Tensor]) -> bool:
    """Whether results also depend on something outside that is to be differentiated."""
    stops = {id(c) for c in cores}
    for node in reached(roots, stops):
        if id(node) in stops:
            if node._pullback is not None:
                return True
        elif node._pullback is None and node.requires_grad:
            return True
    return False


def _cores(x: Any) -> list[Tensor]:
    """The Tensors that a result is made of."""
    if isinstance(x, Dual):
        return _cores(x.primal) + _cores(x.tangent)
    return [x] if isinstance(x, Tensor) and x.requires_grad else []


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of f, and its pullback: from a cotangent v to v^T J, the gradient of <v, f>.

    Args:
        f: a function of arrays, or of tuples, lists and dicts of them, made of ops; its result may be such a
            tree, too.
        *primals: where, arguments of f: Tensors or arrays of floating-point numbers.

    Returns:
        f(*primals), and a function of a cotangent (a tree of the form of the value) that gives a tuple: the
        gradient of each primal, of its form. It may be called again; what it gives can be differentiated.

    Raises:
        TypeError: a primal holds no floating-point numbers, or a result is none.

    >>> import xpnet
    >>> value, pullback = xpnet.vjp(lambda x: x * x, xpnet.asarray([1.0, 2.0]))
    >>> value, pullback(xpnet.asarray([1.0, 10.0]))
    (tensor([1. 4.]), (tensor([ 2. 40.]),))
    """
    value, cores, outer = _run("vjp", f, primals)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        roots = [y for _, y in leaves(value)]
        seeds = [s for _, s in leaves(cotangent)]
        if len(seeds) != len(roots):
            raise ValueError(f"vjp: {len(roots)} results need as many cotangents, got {len(seeds)}")
        for y, seed in zip(roots, seeds, strict=True):
            if tuple(getattr(seed, "shape", ())) != tuple(y.shape):
                raise ValueError(
                    f"vjp: a cotangent of shape {getattr(seed, 'shape', ())} for {tuple(y.shape)}"
                )
        return _pulled(roots, seeds, primals, cores, outer)

    return mapped(lambda y: y if outer else _constant(y), value), pullback


def _constant(y: Any) -> Any:
    return Dual(_constant(y.primal), _constant(y.tangent), y.level) if isinstance(y, Dual) else y.detach()


def _run(name: str, f: Function, primals: tuple[Any, ...]) -> tuple[Any, list[Tensor], bool]:
    """f at variables in place of the primals, these, and whether something outside wants derivatives, too."""
    function_of(f, name)
    given = [tensor_of(x, f"{name}: argument{path}") for path, x in leaves(primals)]
    wanted = is_recording()
    with recording(), differentiated.within(True):
        pairs = [inner(x) for x in given]
        value = f(*rebuilt(primals, iter([x for x, _ in pairs])))
    cores = [core for _, core in pairs]
    for path, y in leaves(value):
        if not carries_gradients(y):
            raise TypeError(f"{name}: the function's result{path} is a {type(y).__name__}, expected a Tensor")
    roots = [c for _, y in leaves(value) for c in _cores(y)]
    return value, cores, wanted and _outside(roots, cores)


def _pulled(roots: list[Any], seeds: list[Any], primals: Any, cores: list[Tensor], outer: bool) -> Any:
    again = outer or any(carries_gradients(s) and s.requires_grad for s in seeds)
    found = pull(roots, seeds, cores, again)
    made = []
    for core, g in zip(cores, found, strict=True):
        if g is None:
            g = Tensor(namespace(core.data).zeros_like(core.data))
        made.append(g if carries_gradients(g) else Tensor(g))
    return rebuilt(primals, iter(made))


def value_and_grad(
    f: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that gives the value of f and its gradient.

    Args:
        f: a function made of ops whose result is a Tensor of one element, a loss.
        argnums: by which of its positional arguments, one or several.
        has_aux: f gives (loss, something else), which is handed on.

    Returns:
        A function of f's arguments that gives (value, gradient), or ((value, aux), gradient). The gradient
        has the form of the argument: an array's is a Tensor, a dict's a dict; of several arguments, a tuple.

    Raises:
        TypeError: f gives no floating-point number, or an argument holds none; by the function made.
        ValueError: f gives more than one element.

    >>> import xpnet
    >>> xpnet.value_and_grad(lambda w: (w * w).sum())(xpnet.asarray([1.0, 2.0]))
    (tensor(5.0), tensor([2. 4.]))
    """
    return _value_and_grad("value_and_grad", f, argnums, has_aux)


def _value_and_grad(name: str, f: Function, argnums: int | tuple[int, ...], has_aux: bool) -> Any:
    function_of(f, name)

    @wraps(f)
    def found(*args: Any, **kwargs: Any) -> Any:
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        numbers = tuple(argument(args, i, name) for i in numbers)
        aux: list[Any] = []

        def of_these(*chosen: Any) -> Any:
            every = list(args)
            for i, x in zip(numbers, chosen, strict=True):
                every[i] = x
            result = f(*every, **kwargs)
            if has_aux:
                if not isinstance(result, tuple) or len(result) != 2:
                    raise TypeError(f"{name}: with has_aux the function gives (value, aux)")
                aux.append(result[1])
                result = result[0]
            return _scalar(name, result)

        primals = tuple(args[i] for i in numbers)
        value, cores, outer = _run(name, of_these, primals)
        if not _cores(value) and getattr(value, "_op", None) is not None:
            raise TypeError(f"{name}: nothing to differentiate: {why_constant(value)}")
        seed = Tensor(namespace(value.data).ones_like(value.data))
        gradient = _pulled([value], [seed], primals, cores, outer)
        value = value if outer else _constant(value)
        gradient = gradient[0] if isinstance(argnums, int) else gradient
        return ((value, aux[0]) if has_aux else value), gradient

    return found


def _scalar(name: str, y: Any) -> Any:
    if not carries_gradients(y):
        raise TypeError(f"{name}: the function's result is a {type(y).__name__}, expected a Tensor")
    if y.size != 1:
        raise ValueError(
            f"{name}: the function's result has shape {tuple(y.shape)}, expected one element: reduce it with "
            ".sum() or .mean(), or use xpnet.vjp or xpnet.jacobian"
        )
    if kind(y) != FLOAT:
        raise TypeError(
            f"{name}: the function's result is {y.dtype}, which has no gradient: {why_constant(y)}"
        )
    return y


def grad(f: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """The gradient of f, a function again: `grad(grad(f))` is its second derivative.

    Args:
        f: a function made of ops whose result is a Tensor of one element.
        argnums: by which of its positional arguments, one or several.
        has_aux: f gives (loss, something else); the function made then gives (gradient, something else).

    Returns:
        A function of f's arguments that gives the gradient in the form of the argument: of an array a Tensor,
        of a dict a dict, of several arguments a tuple. It is recorded where something outside of f that
        requires a gradient, such as a model's parameter, went into it.

    Raises:
        TypeError: f gives no floating-point number, or an argument holds none; by the function made.
        ValueError: f gives more than one element.

    >>> import xpnet
    >>> cube = lambda x: (x**3).sum()
    >>> xpnet.grad(cube)(xpnet.asarray([2.0]))
    tensor([12.])
    >>> xpnet.grad(lambda x: xpnet.grad(cube)(x).sum())(xpnet.asarray([2.0]))
    tensor([12.])
    """
    both = _value_and_grad("grad", f, argnums, has_aux)

    @wraps(f)
    def found(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return found


def stop_gradient(x: Any) -> Any:
    """x as a constant: nothing flows back through it, and no tangent forward.

    Args:
        x: a Tensor, an array, or a tuple, list or dict of them.

    >>> import xpnet
    >>> xpnet.grad(lambda x: (x * xpnet.stop_gradient(x)).sum())(xpnet.asarray([3.0]))
    tensor([3.])
    """
    return mapped(_stopped, x)


def _stopped(x: Any) -> Any:
    x = primal(x)
    return x.detach() if isinstance(x, Tensor) else x
