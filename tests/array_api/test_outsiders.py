"""What the docs say of SciPy and scikit-learn on Tensors is what running it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).parent.parent.parent


def rows(text):
    """{(module, verdict): functions} of a table."""
    found = re.findall(r"^\| `(\w+\.[\w.]+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return {(module, verdict): set(re.findall(r"`(\w+)`", names)) for module, verdict, names in found}


def test_the_table_is_what_running_it_gives():
    pytest.importorskip("sklearn")
    run = subprocess.run(
        [sys.executable, "-m", "tests.array_api.outsiders"],
        cwd=ROOT,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    now = rows(run.stdout)
    said = rows((ROOT / "docs" / "pages" / "derivatives.md").read_text(encoding="utf-8"))
    best = "values and gradients"
    lost = {m: names - now.get((m, v), set()) for (m, v), names in said.items() if v == best}
    assert {m: names for m, names in lost.items() if names} == {}
    assert sum(len(names) for (_, v), names in said.items() if v == best) > 50
