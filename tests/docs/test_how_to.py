"""The commands of the how-to pages run, in order, in a folder with the reader's files.

Their Python is run with that of all pages, as doctests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.host

FOLDER = Path(__file__).parents[2] / "docs" / "pages" / "how-to"
BLOCK = re.compile(r"(<!-- not run: .* -->\n)?```sh\n(.*?)```", re.DOTALL)
# a server runs until it is told to stop
PRELUDE = """
xpnet() {
  if [ "$1" = serve ]; then
    command xpnet "$@" --port 0 > served.txt & server=$!
    for _ in $(seq 600); do grep -q http://127.0.0.1: served.txt && break; sleep 0.1; done
    kill -TERM $server
    wait $server || true
    grep -q http://127.0.0.1: served.txt
  else command xpnet "$@"; fi
}
"""


def commands(path: Path) -> str:
    """What a page tells to type."""
    return "".join(text for skipped, text in BLOCK.findall(path.read_text(encoding="utf-8")) if not skipped)


PAGES = [path for path in sorted(FOLDER.glob("*.md")) if commands(path)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with my.csv, new.csv, pictures/, photo.png and my.txt."""
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    rows = [
        f"{size},{color},{size * 10 + 5 * len(color)}.5" for size in range(60) for color in ("red", "blue")
    ]
    (tmp_path / "my.csv").write_text("\n".join(["size,color,price", *rows]) + "\n")
    (tmp_path / "new.csv").write_text("color,size\nred,7\nblue,41\n")
    for label, level in (("dark", 60), ("light", 190)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for k in range(30):
            pixels = rng.integers(level - 40, level + 40, (20, 20, 3), dtype=np.uint8)
            pillow.fromarray(pixels).save(tmp_path / "pictures" / label / f"{k}.png")
    pillow.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "my.txt").write_text("the cat sat on the mat and the dog sat on the cat. " * 30)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_commands_of_a_page(page: Path, files: Path) -> None:
    pytest.importorskip("safetensors")
    pytest.importorskip("matplotlib")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", PRELUDE + commands(page)],
        cwd=files,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_has_something_to_run() -> None:
    for page in FOLDER.glob("*.md"):
        assert commands(page) or ">>> " in page.read_text(encoding="utf-8"), page.name
    assert len(PAGES) >= 7
