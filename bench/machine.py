"""The machine and the software that a result belongs to."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax", "scikit-learn", "thinc")
ROOT = Path(__file__).resolve().parent.parent


def describe(threads: int) -> dict[str, Any]:
    """What identifies the machine and its state."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "gpu": _gpu(),
        "emulated": emulated(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def emulated() -> bool:
    """Whether CuPy is the one of tests/cupy_on_cpu: what it takes says nothing about a GPU."""
    try:
        import cupy
    except Exception:  # not installed, or broken
        return False
    return cupy.__version__.endswith("+cpu")


def sources() -> str:
    """A hash of what is measured and tested, where there is no git to ask: on a machine that got a copy."""
    text = hashlib.sha256()
    for path in sorted(p for top in ("xpnet", "kernels", "bench", "tests") for p in (ROOT / top).rglob("*")):
        if path.suffix in (".py", ".cu", ".cuh", ".sh"):
            text.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return text.hexdigest()[:12]


def device_name(machine: dict[str, Any]) -> str:
    """The machine in a few words: results are compared where this is the same."""
    name = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads"
    name += f", {machine['instructions']} only" if machine.get("instructions") else ""
    return name + (f" + {machine['gpu']}" if machine["gpu"] else "")


def file_name(machine: dict[str, Any], when: str) -> str:
    """The name of a result file: device and time."""
    words = re.sub(r"\(.*?\)|processor|nvidia", "", device_name(machine), flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + "-" + re.sub(r"\D", "", when)[:12] + ".json"


def now() -> str:
    """Date and time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


def versions() -> dict[str, str]:
    """Python, xpnet and its revision, and the packages that columns come from."""
    import xpnet
    from xpnet.cpu import Native

    found = {"python": sys.version.split()[0], "xpnet": f"{xpnet.__version__} {_revision()}".strip()}
    found["CPU kernels"] = Native.instructions if Native is not None else "not built"
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _revision() -> str:
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    fields = dict(re.findall(r"^(model name|model|cpu family|stepping)\s*:\s*(.+)$", text, re.MULTILINE))
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "family" not in name and "model" in fields and not re.search(r"\d", name.split("@")[0]):
        # virtual machines hide the product's number
        name += f" (family {fields.get('cpu family')} model {fields['model']})"
    return name


def _gpu() -> str | None:
    try:
        import cupy

        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception:  # no cupy, no driver, no device
        pass
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(0) if torch is not None and torch.cuda.is_available() else None


def cpu_clock() -> tuple[float, float]:
    """CPU seconds that the whole machine has worked (or that a hypervisor took), and this process with its
    children, of which those count that have ended.

    Zeros where the system does not say.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0, 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def others_share(before: tuple[float, float], after: tuple[float, float], seconds: float) -> float:
    """The share of the machine's CPU time that other processes took between two `cpu_clock`s."""
    machine, own = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, machine - own) / (seconds * (os.cpu_count() or 1))


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    info = Path("/proc/meminfo")
    match = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text()) if info.exists() else None
    return int(match[1]) * 1024 if match else 8 << 30
