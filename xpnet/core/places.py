"""Where an array is: its namespace, its backend and its device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import array_api_compat
import numpy as np

from xpnet.core import numpy_namespace as _numpy
from xpnet.core.backend import HOST, Array, Backend, DeviceError, label_of, namespace_of

load_tensor_namespace: list[Callable[[], Any]] = []
"""What imports `xpnet.array_api`, which stands above this floor; `xpnet` fills it."""


def tensor_namespace(api_version: str | None = None) -> Any:
    """The namespace of Tensors.

    Raises:
        ValueError: an edition of the standard that it does not follow.
    """
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"api_version must be at most 2024.12, got {api_version!r}")
    return load_tensor_namespace[0]()


P = ParamSpec("P")
R = TypeVar("R")

_NAMESPACES: dict[type, Any] = {np.ndarray: _numpy}
_NAMES: dict[type, str] = {np.ndarray: "numpy"}
NUMPY = (np.ndarray, np.generic)  # a tuple: a union would be made anew in each call
SCALARS = (int, float, bool, complex, type(None))


TENSOR = "xpnet"
"""The backend's name of Tensors, and of whatever else carries more than an array."""

_MAKE = "make one with xpnet.asarray(...)"


def _learn(array: Any) -> None:
    """Remember namespace and backend name of a type seen for the first time."""
    kind = type(array)
    if isinstance(array, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"expected an array or a Tensor, got {kind.__name__}; {_MAKE}")
    if isinstance(array, NUMPY):  # memory-mapped files, too
        _NAMESPACES[kind], _NAMES[kind] = _numpy, "numpy"
        return
    try:
        xp = array_api_compat.array_namespace(array)
    except TypeError:
        raise TypeError(f"expected an array or a Tensor, got {kind.__name__}; {_MAKE}") from None
    name = kind.__module__.split(".")[0]
    if name == "cupy":
        xp = namespace_of(name)
    elif getattr(xp, "__name__", None) == "xpnet.array_api":
        name = TENSOR
    _NAMES[kind], _NAMESPACES[kind] = name, xp


def backend_name(array: Array) -> str:
    """The name of the backend that owns an array."""
    try:
        return _NAMES[type(array)]
    except KeyError:
        _learn(array)
        return _NAMES[type(array)]


def known_backend(x: Any) -> str | None:
    """The name of the backend of an array whose type has been seen before; None of anything else."""
    return _NAMES.get(type(x))


def namespace(*arrays: Array) -> Any:
    """The Array API namespace shared by all arrays; Python scalars and None are passed over.

    Raises:
        DeviceError: the arrays are of different backends or on different devices.
        TypeError: something is not an array.

    >>> import numpy, xpnet
    >>> xp = xpnet.namespace(numpy.ones(2), 1.0, None)
    >>> float(xp.sum(numpy.ones(2)))
    2.0
    """
    for array in arrays:
        if type(array) is not np.ndarray and array is not None:
            break
    else:
        if arrays[0] is not None:
            return _numpy
    xp: Any = None
    first: Any = None
    for array in arrays:
        kind = type(array)
        if kind in SCALARS:
            continue
        try:
            other = _NAMESPACES[kind]
        except KeyError:
            _learn(array)
            other = _NAMESPACES[kind]
        if xp is None:
            xp, first = other, array
        elif other is not xp or (xp is not _numpy and array.device != first.device):
            if _NAMES[kind] == TENSOR or _NAMES[type(first)] == TENSOR:
                namespace(*(a.data if _carries(a) else a for a in arrays))
                return other if _NAMES[kind] == TENSOR else xp
            raise DeviceError(
                f"arrays on {where(first)} and {where(array)} met in one operation; "
                "move one with xpnet.asarray(x) or model.to(backend)"
            )
    if xp is None:
        raise TypeError("expected at least one array or Tensor, got only Python scalars")
    return xp


def _carries(x: Any) -> bool:
    return type(x) not in SCALARS and backend_name(x) == TENSOR


def device(array: Array) -> Any:
    """The device of an array, in the backend's own terms; None on NumPy."""
    return None if type(array) is np.ndarray or isinstance(array, np.generic) else array.device


def device_key(array: Array) -> Any:
    """The device of an array as a key of a dict: `cupy.cuda.Device` has no hash."""
    if isinstance(array, NUMPY):
        return None
    if _NAMES.get(type(array)) == "cupy":
        return array.data.device_id  # without making an object for the device
    place = device(array)
    return getattr(place, "id", place)


def on_device(array: Array) -> AbstractContextManager[Any]:
    """Make the array's CUDA device current, for what CuPy computes; nothing elsewhere."""
    if isinstance(array, NUMPY) or backend_name(array) != "cupy":
        return _NOWHERE
    return namespace(array).on(array.data.device_id)


def following(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function on the device of the first array, Tensor, Module or holder of one that it is given."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for thing in (*args, *kwargs.values()):
            array = _array_in(thing)
            if array is not None:
                with on_device(array):
                    return function(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def _array_in(thing: Any) -> Array | None:
    if isinstance(thing, list | tuple) and thing:
        thing = thing[0]
    thing = getattr(thing, "model", thing)  # of a Trainer
    if hasattr(thing, "parameters"):
        thing = next(iter(thing.parameters()), None)
    array = thing.data if hasattr(thing, "requires_grad") and hasattr(thing, "backward") else thing
    return array if hasattr(array, "dtype") and hasattr(array, "shape") else None


def is_capturing(array: Array) -> bool:
    """Whether what is done to the array now goes into a CUDA graph, to be run later."""
    return type(array) is not np.ndarray and backend_name(array) == "cupy" and namespace(array).is_capturing()


_NOWHERE: AbstractContextManager[Any] = nullcontext()


def where(array: Array) -> str:
    """Backend and device of an array, for messages: `numpy`, `array_api_strict (device1)`, `cupy (0)`."""
    name = backend_name(array)
    return name if name == "numpy" else f"{name} ({label_of(device_key(array))})"


def backend_of(array: Array) -> Backend:
    """The backend and device of an array, as `set_backend` would make them."""
    if type(array) is np.ndarray:
        return HOST
    if backend_name(array) == TENSOR:
        return backend_of(array.data)
    return Backend(backend_name(array), namespace(array), device(array))
