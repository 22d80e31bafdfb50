"""Stage: pytest on CuPy, `kernels` or the `suite`, in several processes; record.py keeps what it finds.

Left out is what shows nothing more on a GPU: tests that run on the host alone, the oracle's, NVRTC's, and the
emulator's own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from tests.gpu.fragment import DRY, Fragment

WORKERS = min(12, os.cpu_count() or 1)
KERNELS = ["tests/kernels", "--ignore=tests/kernels/test_nvrtc.py", "--ignore=tests/kernels/test_emulator.py"]
SUITE = ["tests", "--ignore=tests/kernels", "--ignore=tests/oracle"]
SMALL = {
    "kernels": ["tests/kernels/test_gradients.py"],
    "suite": ["tests/test_dropout.py"],
}


def command(which: str, *more: str) -> list[str]:
    """pytest's arguments, without those of pyproject.toml: no doctests."""
    chosen = SMALL[which] if DRY else {"kernels": KERNELS, "suite": SUITE}[which]
    own = [
        "-p",
        "tests.gpu.record",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-o",
        "faulthandler_timeout=60",
    ]
    return [sys.executable, "-m", "pytest", "-q", "--tb=short", "--backend", "cupy", *own, *more, *chosen]


def main(which: str) -> int:
    """Become pytest."""
    found = Fragment()
    if importlib.util.find_spec("xdist") is None:
        return found.done(missing="pytest-xdist is not installed")
    more = ["-n", str(WORKERS), "--max-worker-restart=100", "-m", "not host"]
    if found.path is not None:
        more.append(f"--junitxml={found.path.with_suffix('.xml')}")
    line = command(which, *more)
    # a core each: the arrays are small
    environment = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        **os.environ,
    }
    os.chdir(Path(__file__).resolve().parents[2])
    os.execve(line[0], line, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
