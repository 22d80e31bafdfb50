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
from typing import Any, ParamSpec, TypeVar

from xpnet.backend import backend_name

P = ParamSpec("P")
R = TypeVar("R")

_KERNELS: dict[str, dict[str, Callable[..., Any]]] = {}
_enabled = os.environ.get("XPNET_FUSED", "1") != "0"


def fusable(body: Callable[P, R]) -> Callable[P, R]:
    """Let registered kernels stand in for `body`, chosen by the backend of its first argument."""
    kernels = kernels_of(body)

    @wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if kernels and _enabled:
            kernel = kernels.get(backend_name(args[0] if args else next(iter(kwargs.values()))))
            if kernel is not None:
                result = kernel(*args, **kwargs)
                if result is not NotImplemented:
                    return result
        return body(*args, **kwargs)

    return call


def kernels_of(body: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The launchers registered for a body, by backend; it fills as they register."""
    return _KERNELS.setdefault(body.__name__, {})


def fused(name: str, *, backend: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a launcher for the op `name` on arrays of `backend`; it keeps the body's signature."""

    def register(launcher: Callable[P, R]) -> Callable[P, R]:
        _KERNELS.setdefault(name, {})[backend] = launcher
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
