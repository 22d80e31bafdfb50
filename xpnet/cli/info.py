"""`xpnet info`."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from xpnet import BackendUnavailableError, __version__, use_backend
from xpnet.cli.errors import OK
from xpnet.cli.settings import Settings as Base
from xpnet.core import registry as dispatch
from xpnet.core.backend import BACKENDS
from xpnet.cpu import launch

_PACKAGES = (
    "numpy", "array-api-compat", "cupy", "cupy-cuda12x", "cupy-cuda13x", "torch", "array-api-strict",
    "matplotlib", "tqdm", "safetensors",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """The options of `xpnet info`."""

    json: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `xpnet info`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(settings: Settings) -> int:
    """Print what is installed and what works; the exit code."""
    info = collect()
    if settings.json:
        print(json.dumps(info, indent=2))
        return OK
    print(f"xpnet {info['xpnet']}, Python {info['python']}, {info['platform']}, {info['cpus']} CPUs")
    print("\npackages")
    for name, found in info["packages"].items():
        print(f"  {name:<18}{found or 'not installed'}")
    print("\nbackends")
    for name, backend in info["backends"].items():
        print(f"  {name:<18}{', '.join(backend['devices']) or 'unavailable: ' + backend['reason']}")
    print(f"\nCPU kernels: {info['cpu_kernels']}")
    print(f"\nfused kernels: {info['kernels']['state']}")
    for name, backends in info["kernels"]["registered"].items():
        print(f"  {name:<18}{', '.join(backends)}")
    return OK


def collect() -> dict[str, Any]:
    """What there is, as JSON can hold it."""
    backends = {name: _backend(name) for name in BACKENDS}
    return {
        "xpnet": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "backends": backends,
        "cpu_kernels": _cpu_kernels(),
        "kernels": _kernels(backends),
    }


def _cpu_kernels() -> str:
    """Which of the compiled kernels for NumPy arrays this machine runs."""
    if launch.Native is None:
        return (
            "not built: there was no C compiler when xpnet was installed; get one and install it again "
            "(pip install --force-reinstall --no-deps xpnet)"
        )
    return f"ready, for {launch.Native.instructions} instructions, {launch.Native.threads()} threads"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _backend(name: str) -> dict[str, Any]:
    try:
        with use_backend(name) as backend:
            return {"devices": _devices(name, backend.xp), "reason": None}
    except BackendUnavailableError as error:
        return {"devices": [], "reason": str(error).partition(": ")[2]}


def _devices(name: str, xp: Any) -> list[str]:
    if name == "cupy":
        runtime = xp.cuda.runtime
        names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]
        return [f"{i}: {device}" for i, device in enumerate(names)]
    if name == "torch":
        torch = import_module("torch")
        return [
            "cpu",
            *(f"cuda:{i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())),
        ]
    return ["cpu"]


def _kernels(backends: dict[str, Any]) -> dict[str, Any]:
    """The kernels that stand in for Array API bodies."""
    for backend in BACKENDS:
        dispatch.load_kernels(backend)
    found = dispatch.registered()
    usable = any(backends[b]["devices"] for names in found.values() for b in names if b in backends)
    if not found:
        state = "none registered"
    elif not dispatch.is_enabled():
        state = "switched off (XPNET_FUSED=0)"
    else:
        state = "active" if usable else "registered, but their backend is unavailable"
    return {"state": state, "registered": found}
