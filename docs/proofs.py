"""What the page on proofs takes from files: nothing of it is typed."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def ladder() -> str:
    """A row for each source of CUDA kernels: what it passed, and what noticed its mutants."""
    record = json.loads((TESTS / "kernels" / "ladder.json").read_text())
    rows = []
    for name, found in record.items():
        noticed = Counter(found["mutants"].values())
        by = ", ".join(f"{n} by {'a test' if who == 'test' else who}" for who, n in sorted(noticed.items()))
        rows.append([f"`{name}`", ", ".join(found["passed"]), str(len(found["mutants"])), by])
    count = sum(len(found["mutants"]) for found in record.values())
    total = f"{len(record)} sources, {count} barriers and fences removed one at a time, each noticed:"
    return total + "\n\n" + table(["source", "passed", "mutants", "noticed"], rows)


def oracles() -> str:
    """A row for each file of tests against other libraries: its first line."""
    rows = []
    for path in sorted((TESTS / "oracle").glob("test_*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append([f"`{path.stem}`", text.splitlines()[0]])
    return table(["`tests/oracle/`", "what is compared"], rows)


def planted() -> str:
    """A row for each catalogue of planted faults: how many there are."""
    from tests.lab.faults import FAULTS

    equivalent = (TESTS / "mutants" / "equivalent.txt").read_text().splitlines()
    reasons = sum(bool(line) and not line.startswith("#") for line in equivalent)
    record = json.loads((TESTS / "kernels" / "ladder.json").read_text())
    barriers = sum(len(found["mutants"]) for found in record.values())
    rows = [
        [
            "wrong lines in the library",
            str(len(FAULTS)),
            "an experiment of the lab notices each",
            "`python -m tests.lab.faults`",
        ],
        [
            "barriers and fences missing in CUDA kernels",
            str(barriers),
            "a test or ThreadSanitizer notices each",
            "`python -m tests.kernels.ladder --all`",
        ],
        [
            "operators, constants and conditions changed, drawn at random",
            f"as many as you ask for; {reasons} known to change nothing, each with its reason",
            "it lists those that no test notices",
            "`python -m tests.mutants xpnet/optim --sample 100`",
        ],
    ]
    return table(["what is planted", "how many", "what must happen", "command"], rows)
