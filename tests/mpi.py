"""Programs under mpiexec, one thread a rank."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.scaling import find_mpiexec

ROOT = Path(__file__).parent.parent
MPIEXEC = find_mpiexec()
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or find_spec("mpi4py") is None, reason='needs pip install "xpnet[mpi]"'
)


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run a command that finds this repository's packages."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
