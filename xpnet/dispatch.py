"""The registry of fused kernels: an op's Array API body is the reference, a kernel is the fast path.

A body is marked `@fusable`. A launcher with the same signature and the same result is registered under the
body's name for one backend::

    @fused("batch_norm", backend="cupy")
    def batch_norm(x, weight, bias, ...):
        ...

and runs instead whenever the first argument is an array of that backend. A launcher that cannot take its
arguments (an unusual dtype, say) returns NotImplemented, and the body runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from xpnet.backend import SCALARS, DeviceError, backend_name, device_key, on_device, where

P = ParamSpec("P")
R = TypeVar("R")

_KERNELS: dict[str, dict[str, Kernel]] = {}
_enabled = os.environ.get("XPNET_FUSED", "1") != "0"


class KernelError(RuntimeError):
    """A kernel that cannot be compiled or started here; nothing was computed."""


class Kernel(NamedTuple):
    """A launcher and the number of elements below which its first argument is left to the body."""

    launcher: Callable[..., Any]
    least: int


def run(kernels: dict[str, Kernel], body: Callable[..., R], args: Any, kwargs: dict[str, Any]) -> R:
    """`body(*args, **kwargs)`, or what a kernel makes of it, on the device of the arguments.

    Raises:
        DeviceError: a kernel would have met arrays of two backends or devices. Targets may be anywhere.
    """
    first = args[0] if args else next(iter(kwargs.values()))
    if type(first) in SCALARS:
        first = next((a for a in args if type(a) not in SCALARS), None)
        if first is None:
            return body(*args, **kwargs)
    # a type that is new here makes its backend's kernels register, so this comes before the look-up
    name = "numpy" if type(first) is np.ndarray else backend_name(first)
    kernel = kernels.get(name) if _enabled else None
    if kernel is None or kernel.least > first.size:
        if name != "cupy":
            return body(*args, **kwargs)
        with on_device(first):
            return body(*args, **kwargs)
    _check_places(body, first, args, kwargs)
    with on_device(first):
        try:
            result = kernel.launcher(*args, **kwargs)
        except KernelError:  # it has said so: an optional speed-up ends no run
            return body(*args, **kwargs)
        return body(*args, **kwargs) if result is NotImplemented else result


def _check_places(body: Callable[..., Any], first: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """A kernel takes addresses: an array from elsewhere must not reach it."""
    kind, place = type(first), None if type(first) is np.ndarray else device_key(first)
    for i, a in enumerate((*args, *kwargs.values())):
        if hasattr(a, "dtype") and (type(a) is not kind or (place is not None and device_key(a) != place)):
            names = (*list(signature(body).parameters)[: len(args)], *kwargs)
            if names[i] != "target" and not isinstance(a, np.generic | np.dtype):
                raise DeviceError(
                    f"{body.__name__}: {names[i]} is on {where(a)}, the first argument on {where(first)}; "
                    "move one with xpnet.asarray(x) or model.to(backend)"
                )


def fusable(body: Callable[P, R]) -> Callable[P, R]:
    """Let registered kernels stand in for `body`, chosen by the backend of its first argument."""
    kernels = kernels_of(body)

    @wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kernels and args and type(args[0]) is np.ndarray:
            return body(*args, **kwargs)
        return run(kernels, body, args, kwargs)

    return call


def kernels_of(body: Callable[..., Any]) -> dict[str, Kernel]:
    """The launchers registered for a body, by backend; it fills as they register."""
    return _KERNELS.setdefault(body.__name__, {})


def fused(name: str, *, backend: str, least: int = 0) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a launcher for the op `name` on arrays of `backend`; it keeps the body's signature.

    Args:
        name: the body's name.
        backend: whose arrays the launcher takes.
        least: below this many elements in the first argument, the body runs.
    """

    def register(launcher: Callable[P, R]) -> Callable[P, R]:
        _KERNELS.setdefault(name, {})[backend] = Kernel(launcher, least)
        return launcher

    return register


class fused_kernels:
    """Switch every fused kernel on or off, at once or for a `with` block. Public as `xpnet.fused`.

    `XPNET_FUSED=0` in the environment starts with all of them off.

    >>> import xpnet
    >>> with xpnet.fused(False):
    ...     pass  # the Array API bodies run here, on every backend
    """

    def __init__(self, flag: bool) -> None:
        global _enabled
        self._previous, _enabled = _enabled, bool(flag)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        global _enabled
        _enabled = self._previous


def registered() -> dict[str, list[str]]:
    """The backends that have a kernel for each op that has any, and nothing else."""
    return {name: sorted(kernels) for name, kernels in sorted(_KERNELS.items()) if kernels}


def is_enabled() -> bool:
    """Whether registered kernels are used."""
    return _enabled
