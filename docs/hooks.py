"""What the pages take from the code: the committed benchmark results and the lab's gallery."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the latest result of every device into the page on performance."""
    if page.file.src_path != "performance.md":
        return markdown
    if str(ROOT) not in sys.path:  # MkDocs takes it out again after loading this file
        sys.path.insert(0, str(ROOT))
    from bench import report, results

    parts = []
    for runs in results.history().values():
        run = runs[-1]
        tables = [
            report.case_table(run, key, [m for m in run.measurements if m.case == key]) for key in run.cases
        ]
        parts.append("\n".join(["```text", report.head(run), *tables, report.goal_table(run), "```"]))
    return markdown.replace("<!-- results -->", "\n\n".join(parts) or "None yet.")


def on_post_build(config: Any, **_: Any) -> None:
    """Make the gallery."""
    if os.environ.get("XPNET_DOCS_LAB") != "0":
        folder = str(Path(config["site_dir"]) / "gallery")
        subprocess.run([sys.executable, "-m", "xpnet", "lab", "all", "--out", folder], cwd=ROOT, check=True)
