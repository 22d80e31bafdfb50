"""`python -m tests.lab.formulas`: LaTeX to MathML, once, so that the page needs no converter."""

from __future__ import annotations

import json
from pathlib import Path

import xpnet.lab.formulas


def convert() -> dict[str, str]:
    """MathML of every formula, by its LaTeX."""
    from latex2mathml.converter import convert

    known = {name: found for name, found in xpnet.lab.formulas.FORMULAS.items()}
    return {latex: convert(latex, display="block") for found in known.values() for latex in found}


if __name__ == "__main__":
    target = Path(xpnet.lab.formulas.__file__).with_suffix(".json")
    target.write_text(json.dumps(convert(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
