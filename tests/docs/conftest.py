"""The documentation site, built once in a session of tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = "initial-loss"
"""In the gallery: all experiments take a minute."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; warnings are errors, such as links that lead nowhere."""
    for module in ("material", "mkdocstrings", "nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(module, reason='pip install "xpnet[docs]"')
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "--strict",
        "-f",
        "docs/mkdocs.yml",
        "-d",
        folder,
    ]
    environment = {**os.environ, "XPNET_DOCS_LAB": SHOWN, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
