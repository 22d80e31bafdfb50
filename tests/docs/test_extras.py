"""The extras that the pages name are those of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
INDEX = (ROOT / "docs" / "pages" / "index.md").read_text().split("| extra |")[1].split("\n## ")[0]
README = (ROOT / "README.md").read_text().split("\nExtras, ")[1].split("\n\n")[0].partition(": ")[2]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([a-z0-9]+)`", text))


def test_every_extra_is_named():
    assert set(EXTRAS) - quoted(INDEX) == set()
    assert quoted(README) <= set(EXTRAS)
    assert len(quoted(README)) > 5


def test_every_row_is_an_extra_and_says_which_others_it_holds():
    rows = [row.split("|")[1:3] for row in INDEX.splitlines() if row.startswith("| `")]
    found = {extra: quoted(brings) for extras, brings in rows for extra in quoted(extras)}
    assert set(found) <= set(EXTRAS)
    for extra, others in found.items():
        held = re.findall(r"xpnet\[(.*?)\]", " ".join(EXTRAS[extra]))
        assert others & set(EXTRAS) == {name for names in held for name in names.split(",")}, extra
