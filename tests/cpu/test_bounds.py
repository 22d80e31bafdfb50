"""No kernel touches a byte before or after its arrays."""

import os
import subprocess
import sys

import pytest

from tests.cpu.native import needs_native

pytestmark = [pytest.mark.host, needs_native]


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
@pytest.mark.parametrize("instructions", ["", "avx2", "base"])
def test_arrays_beside_pages_that_must_not_be_touched(instructions):
    """A fault ends the process; and all kernels of the module are among those that ran."""
    environment = {**os.environ, "XPNET_NUM_THREADS": "2"}
    if instructions:
        environment["XPNET_CPU"] = instructions
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.cpu.guarded"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() in ([instructions], ["avx512"], ["avx2"], ["base"])
