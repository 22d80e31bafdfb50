"""`--skipped` runs what could not run before, and that alone."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

CONFTEST = """
from tests import skipped

def pytest_addoption(parser):
    parser.addoption("--skipped", action="store_true")

def pytest_configure(config):
    skipped.configure(config)
"""
WHOLE = "import pytest\npytest.importorskip('later')\ndef test_a(): pass\ndef test_b(): pass\n"
PARTLY = """import pytest
def test_runs(): pass
def test_waits(): pytest.importorskip('later')
@pytest.mark.xfail
def test_fails(): assert False
"""


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:xdist", "--rootdir", str(folder), *options]
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    return done.stdout + done.stderr


def test_only_what_was_skipped_runs(tmp_path: Path) -> None:
    for name, text in (("conftest", CONFTEST), ("test_whole", WHOLE), ("test_partly", PARTLY)):
        (tmp_path / f"{name}.py").write_text(text)
    assert "no run has said yet" in run(tmp_path, "--skipped")
    assert "1 passed, 2 skipped, 1 xfailed" in run(tmp_path)
    assert "2 skipped, 2 deselected" in run(tmp_path, "--skipped")
    (tmp_path / "later.py").touch()  # now it is installed
    found = run(tmp_path, "--skipped")
    assert "3 passed, 2 deselected" in found
    assert "test_waits" in found
    assert "test_runs" not in found
