"""x[...] = y and x += y: in the memory of x, or, where gradients flow, as a new result that x goes on as.

The ops that took x before keep what it was. What shares its memory, a row that was taken out of it or the
matrix that it is a row of, goes on with it, as in NumPy and PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np

from xpnet.core import methods
from xpnet.core.arrays import kind
from xpnet.core.backend import Array, dtype_name
from xpnet.core.convert import asarray
from xpnet.core.indexing import entries
from xpnet.core.node import Carried
from xpnet.core.op import is_recorded
from xpnet.core.places import backend_name, backend_of, namespace, tensor_namespace
from xpnet.core.structure import assigned, put
from xpnet.core.tensor import Tensor, array_of
from xpnet.core.trees import leaves
from xpnet.core.versions import wrote
from xpnet.core.views import detached, laid_out, made, share_memory


def in_place(op: Any, x: Any, other: Any) -> Any:
    """x = op(x, other), and x is the same object, by PyTorch's rules.

    Raises:
        RuntimeError: x is a leaf that requires a gradient, and gradients are recorded.
        TypeError: the result is of a wider kind than x, such as float in an integer tensor.
        ValueError: the result is larger than x.
    """
    data = x.data
    if hasattr(other, "dtype") and kind(other) > kind(data):
        raise TypeError(f"in place: {other.dtype} does not fit a tensor of {data.dtype}; use x = x + y")
    if is_recorded(x, other):
        if is_trained(x):
            raise RuntimeError(
                f"a {type(x).__name__} that is trained is changed in place only in `with xpnet.no_grad():`, "
                "as in p -= lr * p.grad, or through p.data"
            )
        if isinstance(other, Carried) and not isinstance(x, Carried) and not hasattr(x, "_memory"):
            return _fitting(op(x, other), data)  # x cannot hold a tangent, and nobody shares its memory
        go_on_as(x, lambda old: _fitting(op(old, other), data))
        return x
    overwrite(x, _fitting(op(data, array_of(other)), data))
    return x


def _fitting(value: Any, data: Array) -> Any:
    """A result that is to stand in place of `data`."""
    if tuple(value.shape) != tuple(data.shape):
        raise ValueError(
            f"in place: a result of shape {tuple(value.shape)} does not fit a tensor of shape "
            f"{tuple(data.shape)}"
        )
    if value.dtype == data.dtype:
        return value
    if kind(value) > kind(data):
        raise TypeError(f"in place: {value.dtype} does not fit a tensor of {data.dtype}; use x = x + y")
    return namespace(value).astype(value, data.dtype)


def is_trained(x: Any) -> bool:
    """Whether x is a leaf that gradients are wanted of, or lies in one's memory."""
    memory = getattr(x, "_memory", None)
    return any(isinstance(t, Tensor) and t.requires_grad and t.is_leaf for t in (x, memory and memory.root()))


def overwrite(x: Tensor, value: Array) -> None:
    """Other values of the same shape and dtype, in the same memory."""
    if isinstance(x.data, np.generic):  # NumPy's scalars have none
        x.data = value
    else:
        x.data[...] = value
        wrote(x)


def assign(x: Any, index: Any, value: Any) -> None:
    """x[index] = value. Where gradients flow, x goes on as a new result, `put(x, index, value)`.

    Raises:
        RuntimeError: x is a leaf that requires a gradient, and gradients are recorded.
        TypeError: the value carries a tangent and x does not.
    """
    index = entries(index, x.data)
    if isinstance(value, list | tuple) and any(isinstance(v, methods.Methods) for _, v in leaves(value)):
        value = tensor_namespace().asarray(value, dtype=x.dtype)
    if is_recorded(x, value):
        if is_trained(x):
            raise RuntimeError(
                f"writing into a {type(x).__name__} that is trained would lose its gradient: do it in "
                "`with xpnet.no_grad():`, or write into a copy, x.clone()"
            )
        if not hasattr(value, "dtype"):
            value = asarray(value, dtype_name(x.dtype), backend=backend_of(x.data))
        go_on_as(x, lambda old: put(old, index, value))
        return
    if isinstance(x.data, np.generic):  # NumPy's scalars have no memory
        x.data = np.asarray(x.data)
    if not any(hasattr(i, "dtype") or i is Ellipsis for i in index):
        index = (*index, ...)
    value = array_of(value)
    if not isinstance(value, int | float | bool):
        value = np.asarray(value) if isinstance(value, list | tuple) else value
        value = asarray(value, backend=backend_of(x.data))
        value = namespace(value).astype(value, x.data.dtype, copy=False)
    if backend_name(x.data) == "array_api_strict" and any(hasattr(i, "dtype") for i in index):
        value = assigned(x.data, index, value)
        index = (...,)
    x.data[index] = value
    if isinstance(x, Tensor):
        wrote(x)


