"""Values as the backend computes them: Tensors are unwrapped, its function is called, results are wrapped.

This is all there is to a function without a derivative, and to any function where nothing is recorded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.core.backend import Array, Backend, dtype_name, get_backend, load, named_dtype
from xpnet.core.methods import Methods
from xpnet.core.node import Carried
from xpnet.core.op import is_recorded
from xpnet.core.places import SCALARS, TENSOR, backend_name, backend_of, namespace, on_device
from xpnet.core.tensor import Tensor

_STANDARD = {"numpy": "array_api_compat.numpy"}


def standard(backend: Backend) -> Any:
    """The namespace of a backend that keeps to the standard; xpnet's own is that of NumPy, called sooner."""
    name = _STANDARD.get(backend.name)
    return importlib.import_module(name) if name else backend.xp


def flat(args: Any) -> Any:
    """The arguments, with those in lists and tuples."""
    for arg in args:
        if isinstance(arg, list | tuple):
            yield from flat(arg)
        else:
            yield arg


def differentiating(*args: Any) -> bool:
    """Whether an op of these would be recorded, or carry a tangent."""
    return is_recorded(*flat(args))


def is_dtype(x: Any) -> bool:
    """Whether x is a dtype of any backend."""
    return (isinstance(x, type) and issubclass(x, np.generic)) or type(x).__name__.lower().endswith("dtype")


def owner(x: Any) -> Backend | None:
    """The backend that an array, a Tensor, a dtype or a device belongs to; None for anything else."""
    if isinstance(x, Methods):
        return backend_of(x.data)
    if type(x) in SCALARS or isinstance(x, str | slice):
        return None
    if hasattr(x, "dtype") and hasattr(x, "shape") and not is_dtype(x):
        return backend_of(x)
    return None


def backend_for(args: Any, dtype: Any = None, device: Any = None) -> Backend:
    """Where to compute: where the first array is, else where dtype or device belong, else the default."""
    for arg in flat(args):
        found = owner(arg)
        if found is not None:
            return found
    default = get_backend()
    if device is not None and not isinstance(device, str):
        place = type(device).__module__.split(".")[0]
        if place != default.name and place in ("cupy", "torch", "array_api_strict"):
            return load(place, device)
    if device is None and is_dtype(dtype):
        kind = dtype if isinstance(dtype, type) else type(dtype)
        name = kind.__module__.split(".")[0]
        if name in ("torch", "array_api_strict") and name != default.name:
            return load(name)
        if name == "numpy" and default.name in ("torch", "array_api_strict"):
            return load("numpy")
    return default


def on(backend: Backend, dtype: Any) -> Any:
    """A dtype of any backend as that of another."""
    if dtype is None or isinstance(dtype, str):
        return named_dtype(dtype, backend) if dtype else None
    if isinstance(dtype, type) and issubclass(dtype, np.generic):
        dtype = np.dtype(dtype)
    if backend.name in ("numpy", "cupy") and isinstance(dtype, np.dtype):
        return dtype
    return named_dtype(dtype_name(dtype), backend) if is_dtype(dtype) else dtype


def unwrapped(x: Any, backend: Backend | None = None) -> Any:
    """The array of a Tensor; lists and tuples of them likewise."""
    if isinstance(x, Methods):
        return x.data
    if isinstance(x, list | tuple) and type(x) in (list, tuple):
        return type(x)(unwrapped(v, backend) for v in x)
    return on(backend, x) if backend is not None and is_dtype(x) else x


def wrapped(x: Any, maker: str | None = None) -> Any:
    """Arrays as Tensors, also in tuples and lists. `maker`: the function without a derivative they are of."""
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(wrapped(v, maker) for v in x))
    if isinstance(x, list | tuple):
        return type(x)(wrapped(v, maker) for v in x)
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        return x
    result = Tensor(x)
    if maker is not None:
        result._op = maker
    return result


def any_tensor(args: Any) -> bool:
    """Whether a Tensor, or what carries more than one, is among the arguments."""
    return any(isinstance(a, Methods) for a in flat(args))


def value_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], find: Any = None) -> Any:
    """What the backend's function of that name gives; a Tensor if an argument is one."""
    every = (*args, *kwargs.values())
    backend = backend_for(every, kwargs.get("dtype"))
    function = find(standard(backend)) if find else getattr(standard(backend), name)
    arrays = [unwrapped(a) for a in flat(every) if owner(a) is not None]
    if not arrays:
        kinds = ", ".join(type(a).__name__ for a in args) or "nothing"
        raise TypeError(
            f"{name}: expected an array or a Tensor, got {kinds}; make one with xpnet.asarray(...)"
        )
    namespace(*arrays)  # refuses two backends, and two devices
    plain = [unwrapped(a, backend) for a in args]
    named = {k: unwrapped(v, backend) for k, v in kwargs.items()}
    with on_device(arrays[0]):
        found = function(*plain, **named)
    return wrapped(found, name if differentiating(every) else None) if any_tensor(every) else found


def raw(x: Array) -> bool:
    """Whether x is an array of a backend, and no Tensor."""
    return hasattr(x, "dtype") and not isinstance(x, Carried | Methods) and backend_name(x) != TENSOR


Function = Callable[..., Any]
