"""`python -m tests.cupy_on_cpu COMMAND ...`: run a command in which `import cupy` finds CuPy on the CPU."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.emulator import build

from . import wheel


def scripts() -> str:
    """PATH, with this Python's scripts first."""
    return os.pathsep.join(filter(None, [str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def environment() -> dict[str, str]:
    """The environment of the command: CuPy and its device on PYTHONPATH, this Python's scripts on PATH."""
    here = Path(__file__).resolve().parent
    python = [str(wheel.installed()), str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, python)),
        "PATH": scripts(),
        "CUPY_CACHE_DIR": os.environ.get("CUPY_CACHE_DIR", str(build.cache() / "cupy-kernels")),
    }


def main(command: list[str]) -> int:
    """Replace this process by the command; 2 if that cannot be done."""
    if not command:
        print(f"usage: python -m tests.cupy_on_cpu COMMAND ...\n{__doc__}", file=sys.stderr)
        return 2
    if (reason := build.missing()) is not None:
        print(f"CuPy on the CPU: {reason}", file=sys.stderr)
        return 2
    if shutil.which(command[0], path=scripts()) is None:  # before a build that takes a minute
        print(f"CuPy on the CPU: {command[0]}: not found", file=sys.stderr)
        return 2
    variables = environment()
    try:
        os.execvpe(command[0], command, variables)
    except OSError as error:
        print(f"CuPy on the CPU: {command[0]}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
