"""Where arrays live: the default backend, the namespace of an array, and what to say when neither fits.

`set_backend` decides where *new* arrays are made. A computation follows the arrays it is given: an op asks
`namespace(x, w)` and works there. This is the only module that knows the names of the array libraries.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import array_api_compat
import numpy as np

from xpnet.core import numpy_namespace as _numpy
from xpnet.core.incoming import ordinary

P = ParamSpec("P")
R = TypeVar("R")
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
        return None if self.device is None else getattr(self.device, "id", _label(self.device))

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
        return _load, (self.name, self.place)


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


def _load(name: str | Backend, device: Any) -> Backend:
    if isinstance(name, Backend):
        device = name.place if device is None else device
        name = name.name
    if name not in BACKENDS:
        meant = {"cuda": "cupy", "gpu": "cupy", "cpu": "numpy", "pytorch": "torch", "np": "numpy"}
        near = meant.get(str(name).lower()) or next(iter(get_close_matches(str(name), BACKENDS, 1)), None)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}{hint}")
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
        devices = {_label(d): d for d in info.devices()}
        label = _label(info.default_device() if device is None else device)
        if label not in devices:
            raise ValueError(f"backend {name!r} has the devices {', '.join(devices)}, not {device!r}")
        return Backend(name, xp, devices[label])
    xp = _namespace_of(name)
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


def _label(device: Any) -> str:
    """A device's short name: `device1` for array_api_strict's `array_api_strict.Device('device1')`."""
    return str(getattr(device, "_device", device))


HOST = Backend("numpy", _numpy)
_default = HOST
_chosen: ContextVar[Backend | None] = ContextVar("xpnet_backend", default=None)  # by use_backend, here


_CUPY = "xpnet.core.cupy_namespace"


def _namespace_of(name: str) -> Any:
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
    backend = _load(name, device)
    if _chosen.get() is None:
        _default = backend
    else:
        _chosen.set(backend)
    if name == "cupy":
        backend.device.use()  # CuPy's own functions work on the current device


def get_backend() -> Backend:
    """The default backend: a record of `.name`, `.xp` and `.device`, which equals its name."""
    return _chosen.get() or _default


@contextmanager
def use_backend(name: str | Backend, device: Any = None) -> Iterator[Backend]:
    """`set_backend` for the length of a `with` block, in this thread (or task) alone.

    >>> import xpnet
    >>> with xpnet.use_backend("numpy") as backend:
    ...     x = xpnet.asarray([1.0, 2.0])
    >>> x.dtype
    dtype('float32')
    """
    chosen = _load(name, device)
    previous = _chosen.get()
    _chosen.set(chosen)
    try:
        with chosen.xp.on(chosen.device) if name == "cupy" else nullcontext():
            yield chosen
    finally:
        _chosen.set(previous)


def available_backends() -> list[str]:
    """The names of the backends that work on this machine.

    >>> import xpnet
    >>> "numpy" in xpnet.available_backends()
    True
    """
    return [name for name in BACKENDS if name == "numpy" or _missing(name) is None]


# ---- the backend of an array ------------------------------------------------------------------------------

_NAMESPACES: dict[type, Any] = {np.ndarray: _numpy}
_NAMES: dict[type, str] = {np.ndarray: "numpy"}
NUMPY = (np.ndarray, np.generic)  # a tuple: a union would be made anew in each call
SCALARS = (int, float, bool, type(None))


_MAKE = "make one with xpnet.asarray(...)"


def _learn(array: Any) -> None:
    """Remember namespace and backend name of a type seen for the first time."""
    kind = type(array)
    if isinstance(array, np.ma.MaskedArray | np.matrix):
        raise TypeError(
            f"expected an array or a Tensor, got {kind.__name__}; make one with xpnet.asarray(...)"
        )
    if isinstance(array, NUMPY):
        _NAMESPACES[kind], _NAMES[kind] = _numpy, "numpy"
        return
    try:
        xp = array_api_compat.array_namespace(array)
    except TypeError:
        raise TypeError(f"expected an array or a Tensor, got {kind.__name__}; {_MAKE}") from None
    name = kind.__module__.split(".")[0]
    if name == "cupy":
        xp = _namespace_of(name)
    _NAMES[kind], _NAMESPACES[kind] = name, xp


def backend_name(array: Array) -> str:
    """The name of the backend that owns an array."""
    try:
        return _NAMES[type(array)]
    except KeyError:
        _learn(array)
        return _NAMES[type(array)]


def namespace(*arrays: Array) -> Any:
    """The Array API namespace shared by all arrays; Python scalars and None are passed over.

    Raises:
        DeviceError: the arrays are of different backends or on different devices.
        TypeError: something is not an array.
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
            raise DeviceError(
                f"arrays on {where(first)} and {where(array)} met in one operation; "
                "move one with xpnet.asarray(x) or model.to(backend)"
            )
    if xp is None:
        raise TypeError("expected at least one array or Tensor, got only Python scalars")
    return xp


