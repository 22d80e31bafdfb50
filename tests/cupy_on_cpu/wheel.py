"""Builds CuPy from its sdist for the device `cpucuda`, once; the result is kept outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.emulator import build

from . import patch

VERSION = "14.2.0"
TOOLS = ("setuptools>=77", "wheel", "Cython>=3.2,<3.3", "numpy>=2")
# at -O0, since the compiler is most of the time, unless CuPy's own code is measured; interposition: cpucuda's
# functions come before the stubs
FLAGS = f"{os.environ.get('XP_CUPY_OPTIMIZE', '-O0')} -g0 -w -fsemantic-interposition"


def installed() -> Path:
    """The folder with the package `cupy`, to be put on PYTHONPATH. Built if this machine has none yet.

    Raises:
        RuntimeError: a step of the build failed; the message has what it printed.
    """
    parts = [VERSION, sys.version, FLAGS, Path(patch.__file__).read_text(), patch.DEVICE_PROP]
    return build.cached("cupy", parts, _install)


def _run(*command: str | Path, cwd: Path, **environment: str) -> None:
    result = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"building CuPy: {' '.join(map(str, command))} failed:\n{result.stdout[-6000:]}")


def _install(target: Path) -> None:
    """Sdist to installed package: download, patch, compile."""
    print(f"building CuPy {VERSION} for the CPU (about a minute) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        venv.create(work / "venv", with_pip=True)
        python = next(work.glob("venv/[bS][ic][nr]*/python*"))  # bin/python, Scripts\python.exe
        pip = (python, "-m", "pip", "-q", "--disable-pip-version-check")
        _run(*pip, "install", *TOOLS, cwd=work)
        # stub mode, so that pip can ask the sdist for its metadata without CUDA
        stub = {"CUPY_INSTALL_USE_STUB": "1", "CUPY_NUM_BUILD_JOBS": str(os.cpu_count())}
        sdist = ("--no-deps", "--no-build-isolation")
        _run(*pip, "download", *sdist, "--no-binary", "cupy", f"cupy=={VERSION}", cwd=work, **stub)
        _run("tar", "xzf", next(work.glob("cupy-*.tar.gz")), cwd=work)
        source = work / f"cupy-{VERSION}"
        patch.patch(source)
        compiler = {**stub, "CFLAGS": FLAGS, "CXXFLAGS": FLAGS}
        _run(*pip, "install", *sdist, "--target", target, source, cwd=work, **compiler)
