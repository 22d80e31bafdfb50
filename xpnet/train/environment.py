"""Where a run computes, and what another place means for its bits."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from xpnet.core.backend import Backend, get_backend
from xpnet.core.places import backend_of
from xpnet.core.precision import get_matmul_precision
from xpnet.core.registry import is_enabled
from xpnet.core.version import __version__


class EnvironmentWarning(UserWarning):
    """A run goes on in another environment: what it gives is equal up to rounding, not bit for bit."""


def environment(model: Any = None, ranks: int = 1) -> dict[str, Any]:
    """What the bits of a run depend on beside the run itself, in terms of JSON.

    Args:
        model: a Module, whose backend counts; default: the backend in use.
        ranks: processes that train it together.

    Returns:
        Backend, device, threads, fused kernels, instructions of the CPU kernels, precision, ranks and
        versions, by name.

    >>> from xpnet.train.environment import environment
    >>> list(environment())[:5]
    ['backend', 'device', 'threads', 'fused kernels', 'cpu kernels']
    """
    first = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    backend = get_backend() if first is None else backend_of(first.data)
    on_host = backend.name != "cupy"
    return {
        "backend": backend.name,
        "device": _device(backend),
        "threads": _threads() if on_host else None,
        "fused kernels": is_enabled(),
        "cpu kernels": _instructions() if on_host else None,
        "matmul precision": None if on_host else get_matmul_precision(),
        "ranks": ranks,
        "xpnet": __version__,
        "numpy": _version("numpy"),
        **({backend.name: _backend_version(backend)} if backend.name in ("cupy", "torch") else {}),
    }


def environment_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """One line about what differs and what that means; empty if nothing does.

    >>> from xpnet.train.environment import environment, environment_differences
    >>> here = environment()
    >>> environment_differences(here, here)
    ''
    >>> environment_differences({**here, "threads": "1"}, {**here, "threads": "2"})
    'threads was 1, is 2: the result is equal up to rounding, not bit for bit'
    """
    changed = [
        f"{name} was {_text(then.get(name))}, is {_text(now.get(name))}"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]
    return f"{', '.join(changed)}: the result is equal up to rounding, not bit for bit" if changed else ""


def _text(value: Any) -> str:
    return {"None": "none", "True": "on", "False": "off"}.get(str(value), str(value))


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _backend_version(backend: Backend) -> str:
    found = str(getattr(backend.xp, "__version__", "")) or str(_version(backend.name))
    if backend.name != "cupy":
        return found
    import cupy

    return f"{cupy.__version__}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"


def _device(backend: Backend) -> str:
    """The model of the processor or the GPU: libraries have other code for another."""
    if backend.name == "cupy":
        import cupy

        return str(cupy.cuda.runtime.getDeviceProperties(backend.place)["name"].decode())
    return _processor() if backend.name == "numpy" else f"{backend.place}, {_processor()}"


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _instructions() -> str | None:
    """Those that the CPU kernels are compiled for; None where there are no such kernels."""
    from xpnet.cpu.launch import Native

    return None if Native is None else str(Native.instructions)


def _threads() -> str:
    """Of NumPy's matrix products; the kernels compute the same in any number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = (os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"))
    return next((value for value in given if value), str(cores))
