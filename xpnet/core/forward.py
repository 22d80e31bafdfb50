"""Forward mode: numbers that carry their tangent, and how tangents go through an op.

A `Dual` is a value with its derivative along a direction, x + eps t. An op that is given one runs its body on
it: every step of the body is an op again, down to those that the namespace itself is made of. These say with
one word how a tangent goes through them (Baydin et al., 2018, section 3.1):

- "pointwise": the Jacobian is diagonal, so the op's own pullback applies it;
- "linear": the tangent of f(x) is f(t);
- "multilinear": the sum over the arguments of f with that argument replaced by its tangent;
- "transposed": the pullback dy -> J^T dy is linear; the pullback of the pullback gives J t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.core.again import as_tensors, gradients, running_again
from xpnet.core.arrays import FLOAT, is_array, kind
from xpnet.core.backend import Array
from xpnet.core.context import Setting
from xpnet.core.methods import Methods
from xpnet.core.node import Carried
from xpnet.core.op import is_constant
from xpnet.core.places import namespace, tensor_namespace
from xpnet.core.tensor import Tensor
from xpnet.core.views import viewed


class Dual(Carried, Methods[Any]):
    """A value and its tangent along one direction.

    Attributes:
        primal: the value, a Tensor (or, in a nested `jvp`, a Dual of the outer one).
        tangent: its derivative, of the same shape and dtype.
        level: of the `jvp` that made it: an inner one has a larger number than one around it.
    """

    _root: Any  # what a view is one of: a Tensor's graph keeps it, here nothing else would
    __slots__ = ("__weakref__", "_memory", "_recipe", "_root", "level", "primal", "tangent")

    def __init__(self, primal: Any, tangent: Any, level: int) -> None:
        self.primal, self.tangent, self.level = primal, tangent, level

    @property
    def data(self) -> Array:
        """The array of the value, without any derivative."""
        return self.primal.data

    @property
    def requires_grad(self) -> bool:  # type: ignore[override]
        """Whether gradients flow through value or tangent."""
        return self.primal.requires_grad or self.tangent.requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.primal.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self.primal.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.primal.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.primal.size

    @property
    def device(self) -> Any:
        """The device of the value."""
        return self.primal.device

    is_leaf = False

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """`xpnet.array_api`."""
        return tensor_namespace(api_version)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError("a value in forward mode is no NumPy array: that would lose its tangent")

    def detach(self) -> Any:
        """The value, a constant."""
        return self.primal.detach()

    def backward(self, *args: Any, **kwargs: Any) -> None:
        """Refused.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("backward() in a function that jvp runs: use xpnet.grad or xpnet.vjp there")

    def apply(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of an op of which this is an argument, a Dual or what has no tangent."""
        return apply(op, args, kwargs)

    def __repr__(self) -> str:
        return f"dual({self.primal}, tangent={self.tangent})"


def level_of(x: Any) -> int:
    """The level of a Dual; 0 of anything else."""
    return x.level if isinstance(x, Dual) else 0


def primal(x: Any) -> Any:
    """The value of a Dual without any tangent; anything else as it is."""
    while isinstance(x, Dual):
        x = x.primal
    return x


def split(x: Any, level: int) -> tuple[Any, Any]:
    """Value and tangent (None: 0) at a level."""
    return (x.primal, x.tangent) if isinstance(x, Dual) and x.level == level else (x, None)


def apply(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`op(*args, **kwargs)` where some are Duals."""
    # a NumPy scalar is a number: float64 must not spread from it
    args = tuple(a.item() if isinstance(a, np.generic) else a for a in _bound(op, args, kwargs))
    if is_constant():
        return op(*map(primal, args), **{k: primal(v) for k, v in kwargs.items()})
    kwargs = {k: v for k, v in kwargs.items() if not isinstance(v, Methods)}
    level = max(map(level_of, args))
    if op.forward is None:
        with _on_the_backend_of(next(a for a in args if isinstance(a, Dual)).data):
            return op.body(*as_tensors(op, list(args)), **kwargs)[0]
    pairs = [split(a, level) for a in args]
    primals, tangents = [p for p, _ in pairs], [t for _, t in pairs]
    value = op(*primals, **kwargs)
    tangent = RULES[op.forward](op, primals, tangents, kwargs, value)
    result = Dual(value, tangent, level)
    if op.views and isinstance(args[0], Dual):
        rest = args[1:]  # without the first, which a view does not keep
        viewed(result, args[0], lambda x: op(x, *rest, **kwargs))
        if hasattr(result, "_memory"):
            result._root = result._memory.root()
    return result


def _bound(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Duals and Tensors given by name at their positions."""
    named = [i for i, n in enumerate(op.arguments) if isinstance(kwargs.get(n), Methods)]
    if not named:
        return args
    from inspect import signature

    parameters = list(signature(op.body).parameters.values())
    return args + tuple(kwargs.pop(p.name, p.default) for p in parameters[len(args) : max(named) + 1])


def _on_the_backend_of(array: Array) -> Any:
    """As in `running_again`, but this is the first run: what the body leaves behind, it leaves now."""
    return running_again(array, first=True)


Rule = Callable[[Any, list[Any], list[Any], dict[str, Any], Any], Any]


def _pointwise(op: Any, primals: list[Any], tangents: list[Any], kwargs: dict[str, Any], value: Any) -> Any:
    if _is_complex(value) or any(_is_complex(p) for p in primals):
        return _transposed(op, primals, tangents, kwargs, value)
    xp, shape = tensor_namespace(), tuple(value.shape)
    spread = [xp.broadcast_to(p, shape) if is_array(p) and tuple(p.shape) != shape else p for p in primals]
    pullback = _pullback(op, spread, kwargs, value)
    total: Any = None
    for i, tangent in enumerate(tangents):
        if tangent is None:
            continue
        tangent = xp.broadcast_to(tangent, shape) if tuple(tangent.shape) != shape else tangent
        part = pullback(tangent, i)
        total = part if total is None else part if part is None else total + part
    return xp.zeros_like(value) if total is None else total


def _pullback(op: Any, primals: list[Any], kwargs: dict[str, Any], value: Any) -> Any:
    """The pullback of an op at `primals`, a function of dy and the number of an argument; recorded."""
    with running_again(value.data):
        pullback = op.body(*as_tensors(op, primals), **kwargs)[1]

    def run(dy: Any, i: int) -> Any:
        with running_again(value.data):
            pulled = pullback(dy)
            pulled = pulled if type(pulled) is tuple else (pulled,)
            gradient = pulled[i] if i < len(pulled) else None
            return gradient(None) if callable(gradient) else gradient

    return run


def _is_complex(x: Any) -> bool:
    return hasattr(x, "dtype") and "complex" in str(x.dtype)


def _linear(op: Any, primals: list[Any], tangents: list[Any], kwargs: dict[str, Any], value: Any) -> Any:
    xp = tensor_namespace()
    return op(
        *(
            t if t is not None else xp.zeros_like(p) if _varies(p) else p
            for p, t in zip(primals, tangents, strict=True)
        ),
        **kwargs,
    )


def _varies(p: Any) -> bool:
    """Whether it is an array of numbers that could have a tangent."""
    return is_array(p) and kind(p) >= FLOAT


def _multilinear(op: Any, primals: list[Any], tangents: list[Any], kwargs: dict[str, Any], value: Any) -> Any:
    total: Any = None
    for i, tangent in enumerate(tangents):
        if tangent is not None:
            part = op(*primals[:i], tangent, *primals[i + 1 :], **kwargs)
            total = part if total is None else total + part
    return total


def _transposed(op: Any, primals: list[Any], tangents: list[Any], kwargs: dict[str, Any], value: Any) -> Any:
    """With the pullback P(u) = J^T u: the gradient of <P(u), t> by u is J t, whatever u is."""
    xp = tensor_namespace()
    u = Tensor(namespace(value.data).zeros_like(value.data), requires_grad=True)
    pullback = _pullback(op, primals, kwargs, value)
    roots, seeds = [], []
    for i, tangent in enumerate(tangents):
        root = pullback(u, i) if tangent is not None else None
        if root is not None:
            roots.append(root)
            seeds.append(tangent)
    found = pull(roots, seeds, [u], True)[0]
    return xp.zeros_like(value) if found is None else found


RULES: dict[str, Rule] = {
    "pointwise": _pointwise,
    "linear": _linear,
    "multilinear": _multilinear,
    "transposed": _transposed,
}


def pull(roots: list[Any], seeds: list[Any], inputs: list[Tensor], create_graph: bool) -> list[Any]:
    """`xpnet.core.again.gradients`, where roots and seeds may be Duals: d(sum <seed, root>) / d(input).

    A gradient's tangent is the gradient of the tangent: with y = y0 + eps y1 and c = c0 + eps c1,
    pull(y, c) = pull(y0, c0) + eps (pull(y1, c0) + pull(y0, c1)).
    """
    level = max((level_of(x) for x in (*roots, *seeds)), default=0)
    if level:
        y0, y1 = zip(*(split(y, level) for y in roots), strict=True)
        c0, c1 = zip(*(split(c, level) for c in seeds), strict=True)
        terms = [
            (y, c)
            for y, c in (*zip(y1, c0, strict=True), *zip(y0, c1, strict=True))
            if None not in map(_one, (y, c))
        ]
        values = pull(list(y0), list(c0), inputs, create_graph)
        tangents = pull([y for y, _ in terms], [c for _, c in terms], inputs, create_graph)
        return [_dual(v, t, level) for v, t in zip(values, tangents, strict=True)]
    pairs = [(y, s) for y, s in zip(roots, seeds, strict=True) if isinstance(y, Tensor) and y.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    seeds = [s if create_graph or not isinstance(s, Tensor) else s.data for _, s in pairs]
    seeds = [Tensor(s) if create_graph and not isinstance(s, Tensor) else s for s in seeds]
    found = gradients([y for y, _ in pairs], seeds, inputs, create_graph)
    return [g if g is None or isinstance(g, Tensor) else Tensor(g) for g in found]


def _one(x: Any) -> Any:
    return None if x is None else True


def _dual(value: Any, tangent: Any, level: int) -> Any:
    if tangent is None:
        return value
    if value is None:
        value = tensor_namespace().zeros_like(tangent)
    return Dual(value, tangent, level)


levels = Setting("xpnet_jvp_level", 0)
"""How many `jvp` are under way around this call."""
