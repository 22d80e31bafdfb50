"""Stage: pytest on CuPy, `kernels` or the `suite`, in several processes; record.py keeps what it finds.

Left out is what shows nothing more on a GPU: tests that run on the host alone, the oracle's, NVRTC's, and the
emulator's own.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from tests.gpu.fragment import DRY, Fragment

PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "--tb=short", "--backend", "cupy"),
    *("-p", "tests.gpu.record", "-p", "no:cacheprovider", "-o", "addopts="),  # no doctests
]
WORKERS = min(12, os.cpu_count() or 1)
KERNELS = ["tests/kernels", "--ignore=tests/kernels/test_nvrtc.py", "--ignore=tests/kernels/test_emulator.py"]
SUITE = ["tests", "--ignore=tests/kernels", "--ignore=tests/oracle"]
SMALL = {
    "kernels": ["tests/kernels/test_gradients.py"],
    "suite": ["tests/functional/test_dropout.py"],
}


def command(which: str, *more: str) -> list[str]:
    """The command line."""
    chosen = SMALL[which] if DRY else {"kernels": KERNELS, "suite": SUITE}[which]
    return [*PYTEST, "-o", "faulthandler_timeout=60", *more, *chosen]


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
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    os.execve(line[0], line, {**one, **os.environ})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
