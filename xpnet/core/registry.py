"""An op owns its body and its kernels: the Array API body is the reference, a kernel is the fast path.

A body becomes an op by `@differentiable` or, if it has no gradient, `@fusable`. A kernel of it, a function of
the same signature and the same result for the arrays of one backend, belongs to that op::

    @batch_norm.kernel("cupy")
    def launch(x, weight, bias, ...):
        ...

and runs instead whenever the first argument is an array of that backend. Where it cannot take its arguments
(an unusual dtype, say) it returns NotImplemented, and the body runs.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from functools import wraps
from inspect import signature
from threading import RLock
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast
from weakref import WeakSet

import numpy as np

from xpnet.core.backend import HOST_TYPES, DeviceError, check_name
from xpnet.core.context import Setting, Within, active
from xpnet.core.places import SCALARS, backend_name, device_key, on_device, where
from xpnet.core.tracing import traced

P = ParamSpec("P")
R = TypeVar("R")

_fused = Setting("xpnet_fused", os.environ.get("XPNET_FUSED", "1") != "0")


class KernelError(RuntimeError):
    """A kernel that cannot be compiled or started here; nothing was computed."""


class Kernel(NamedTuple):
    """A launcher, and what it leaves to the body.

    Attributes:
        launcher: called like the body.
        min_size: the number of elements below which the first argument is left to the body.
        told: whether the launcher has the argument `recorded`: whether its pullback will probably be used, so
            that value and gradient are made in one pass.
    """

    launcher: Callable[..., Any]
    min_size: int = 0
    told: bool = False


Kernels = dict[str, Kernel]
"""The kernels of an op, by backend."""


class OwnsKernels(Protocol):
    """What has a name, kernels, and a way to add some."""

    __name__: str
    kernels: Kernels

    def kernel(self, backend: str, min_size: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a kernel for first arguments of `backend`: see `xpnet.core.registry.Kernel`.

        Raises:
            ValueError: there is no such backend.
        """


class Fusable(OwnsKernels, Protocol[P, R]):
    """A function that owns its body and its kernels."""

    body: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What a kernel makes of the arguments, or the body."""


_with_kernels: WeakSet[Any] = WeakSet()


def own(op: Any, body: Callable[..., Any], kernels: Kernels) -> Any:
    """Give an op its body and its kernels, and `kernel` to add some."""

    def kernel(backend: str, min_size: int = 0) -> Callable[[Callable[P, R]], Callable[P, R]]:
        check_name(backend)

        def register(launcher: Callable[P, R]) -> Callable[P, R]:
            told = "recorded" in signature(launcher).parameters
            kernels[backend] = Kernel(launcher, min_size, told)
            _with_kernels.add(op)
            return launcher

        return register

    op.body, op.kernels, op.kernel = body, kernels, kernel
    return op


def ops_with_kernels() -> list[Any]:
    """Every op that has a kernel so far."""
    return list(_with_kernels)


unloaded: dict[str, Callable[[], object]] = {}
"""What registers the kernels of a backend, until its first array arrives; `xpnet` fills it."""


_loading = RLock()  # a thread that comes while another one loads waits: the bodies would give it other bits
_begun: set[str] = set()  # by the thread that has the lock, which may meet an op on its way


def load_kernels(backend: str) -> None:
    """Register the kernels of a backend if that has not been done."""
    with _loading:
        if backend not in unloaded or backend in _begun:
            return
        _begun.add(backend)
        try:
            unloaded[backend]()
        finally:
            _begun.discard(backend)
            del unloaded[backend]


def run(
    kernels: Kernels,
    body: Callable[..., R],
    args: Any,
    kwargs: dict[str, Any],
    recorded: bool = False,
    anywhere: tuple[str, ...] = (),
) -> R:
    """`body(*args, **kwargs)`, or what a kernel makes of it, on the device of the arguments.

    Raises:
        DeviceError: a kernel would have met arrays of two backends or devices.
    """
    first: Any = args[0] if args else next(iter(kwargs.values()), None)
    if type(first) in SCALARS:
        if first is None and args:
            raise TypeError(f"{body.__name__}: expected an array or a Tensor, got None")
        first = next((a for a in args if type(a) not in SCALARS), None)
        if first is None:
            return body(*args, **kwargs)
    name = "numpy" if type(first) is np.ndarray else backend_name(first)
    if name in unloaded:
        load_kernels(name)
    kernel = kernels.get(name) if _fused.get() else None
    if kernel is None or (kernel.min_size and math.prod(first.shape) < kernel.min_size):
        if name != "cupy":
            return body(*args, **kwargs)
        with on_device(first):
            return body(*args, **kwargs)
    error = misplaced(body, anywhere, first, args, kwargs)
    if error is not None:  # a kernel takes addresses: an array from elsewhere must not reach it
        raise error
    with on_device(first):
        try:
            if kernel.told:
                result = kernel.launcher(*args, **kwargs, recorded=recorded)
            else:
                result = kernel.launcher(*args, **kwargs)
        except KernelError:  # it has said so: an optional speed-up ends no run
            return body(*args, **kwargs)
        return body(*args, **kwargs) if result is NotImplemented else result


def run_numpy(
    kernel: Kernel | None,
    body: Callable[..., R],
    args: Any,
    kwargs: dict[str, Any],
    recorded: bool = False,
    anywhere: tuple[str, ...] = (),
) -> R:
    """`run` for a first argument of NumPy's: less to look at, which counts in small networks."""
    if kernel is None or args[0].size < kernel.min_size or not _fused.get():
        return body(*args, **kwargs)
    for a in (*args, *kwargs.values()) if kwargs else args:
        if type(a) not in HOST_TYPES and type(a) not in _NO_ARRAYS:
            if hasattr(a, "dtype"):  # perhaps from elsewhere
                return run({"numpy": kernel}, body, args, kwargs, recorded, anywhere)
            _NO_ARRAYS.add(type(a))
    if kernel.told:
        kwargs = {**kwargs, "recorded": recorded}
    result: Any = kernel.launcher(*args, **kwargs)
    if result is not NotImplemented:
        return result
    kwargs.pop("recorded", None)
    return body(*args, **kwargs)


