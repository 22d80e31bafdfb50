"""The runner of CuPy on the CPU; what its device finds is tested in tests/device."""

import subprocess
import sys

import pytest

from tests.emulator import build

pytestmark = pytest.mark.host


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "usage: python -m tests.cupy_on_cpu COMMAND"),
        pytest.param(
            ["no-such-command"],
            "CuPy on the CPU: no-such-command: not found",
            marks=pytest.mark.skipif(build.missing() is not None, reason=str(build.missing())),
        ),
    ],
)
def test_bad_commands_get_one_line_and_2(command: list[str], message: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.cupy_on_cpu", *command], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
