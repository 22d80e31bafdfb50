"""Stage: NVIDIA's compute-sanitizer, `memcheck` or `racecheck`, over the kernel tests named test_races*.

They launch every kernel once on small data. An allocation an array (XP_PLAIN_ALLOCATOR): inside a pool's
chunk nothing is out of bounds. Without the tool a dry run still runs the tests, to try the choice out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.gpu.fragment import DRY, Fragment, read
from tests.gpu.suite import PYTEST

CHOSEN = {
    "memcheck": ["tests/kernels"],
    "racecheck": [f"tests/kernels/test_{name}.py" for name in ("cross_entropy", "batch_norm", "gradients")],
}
IGNORE = ("--ignore=tests/kernels/test_nvrtc.py", "--ignore=tests/kernels/test_emulator.py")
SMALL = {"memcheck": ["tests/kernels/test_gradients.py"], "racecheck": ["tests/kernels/test_dropout.py"]}


def main(tool: str) -> int:
    """Run the tests under the tool; 1 for an error of either."""
    found = Fragment()
    path = shutil.which("compute-sanitizer")
    if path is None and not DRY:
        return found.done(missing="compute-sanitizer is not on PATH")
    report = (found.path or Path(tempfile.mkdtemp(), "sanitizer")).with_suffix(".txt")
    tests = [*PYTEST, "-k", "races", *IGNORE, *(SMALL[tool] if DRY else CHOSEN[tool])]
    options = ["--tool", tool, "--error-exitcode", "9", "--log-file", str(report), "--print-limit", "20"]
    if tool == "memcheck":  # what the driver refuses when libraries try, CuPy raises where it matters
        options += ["--report-api-errors", "no"]
    ran = subprocess.run(
        [path, *options, *tests] if path else tests, env={**os.environ, "XP_PLAIN_ALLOCATOR": "1"}
    )
    if found.path is not None and found.path.exists():  # what record.py has kept
        found.update(read(found.path))
    lines = report.read_text(errors="replace").splitlines() if report.exists() else []
    # "========= ERROR SUMMARY: 0 errors", or racecheck's "RACECHECK SUMMARY: 0 hazards displayed"
    totals = [line.strip("= ") for line in lines if "SUMMARY" in line]
    counts = [int(n) for line in totals for n in re.findall(r"(\d+) (?:errors?|hazards?)", line)]
    clean = ran.returncode == 0 and (path is None or (bool(counts) and not any(counts)))
    if path is None:
        found["missing"] = "compute-sanitizer is not on PATH: the tests ran without it"
    return found.done(
        clean,
        tool=tool,
        exit_code=ran.returncode,
        totals=totals,
        first=[] if clean else lines[:40],
        summary=[*totals, *found.get("summary", [])],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
