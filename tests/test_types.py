"""Type checkers know the library: a user's script passes, mistakes planted in another are found."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "tests" / "typing"
CHECKERS = {
    "mypy": ["mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports", "--config-file="],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}
pytestmark = pytest.mark.host


def lines_with_errors(checker, script):
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    command = [sys.executable, "-m", *CHECKERS[checker], str(script)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    if result.returncode not in (0, 1):
        pytest.skip(f"{checker} does not start: {result.stderr.strip().splitlines()[-1:]}")
    found = re.findall(rf"{script.name}:(\d+)(?::\d+)?(?: -)?:? error", result.stdout)
    return sorted({int(line) for line in found}), result.stdout


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_users_script_passes(checker):
    lines, said = lines_with_errors(checker, SCRIPTS / "user.py")
    assert lines == [], said


@pytest.mark.parametrize("checker", CHECKERS)
def test_planted_mistakes_are_found(checker):
    script = SCRIPTS / "planted.py"
    expected = [i for i, line in enumerate(script.read_text().splitlines(), 1) if line.endswith("# error")]
    lines, said = lines_with_errors(checker, script)
    assert lines == expected, said


def test_the_users_script_runs():
    subprocess.run([sys.executable, SCRIPTS / "user.py"], check=True, cwd=ROOT, capture_output=True)


def test_submodules_are_listed():
    code = (
        "import sys, xpnet; names = dir(xpnet); assert 'xpnet.nn' not in sys.modules;"
        "assert {'nn', 'optim', 'functional', 'data', 'train', 'save', 'tensor'} <= set(names), names;"
        "[getattr(xpnet, n) for n in names if n not in ('cuda', 'warmup', 'lab')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
