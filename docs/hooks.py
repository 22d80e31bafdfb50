"""What the pages take from the code and its tests, and the lab's gallery."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHOWN = os.environ.get("XPNET_DOCS_LAB", "all")
"""The gallery: of all experiments, of the one that is named, or none ("")."""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what the code knows where a page has a comment that asks for it."""
    if str(ROOT) not in sys.path:  # MkDocs takes it out again after loading this file
        sys.path.insert(0, str(ROOT))
    for name, text in PARTS.items():
        if f"<!-- {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- {name} -->", text())
    return markdown


def results() -> str:
    """Those of all machines."""
    from bench import page, results

    return page.markdown(results.history())


def experiments() -> str:
    """A table of the lab's, each with the way to its figures, if this site has them."""
    from xpnet.lab import catalogue

    rows = []
    for name, e in catalogue().items():
        made = name == SHOWN or (SHOWN == "all" and not e.on_cifar10)  # the build has no CIFAR-10
        title = f'<a href="gallery/index.html#{name}">{name}</a>' if made else name
        rows.append(f"| {e.deck} | {title} | {e.item} |")
    return "\n".join(["| deck | experiment | item |", "| --- | --- | --- |", *rows])


def proof(name: str) -> str:
    """One of the tables of proofs.py."""
    from docs import proofs

    return getattr(proofs, name)()


PARTS = {
    "results": results,
    "experiments": experiments,
    **{name: partial(proof, name) for name in ("oracles", "ladder", "planted")},
}


def on_post_build(config: Any, **_: Any) -> None:
    """Make the gallery."""
    if SHOWN:
        folder = str(Path(config["site_dir"]) / "gallery")
        subprocess.run([sys.executable, "-m", "xpnet", "lab", SHOWN, "--out", folder], cwd=ROOT, check=True)
