"""Moving data: from anything to an array of a backend, and to NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.core.backend import Array, Backend, get_backend, named_dtype
from xpnet.core.context import again
from xpnet.core.incoming import dense, gaps, ordinary
from xpnet.core.places import backend_name, device, known_backend, namespace

on_synchronise: list[Callable[[], None]] = []
"""Called whenever the host has waited for a CUDA device: what a device has noted is raised here."""


def to_numpy(x: Any) -> np.ndarray:
    """A NumPy array of the same values; copies only if the data is not on the host already.

    PyTorch's bfloat16, which NumPy lacks, becomes float32, which holds it exactly.

    Args:
        x: a Tensor, an array of any backend and device, or anything `numpy.asarray` takes.

    >>> import xpnet
    >>> xpnet.to_numpy(xpnet.tensor([1.0, 2.0]))
    array([1., 2.], dtype=float32)
    """
    x = _value(x) if hasattr(x, "requires_grad") and hasattr(x, "backward") else x
    if isinstance(x, np.ndarray):
        return ordinary(x)
    name = type(x).__module__.split(".")[0]
    if name == "cupy":
        host = x.get()
        for look in on_synchronise:
            look()
        return host
    if name == "torch":
        x = x.detach().cpu()
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if name == "array_api_strict":
        xp = namespace(x)
        return np.asarray(x.to_device(xp.Device("CPU_DEVICE")))
    return ordinary(dense(x))


def array_like(x: Any) -> Array:
    """The array of a Tensor, an array of a backend as it is; lists, Series, frames as NumPy arrays.

    Raises:
        ValueError: some values are masked.
    """
    if isinstance(x, np.ndarray):
        return ordinary(x)
    if hasattr(x, "requires_grad") and type(x).__module__.startswith("xpnet"):
        return _value(x)
    if hasattr(x, "dtype"):
        try:
            backend_name(x)
        except TypeError:  # a Series
            pass
        else:
            return x
    return ordinary(dense(x))


def _shared(x: Any, target: Backend) -> Array | None:
    """Another library's array as one of the target's, on the same memory, by DLPack; None if it cannot be."""
    if target.name not in ("cupy", "torch") or isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__"):
        return None
    try:
        shared = target.xp.from_dlpack(x.detach() if hasattr(x, "detach") else x)
    # on another device, or of a dtype of its own; AssertionError: a PyTorch without CUDA is given CuPy's
    except (AssertionError, BufferError, RuntimeError, TypeError, ValueError):
        return None
    return shared if backend_name(shared) == target.name else None


def asarray(x: Any, dtype: Any = None, *, backend: Backend | None = None) -> Array:
    """An array on the default backend; arrays already there are returned as they are.

    An array of another library on the same device (PyTorch, JAX, ...) is not copied: both share its memory.

    Args:
        x: a Tensor, an array of any backend, a NumPy array, a Series, or nested Python numbers, whose floats
            become float32 unless `dtype` is given; arrays keep their dtype, in the machine's byte order.
        dtype: a dtype, or its name such as `"float32"`; default: that of `x`.
        backend: where to, instead of the default backend.

    Returns:
        An array of the shape of `x`.

    Raises:
        TypeError: something is not a number.
        ValueError: values are masked.

    >>> import xpnet
    >>> xpnet.asarray([[1.0, 2.0]]).dtype
    dtype('float32')
    """
    target = backend or get_backend()
    if hasattr(x, "requires_grad") and type(x).__module__.startswith("xpnet"):
        x = _value(x)
    if isinstance(dtype, str):
        dtype = named_dtype(dtype, target)
    if isinstance(x, np.ndarray):
        x = _numbers(ordinary(x))
    if known_backend(x) == target.name:
        if target.device is None or device(x) == target.device:
            return x if dtype is None or x.dtype == dtype else target.xp.astype(x, dtype)
    else:
        shared = _shared(x, target)
        if shared is not None:
            return asarray(shared, dtype, backend=target)
        is_array = hasattr(x, "dtype")
        x = _numbers(to_numpy(x))
        if not is_array and dtype is None and x.dtype == np.float64:
            x = x.astype(np.float32)
    if target.device is None:
        return target.xp.asarray(x, dtype=dtype)
    return target.xp.asarray(to_numpy(x), dtype=dtype, device=target.device)


def _value(x: Any) -> Array:
    """The array of a Tensor, which loses its history: no body may do so that runs for a derivative."""
    if x.requires_grad and again.get():
        raise TypeError(
            "this function has no derivative of higher order: it takes only the values of a Tensor that "
            "requires a gradient; write it with the functions of namespace(x)"
        )
    return x.data


def _numbers(x: np.ndarray) -> np.ndarray:
    """The array, if it holds numbers."""
    if x.dtype.kind in "OUSMm":
        such = x.ravel()[:1].tolist()
        raise TypeError(f"expected numbers, got {x.dtype.name} values such as {such}{gaps(x)}")
    return x
