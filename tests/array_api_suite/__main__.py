"""The public conformance suite on `xpnet.array_api`.

`python -m tests.array_api_suite PATH [pytest's options]`, PATH a checkout of data-apis/array-api-tests with
its submodule; it needs pytest-json-report and ndindex. `--backend NAME`, first, chooses another backend than
NumPy. What is expected to fail is in `expected-failures.txt` beside this file, with the reasons.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CHOOSE = 'import xpnet; xpnet.set_backend("{}"); xp = xpnet.array_api'


def main(arguments: list[str]) -> int:
    """Run the suite; the exit code is pytest's."""
    backend = "numpy"
    if arguments[:1] == ["--backend"]:
        backend, arguments = arguments[1], arguments[2:]
    if not arguments or not (Path(arguments[0]) / "array_api_tests").is_dir():
        print(__doc__)
        return 2
    suite, *options = arguments
    environment = {
        **os.environ,
        "ARRAY_API_TESTS_MODULE": f"exec('{CHOOSE.format(backend)}')",
        "ARRAY_API_TESTS_VERSION": "2024.12",
        "PYTHONPATH": os.pathsep.join((str(HERE.parent.parent), os.environ.get("PYTHONPATH", ""))),
    }
    lists = [f"--xfails-file={HERE / 'expected-failures.txt'}"]
    if (HERE / f"expected-failures-{backend}.txt").exists():
        lists.append(f"--skips-file={HERE / f'expected-failures-{backend}.txt'}")
    command = [sys.executable, "-m", "pytest", "-q", "array_api_tests", *lists, *options]
    return subprocess.run(command, cwd=suite, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
