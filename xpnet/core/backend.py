"""Backends: which there are, and which one is in use.

`set_backend` decides where *new* arrays are made. A computation follows the arrays it is given: an op asks
`namespace(x, w)` and works there. This is the only module that knows the names of the array libraries.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.core import numpy_namespace as _numpy
from xpnet.core.checks import nearest
from xpnet.core.context import Setting

Array = Any
"""An array of any backend."""

BACKENDS = ("numpy", "cupy", "array_api_strict", "torch")

_INSTALL = {
    "cupy": 'pip install "xpnet[cuda13]" (CUDA 13) or "xpnet[cuda12]" (CUDA 12)',
    "array_api_strict": 'pip install "xpnet[test]"',
    "torch": 'pip install "xpnet[torch]"',
}


class BackendUnavailableError(ImportError, RuntimeError):
    """The backend cannot be used on this machine; the message says what is missing and how to get it."""


class DeviceError(RuntimeError):
    """Arrays of two backends, or of two devices of one backend, met in one operation."""


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Backend:
    """A backend with the device where new arrays are made.

    It equals its name, and another record of the same backend and device. It can be a key of a dict and can
    be pickled.

    Attributes:
        name: `"numpy"`, `"cupy"`, `"array_api_strict"` or `"torch"`.
        xp: the Array API namespace.
        device: in the backend's own terms; None on NumPy.
    """

    name: str
    xp: Any
    device: Any = None

    @property
    def place(self) -> Any:
        """The device by number or name; None on NumPy."""
        return None if self.device is None else getattr(self.device, "id", label_of(self.device))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Backend):
            return self.name == other.name and self.place == other.place
        return self.name == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Backend({self.name!r})" if self.device is None else f"Backend({self.name!r}, {self.place!r})"

    def __reduce__(self) -> Any:
        return load, (self.name, self.place)


def _missing(name: str) -> str | None:
    """What keeps `name` from being used here: the package, the driver or the device. None if nothing does."""
    if importlib.util.find_spec(name) is None:
        return f"the package {name} is not installed: {_INSTALL[name]}"
    if name != "cupy":
        return None
    try:
        import cupy
    except ImportError as error:
        return f"the package cupy does not load ({error}): {_INSTALL[name]}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if "NoDevice" in str(error):
            return "no CUDA device is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES"
        return (
            f"the CUDA driver is missing or too old ({error}): install NVIDIA's driver, then check nvidia-smi"
        )
    return None if count else "no CUDA device is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES"


def check_name(name: str) -> None:
    """Refuse what is not the name of a backend.

    Raises:
        ValueError: with the names that there are.
    """
    if name in BACKENDS:
        return
    meant = {"cuda": "cupy", "gpu": "cupy", "cpu": "numpy", "pytorch": "torch", "np": "numpy"}
    near = meant.get(str(name).lower()) or nearest(str(name), BACKENDS)
    hint = f"; did you mean {near!r}?" if near else ""
    raise ValueError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}{hint}")


def load(name: str | Backend, device: Any = None) -> Backend:
    """The record of a backend, whose package is imported; arguments and errors are those of `set_backend`."""
    if isinstance(name, Backend):
        device = name.place if device is None else device
        name = name.name
    check_name(name)
    if name == "numpy":
        if device not in (None, "cpu"):
            raise ValueError(f"backend 'numpy' has one device, 'cpu', not {device!r}")
        return Backend("numpy", _numpy, None)
    reason = _missing(name)
    if reason is not None:
        raise BackendUnavailableError(f"backend {name!r} cannot be used: {reason}")
    if name == "array_api_strict":
        xp = importlib.import_module(name)
        info = xp.__array_namespace_info__()
        devices = {label_of(d): d for d in info.devices()}
        label = label_of(info.default_device() if device is None else device)
        if label not in devices:
            raise ValueError(f"backend {name!r} has the devices {', '.join(devices)}, not {device!r}")
        return Backend(name, xp, devices[label])
    xp = namespace_of(name)
    if name == "cupy":
        count = xp.cuda.runtime.getDeviceCount()
        number = getattr(device, "id", device)
        number = int(number) if isinstance(number, np.integer) else number
        if number is not None and (type(number) is not int or number not in range(count)):
            raise ValueError(f"backend 'cupy' has the devices 0 to {count - 1}, not {device!r}")
        return Backend(name, xp, xp.cuda.Device(number))  # None: the current device
    try:
        return Backend(name, xp, xp.empty(0, device=device).device)  # with its index: "cuda" is cuda:0
    except (RuntimeError, AssertionError) as error:
        message = str(error).splitlines()[0]
        raise ValueError(f"backend {name!r} cannot use device {device!r}: {message}") from None


def label_of(device: Any) -> str:
    """A device's short name: `device1` for array_api_strict's `array_api_strict.Device('device1')`."""
    return str(getattr(device, "_device", device))


HOST = Backend("numpy", _numpy)
HOST_TYPES: set[type] = {np.ndarray}
"""NumPy's arrays, and those of them that are written down (`xpnet.core.tracing`): what is quick for both."""
_default = HOST
_chosen: Setting[Backend | None] = Setting("xpnet_backend", None)  # by use_backend, here


