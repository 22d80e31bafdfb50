"""CuPy as an Array API namespace that makes arrays where `device` says and never waits for the device.

CuPy computes on the *current* device, wherever the arrays are, and array-api-compat passes over `device=` of
the creation functions; so creation makes the device current here, and `on` does it for everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np
from array_api_compat import cupy as _compat
from array_api_compat.cupy import fft as _fft
from array_api_compat.cupy import linalg as _linalg

from xpnet.core.cupy_graph import Graph as Graph
from xpnet.core.cupy_graph import copied as copied
from xpnet.core.cupy_graph import copy_into as copy_into
from xpnet.core.cupy_graph import same_bytes as same_bytes

globals().update({name: value for name, value in vars(_compat).items() if not name.startswith("__")})

_DEVICES: int = cupy.cuda.runtime.getDeviceCount()
_HERE: AbstractContextManager[Any] = nullcontext()


def on(device: Any) -> AbstractContextManager[Any]:
    """Make a device current: a `cupy.cuda.Device`, its number, or None for the current one."""
    if device is None or _DEVICES == 1:
        return _HERE
    number = getattr(device, "id", device)
    return _HERE if number == cupy.cuda.runtime.getDevice() else cupy.cuda.Device(number)


@cache
def memory(device: int) -> int:
    """Bytes of memory that a device has."""
    return int(cupy.cuda.Device(device).mem_info[1])


def is_capturing() -> bool:
    """Whether the current stream is being captured into a graph."""
    return cupy.cuda.get_current_stream().is_capturing()


def page_locked(n: int) -> tuple[np.ndarray, Any]:
    """n int64 zeros in page-locked host memory, as the host sees them and as the current device does."""
    memory = cupy.cuda.alloc_pinned_memory(8 * n)
    host = np.frombuffer(memory, np.int64, n)
    host[...] = 0
    here = cupy.cuda.runtime.getDevice()
    mapped = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(memory.ptr, 8 * n, memory, here), 0)
    return host, cupy.ndarray((n,), np.int64, mapped)


class Event:
    """A place in the work of a device, which the host can wait for."""

    def __init__(self) -> None:
        self._event = cupy.cuda.Event(disable_timing=True)

    def record(self) -> None:
        """Here, in the order of the current stream."""
        self._event.record()

    def wait(self) -> None:
        """Until the device has come to where this was recorded last, if it is not there yet."""
        if not self._event.done:
            self._event.synchronize()


class Flag:
    """A truth that a device finds, read on the host later, when the device has long been past it."""

    def __init__(self) -> None:
        self.host, self.device = page_locked(1)
        self.event = Event()

    def set(self, truth: Any) -> None:
        """Note a 0-d array of bool, in the order of the current stream."""
        self.device[...] = truth
        self.event.record()

    def get(self) -> bool:
        """What was set; waits only if the device is not there yet."""
        self.event.wait()
        return bool(self.host[0])


def wait(x: Any) -> None:
    """Wait until the device of `x` has done all it was given."""
    x.device.synchronize()


def _placed(create: Callable[..., Any]) -> Callable[..., Any]:
    """A creation function whose result is on `device`; by default on the current one."""

    @wraps(create)
    def placed(*args: Any, device: Any = None, **kwargs: Any) -> Any:
        with on(device):
            return create(*args, **kwargs)

    return placed


def _like(create: Callable[..., Any]) -> Callable[..., Any]:
    """A creation function whose result is on `device`; by default where an array it is given is."""

    @wraps(create)
    def like(x: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        if device is None and isinstance(x, cupy.ndarray):
            device = x.data.device_id
        with on(device):
            return create(x, *args, **kwargs)

    return like


for _name in ("arange", "empty", "eye", "full", "linspace", "ones", "zeros"):
    globals()[_name] = _placed(getattr(_compat, _name))


def _over_axes(transform: Callable[..., Any]) -> Callable[..., Any]:
    """`s` as a list: CuPy takes a tuple that equals the shape for no change, whatever the order of `axes`."""

    @wraps(transform)
    def over_axes(x: Any, /, *, s: Any = None, **options: Any) -> Any:
        return transform(x, s=s if s is None else list(s), **options)

    return over_axes


fft = SimpleNamespace(
    **{
        **vars(_fft),
        **{name: _placed(getattr(_fft, name)) for name in ("fftfreq", "rfftfreq")},
        **{name: _over_axes(getattr(_fft, name)) for name in ("fftn", "ifftn", "rfftn", "irfftn")},
    }
)
for _name in ("asarray", "empty_like", "full_like", "ones_like", "zeros_like"):
    globals()[_name] = _like(getattr(_compat, _name))


def _solve(a: Any, b: Any, /) -> Any:
    """A^-1 B; CuPy's own wants the same stack of both, and a column."""
    if b.ndim > 1:
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (cupy.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (a, b))
        if not b.size:
            return cupy.empty(b.shape, cupy.result_type(a, b))
    return cupy.linalg.solve(a, b)


linalg = SimpleNamespace(**{**vars(_linalg), "solve": _solve})


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """`x` between `min` and `max`; array-api-compat looks at the values for this, and waits twice.

    Not by CuPy's own `clip`, which leaves out a bound that is NaN.
    """
    y = x if min is None else cupy.maximum(x, min)
    y = y if max is None else cupy.minimum(y, max)
    return y.astype(x.dtype, copy=y is x)