def go_on_as(x: Any, change: Callable[[Any], Any]) -> None:
    """Let x go on as `change(x)`, and with it what shares its memory.

    Raises:
        RuntimeError: x was detached from what is still there, which would miss the gradient.
        TypeError: it would have to carry a tangent.
    """
    memory, old = getattr(x, "_memory", None), _as_it_was(x)
    root = None if memory is None else memory.root()
    if memory is None or not share_memory(x.data, memory.array):
        _succeed(x, old, change(old))
        return
    if root is None:
        root = memory.without_root()
    others = [(v, r) for v, r in memory.alive() if share_memory(v.data, memory.array)]
    if detached(x._recipe) and (root is not None or len(others) > 1):
        raise RuntimeError(
            "x[...] = y: x was detached from a Tensor that shares its memory and would miss the gradient; "
            "write into a copy, x.clone()"
        )
    new = change(old)
    if root is x:
        _succeed(root, old, _laid_out(new, memory.array))
    elif root is None:  # nobody has it any more
        root = _laid_out(_put_back(Tensor(memory.array), x._recipe, new), memory.array)
        root._memory, root._recipe, memory.root = memory, None, ref(root)
    else:
        before = _as_it_was(root)
        _succeed(root, before, _laid_out(_put_back(before, x._recipe, new), memory.array))
    memory.array = root.data
    for view, recipe in others:
        _succeed(view, old if view is x else _as_it_was(view), made(recipe, root))


def _put_back(root: Any, recipe: Any, new: Any) -> Any:
    """The root with `new` where a view of it is.

    Raises:
        ValueError: one element of the root is several of the view.
    """
    n, shape = math.prod(root.shape), tuple(root.shape)
    where = made(recipe, Tensor(np.arange(n).reshape(shape))).data.reshape(-1)
    if np.unique(where).size < where.size:
        raise ValueError("x[...] = y: x repeats elements of another tensor; write into a copy, x.clone()")
    place = (asarray(where, backend=backend_of(root.data)),)
    return methods.ops.reshape(
        put(methods.ops.reshape(root, (-1,)), place, methods.ops.reshape(new, (-1,))), shape
    )


def _laid_out(new: Any, like: Array) -> Any:
    """A result of which views are to be made, as they were of an array."""
    node = new
    while isinstance(node, Carried):
        node = node.primal  # type: ignore[attr-defined]
    node._data = laid_out(node._data, like)
    return new


def _as_it_was(x: Any) -> Any:
    """What x is now, under another name."""
    old = object.__new__(type(x))
    for name in _slots(type(x)):
        if hasattr(x, name):
            setattr(old, name, getattr(x, name))
    if hasattr(old, "_before") and old._parents is None:  # no op that took it earlier can be walked over
        del old._before
    return old


def _succeed(x: Any, old: Any, new: Any) -> None:
    """Give x the value and the history of `new`; the ops that took it before find `old`."""
    if type(new) is not type(x):
        raise TypeError(
            f"x[...] = y: x is a {type(x).__name__} and y a {type(new).__name__}, which it cannot hold; make "
            "x of its parts, with xpnet.array_api.stack or concat"
        )
    for name in _slots(type(x)):
        if hasattr(new, name) and name not in ("_memory", "_recipe"):  # x stays a view of what it was
            setattr(x, name, getattr(new, name))
    if isinstance(x, Tensor):
        x._before = old
        x._parents = [(i, old if parent is x else parent) for i, parent in x._parents or ()]


def _slots(kind: type) -> list[str]:
    return [n for c in kind.__mro__ for n in getattr(c, "__slots__", ()) if n != "__weakref__"]