def device(array: Array) -> Any:
    """The device of an array, in the backend's own terms; None on NumPy."""
    return None if type(array) is np.ndarray or isinstance(array, np.generic) else array.device


def device_key(array: Array) -> Any:
    """The device of an array as a key of a dict: `cupy.cuda.Device` has no hash."""
    if isinstance(array, NUMPY):
        return None
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
    return name if name == "numpy" else f"{name} ({_label(device_key(array))})"


def backend_of(array: Array) -> Backend:
    """The backend and device of an array, as `set_backend` would make them."""
    if type(array) is np.ndarray:
        return HOST
    return Backend(backend_name(array), namespace(array), device(array))


# ---- dtypes -----------------------------------------------------------------------------------------------


def dtype_name(dtype: Any) -> str:
    """The name that every backend knows a dtype by: `float32` for NumPy's and for `torch.float32`."""
    return str(dtype).rpartition(".")[2]


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
        raise TypeError(f"backend {backend.name!r} has no dtype {name!r}")
    return dtype


# ---- moving data ------------------------------------------------------------------------------------------


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
    x = getattr(x, "data", x) if hasattr(x, "requires_grad") and hasattr(x, "backward") else x
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
    return ordinary(np.asarray(x))


def array_like(x: Any) -> Array:
    """The array of a Tensor, an array of a backend as it is; lists, Series, frames as NumPy arrays.

    Raises:
        ValueError: some values are masked.
    """
    if isinstance(x, np.ndarray):
        return ordinary(x)
    if hasattr(x, "requires_grad") and type(x).__module__.startswith("xpnet"):
        return x.data
    if hasattr(x, "dtype"):
        try:
            backend_name(x)
        except TypeError:  # a Series
            pass
        else:
            return x
    return ordinary(np.asarray(x))


def _shared(x: Any, target: Backend) -> Array | None:
    """Another library's array as one of the target's, on the same memory, by DLPack; None if it cannot be."""
    if target.name not in ("cupy", "torch") or isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__"):
        return None
    try:
        shared = target.xp.from_dlpack(x.detach() if hasattr(x, "detach") else x)
    except (BufferError, RuntimeError, TypeError, ValueError):  # on another device, or of a dtype of its own
        return None
    return shared if backend_name(shared) == target.name else None


def asarray(x: Any, dtype: Any = None, *, backend: Backend | None = None) -> Array:
    """An array on the default backend; arrays already there are returned as they are.

    An array of another library on the same device (PyTorch, JAX, ...) is not copied: both share its memory.

    Args:
        x: a Tensor, an array of any backend, a NumPy array, a Series, or nested Python numbers. Python floats
            become float32 (never float64); arrays keep their dtype, in the machine's byte order.
        dtype: a dtype, or its name such as `"float32"`; default: that of `x`.
        backend: where to, instead of the default backend.

    Raises:
        TypeError: something is not a number.
        ValueError: values are masked.

    >>> import xpnet
    >>> xpnet.asarray([[1.0, 2.0]]).dtype
    dtype('float32')
    """
    target = backend or _chosen.get() or _default
    if hasattr(x, "requires_grad") and type(x).__module__.startswith("xpnet"):
        x = x.data
    if isinstance(dtype, str):
        dtype = named_dtype(dtype, target)
    if isinstance(x, np.ndarray):
        x = _numbers(ordinary(x))
    if type(x) in _NAMES and _NAMES[type(x)] == target.name:
        if target.device is None or device(x) == target.device:
            return x if dtype is None or x.dtype == dtype else target.xp.astype(x, dtype)
    else:
        shared = _shared(x, target)
        if shared is not None:
            return asarray(shared, dtype, backend=target)
        is_array = hasattr(x, "dtype")
        x = _numbers(to_numpy(x))
        if not is_array and x.dtype == np.float64:
            x = x.astype(np.float32)
    if target.device is None:
        return target.xp.asarray(x, dtype=dtype)
    return target.xp.asarray(to_numpy(x), dtype=dtype, device=target.device)


def _numbers(x: np.ndarray) -> np.ndarray:
    """The array, if it holds numbers."""
    if x.dtype.kind in "OUSMm":
        raise TypeError(f"expected numbers, got {x.dtype.name} values such as {x.ravel()[:1].tolist()}")
    return x
