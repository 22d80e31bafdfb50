"""Forward mode, and what is made of both modes: Jacobians, Hessians and products with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.core import random
from xpnet.core.arrays import carries_gradients
from xpnet.core.context import again
from xpnet.core.forward import Dual, levels, split
from xpnet.core.op import forward_mode
from xpnet.core.places import device, namespace, tensor_namespace
from xpnet.core.tensor import Tensor
from xpnet.core.trees import leaves, rebuilt
from xpnet.transforms.reverse import grad, vjp
from xpnet.transforms.trees import argument, function_of, tensor_of

Function = Callable[..., Any]


def jvp(f: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """The value of f and its derivative along a direction, J t, in one run of f: forward mode.

    Args:
        f: a function made of ops.
        primals: a tuple of its arguments: Tensors or arrays, or trees of them.
        tangents: a tuple of the same form: how each moves.

    Returns:
        (f(*primals), J t), the second of the form, shapes and dtypes of the first.

    Raises:
        TypeError: primals and tangents are no tuples, or hold no floating-point numbers.
        ValueError: a tangent's shape is not that of its primal.

    Memory does not grow with the length of the computation, and it costs about two runs of f.

    >>> import xpnet
    >>> xpnet.jvp(lambda x: x * x, (xpnet.asarray([1.0, 2.0]),), (xpnet.asarray([1.0, 10.0]),))
    (tensor([1. 4.]), tensor([ 2. 40.]))
    """
    function_of(f, "jvp")
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError("jvp: primals and tangents are tuples, one entry for each argument of the function")
    given = [tensor_of(x, f"jvp: primals{path}") for path, x in leaves(primals)]
    moves = [tensor_of(t, f"jvp: tangents{path}") for path, t in leaves(tangents)]
    if len(given) != len(moves):
        raise ValueError(f"jvp: {len(given)} primals need as many tangents, got {len(moves)}")
    for i, (x, t) in enumerate(zip(given, moves, strict=True)):
        if tuple(x.shape) != tuple(t.shape):
            raise ValueError(f"jvp: tangent {i} has shape {tuple(t.shape)}, its primal {tuple(x.shape)}")
        if x.dtype != t.dtype:
            raise TypeError(f"jvp: tangent {i} is {t.dtype}, its primal {x.dtype}")
    level = levels.get() + 1
    with levels.within(level), forward_mode():
        duals = iter([Dual(x, t, level) for x, t in zip(given, moves, strict=True)])
        value = f(*rebuilt(tuple(primals), duals))
    pairs = [split(y, level) for _, y in leaves(value)]
    zero = lambda y: tensor_namespace().zeros_like(y)
    return (
        rebuilt(value, iter([y for y, _ in pairs])),
        rebuilt(value, iter([zero(y) if t is None else t for y, t in pairs])),
    )


def hvp(f: Function, x: Any, v: Any) -> Any:
    """The Hessian of f at x times v, without the Hessian: forward mode over reverse mode.

    Args:
        f: a function of x, made of ops, whose result is one number.
        x: a Tensor or an array, or a tree of them.
        v: of the form of x.

    Returns:
        H v, of the form of x. It costs about four runs of f, whatever the size of x (Pearlmutter, 1994, "Fast
        exact multiplication by the Hessian").

    Raises:
        TypeError: f gives no floating-point number, or x holds none.
        ValueError: f gives more than one element, or v has another shape.

    >>> import xpnet
    >>> xpnet.hvp(lambda x: (x**3).sum(), xpnet.asarray([1.0, 2.0]), xpnet.asarray([1.0, 1.0]))
    tensor([ 6. 12.])
    """
    return jvp(grad(f), (x,), (v,))[1]


def _one_hot(like: Any, k: int) -> Tensor:
    xp, n = namespace(like.data), math.prod(like.shape)
    row = xp.arange(n, dtype=xp.int64, device=device(like.data)) == k
    return Tensor(xp.reshape(xp.astype(row, like.dtype), tuple(like.shape)))


def jacobian(f: Function, argnums: int = 0, mode: str | None = None) -> Function:
    """The matrix of all derivatives of f, d f_i / d x_j.

    Args:
        f: a function made of ops, of one Tensor or array at `argnums`, that gives a Tensor.
        argnums: which positional argument.
        mode: "reverse", a pass for each element of the result; "forward", one for each of the argument; None
            for the fewer.

    Returns:
        A function of f's arguments that gives a Tensor of shape (*result.shape, *argument.shape).

    Raises:
        TypeError: argument or result are no floating-point numbers; by the function made.
        ValueError: an unknown mode.

    >>> import xpnet
    >>> xpnet.jacobian(lambda x: x * x)(xpnet.asarray([1.0, 2.0]))
    tensor([[2. 0.]
     [0. 4.]])
    """
    if mode not in (None, "reverse", "forward"):
        raise ValueError(f'jacobian: mode must be "reverse", "forward" or None, got {mode!r}')

    function_of(f, "jacobian")

    def found(*args: Any, **kwargs: Any) -> Any:
        at = argument(args, argnums, "jacobian")
        x = tensor_of(args[at], f"jacobian: argument {argnums}")
        xp = tensor_namespace()

        def of_x(z: Any) -> Any:
            every = list(args)
            every[at] = z
            y = f(*every, **kwargs)
            if not carries_gradients(y):
                raise TypeError(f"jacobian: the function's result is a {type(y).__name__}, expected a Tensor")
            return y

        if mode == "forward":
            return _columns(of_x, x, xp)
        y, pullback = vjp(of_x, x)
        if mode is None and x.size < y.size:
            return _columns(of_x, x, xp)
        rows = [pullback(_one_hot(y, i))[0] for i in range(y.size)]
        shape = (*y.shape, *x.shape)
        return xp.reshape(xp.stack(rows), shape) if rows else xp.zeros(shape, dtype=x.dtype)

    return found


def _columns(f: Function, x: Any, xp: Any) -> Any:
    state, columns = random.generator_state(), []
    for j in range(x.size):
        if j:  # one function: the same dropout masks, and statistics that have moved already
            random.set_generator_state(state)
        with again.within(j > 0):
            columns.append(jvp(f, (x,), (_one_hot(x, j),))[1])
    if not columns:
        return xp.zeros((*f(x).shape, *x.shape), dtype=x.dtype)
    return xp.reshape(xp.stack(columns, axis=-1), (*columns[0].shape, *x.shape))


def hessian(f: Function, argnums: int = 0) -> Function:
    """The matrix of second derivatives of f: the Jacobian of its gradient, by forward mode over reverse mode.

    Args:
        f: a function made of ops whose result is one number.
        argnums: which positional argument, a Tensor or an array.

    Returns:
        A function of f's arguments that gives a Tensor of shape (*x.shape, *x.shape).

    Raises:
        TypeError: argument or result are no floating-point numbers; by the function made.
        ValueError: the result has more than one element; by the function made.

    >>> import xpnet
    >>> xpnet.hessian(lambda x: x[0] ** 2 * x[1])(xpnet.asarray([1.0, 2.0]))
    tensor([[4. 2.]
     [2. 0.]])
    """
    return jacobian(grad(f, argnums), argnums, "forward")