_CUPY = "xpnet.core.cupy_namespace"


def namespace_of(name: str) -> Any:
    """The namespace of a backend whose package is installed."""
    return importlib.import_module(_CUPY if name == "cupy" else f"array_api_compat.{name}")


def set_backend(name: str | Backend, device: Any = None) -> None:
    """Make new arrays (parameters, data, random numbers) on this backend from now on.

    Args:
        name: `"numpy"`, `"cupy"`, `"array_api_strict"` or `"torch"`; or a record, as `get_backend()` gives.
        device: where on that backend; a CUDA device number for cupy, `"device1"` for array_api_strict,
            `"cpu"` or `"cuda"` for torch. Default: the backend's own default, on cupy the current device.

    Raises:
        ValueError: the name or the device is unknown.
        BackendUnavailableError: a package, driver or device is missing; the message says which.

    >>> import xpnet
    >>> xpnet.set_backend("numpy")
    >>> xpnet.get_backend()
    Backend('numpy')
    """
    global _default
    backend = load(name, device)
    if _chosen.get() is None:
        _default = backend
    else:
        _chosen.set(backend)
    if name == "cupy":
        backend.device.use()  # CuPy's own functions work on the current device


def get_backend() -> Backend:
    """The default backend: a record of `.name`, `.xp` and `.device`, which equals its name.

    >>> import xpnet
    >>> with xpnet.use_backend("numpy"):
    ...     xpnet.get_backend() == "numpy"
    True
    """
    return _chosen.get() or _default


@contextmanager
def use_backend(name: str | Backend, device: Any = None) -> Iterator[Backend]:
    """`set_backend` for the length of a `with` block, in this thread (or task) alone.

    Args:
        name: as in `set_backend`.
        device: as in `set_backend`.

    Returns:
        A context manager that gives the backend, as `get_backend()` does.

    Raises:
        ValueError: the name or the device is unknown.
        BackendUnavailableError: a package, driver or device is missing; the message says which.

    >>> import xpnet
    >>> with xpnet.use_backend("numpy") as backend:
    ...     x = xpnet.asarray([1.0, 2.0])
    >>> x.dtype
    dtype('float32')
    """
    chosen = load(name, device)
    with _chosen.within(chosen), chosen.xp.on(chosen.device) if name == "cupy" else nullcontext():
        yield chosen


def available_backends() -> list[str]:
    """The names of the backends that work on this machine.

    >>> import xpnet
    >>> "numpy" in xpnet.available_backends()
    True
    """
    return [name for name in BACKENDS if name == "numpy" or _missing(name) is None]


def dtype_name(dtype: Any) -> str:
    """The name that every backend knows a dtype by: `float32` for NumPy's and for `torch.float32`."""
    return dtype.__name__ if isinstance(dtype, type) else str(dtype).rpartition(".")[2]


def named_dtype(name: str, backend: Backend) -> Any:
    """The dtype of that name on a backend.

    Raises:
        ImportError: NumPy and CuPy have bfloat16 from the package ml_dtypes only.
        TypeError: the backend has no dtype of that name.
    """
    if name == "bfloat16" and backend.name in ("numpy", "cupy"):
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError(
                'bfloat16 on NumPy and CuPy needs the package ml_dtypes: pip install "xpnet[bfloat16]"'
            ) from None
        return np.dtype(ml_dtypes.bfloat16)
    dtype = getattr(backend.xp, name, None)
    if dtype is None:
        near = nearest(name, ("float16", "bfloat16", "float32", "float64", "int64", "bool"))
        hint = f"; did you mean {near!r}?" if near else ""
        raise TypeError(f"backend {backend.name!r} has no dtype {name!r}{hint}")
    return dtype
