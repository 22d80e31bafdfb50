"""Some of the faults of `python -m tests.faults`, which tries them all."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("safetensors")
pytest.importorskip("PIL")
pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and cc"),
]


def test_system_calls_that_fail():
    command = [sys.executable, "-m", "tests.faults", "--every", "40"]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    tried, _, wrong, _ = result.stdout.splitlines()[-1].split()
    assert int(tried) >= 50
    assert wrong == "0"