_NO_ARRAYS: set[type] = {*SCALARS, str}


def misplaced(
    body: Callable[..., Any], anywhere: tuple[str, ...], first: Any, args: Any, kwargs: dict[str, Any]
) -> DeviceError | None:
    """The error for the argument that is not where the first one is; None if all are.

    Args:
        body: whose arguments they are.
        anywhere: names of arguments that may be of any library and device.
        first: the array that says where.
        args: all positional arguments.
        kwargs: the others.
    """
    kind, place = type(first), None if type(first) is np.ndarray else device_key(first)
    for i, a in enumerate((*args, *kwargs.values())):
        if not hasattr(a, "dtype") or isinstance(a, type):  # a dtype's class has one, too
            continue
        if type(a) is kind and (place is None or device_key(a) == place):
            continue
        names = (*list(signature(body).parameters)[: len(args)], *kwargs)
        if names[i] in anywhere or isinstance(a, np.generic | np.dtype):
            continue
        if place is None and backend_name(a) == backend_name(first):  # a memory-mapped file, say
            continue
        return DeviceError(
            f"{body.__name__}: {names[i]} is on {where(a)}, the first argument on {where(first)}; "
            "move one with xpnet.asarray(x) or model.to(backend)"
        )
    return None


def fusable(body: Callable[P, R]) -> Fusable[P, R]:
    """Let kernels stand in for a function without a gradient, by the backend of its first argument."""
    kernels: Kernels = {}

    @wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if args and type(args[0]) in HOST_TYPES and "numpy" not in unloaded:  # the quick answer, as in `run`
            result = run_numpy(kernels.get("numpy"), body, args, kwargs)
        else:
            result = run(kernels, body, args, kwargs)
        if active[0] and not any(result is a for a in args):  # `out` stays what it is
            return cast("R", traced([result])[0])
        return result

    return cast("Fusable[P, R]", own(call, body, kernels))


class fused_kernels(Within[bool]):
    """Switch every fused kernel on or off in a `with` block, in this thread. Public as `xpnet.fused`.

    `XPNET_FUSED=0` in the environment starts with all of them off.

    Args:
        flag: whether kernels run; if not, the Array API bodies do, on every backend.

    Warns:
        RuntimeWarning: it was not used in a `with` statement, so it changed nothing.

    >>> import xpnet
    >>> with xpnet.fused(False):
    ...     y = xpnet.functional.relu(xpnet.asarray([-1.0, 2.0]))
    """

    def __init__(self, flag: bool) -> None:
        super().__init__(_fused, bool(flag))
        self._used = False

    def __enter__(self) -> None:
        self._used = True
        super().__enter__()

    def __del__(self) -> None:
        if not getattr(self, "_used", True):
            message = "xpnet.fused(...) changed nothing: it is for `with`, XPNET_FUSED=0 for a whole process"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def registered() -> dict[str, list[str]]:
    """The backends that have a kernel for each op that has any, by the op's name; two of a name share one."""
    found: dict[str, set[str]] = {}
    for op in _with_kernels:
        found.setdefault(op.__name__, set()).update(op.kernels)
    return {name: sorted(backends) for name, backends in sorted(found.items())}


def is_enabled() -> bool:
    """Whether registered kernels are used."""
    return _fused.get()
