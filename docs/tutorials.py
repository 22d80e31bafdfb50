"""The notebooks in docs/tutorials as pages: run anew, with what they print and draw.

A cell that fails ends the build. Each page has its notebook beside it, as it is kept: without outputs.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "tutorials"
ORDER = ("first-network", "own-table", "pictures", "does-not-learn", "own-layer", "on-the-gpu")
SHELL = "%%sh\n"
DRAWN = "%matplotlib inline\n%config InlineBackend.figure_formats = ['svg']"


def run(path: Path) -> Any:
    """A notebook with its outputs.

    Raises:
        CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(DRAWN))
    path_with_commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.execute(env={**os.environ, "PATH": path_with_commands})
    del notebook.cells[0]
    return notebook


def markdown(name: str, notebook: Any) -> str:
    """The page: cells as code, prints as text, figures where they were drawn."""
    from xpnet.lab.svg import inline

    parts = [f'<a href="{name}.ipynb" download>This page as a notebook</a>']
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.insert(0 if number == 0 else len(parts), cell.source.replace(".ipynb)", ".md)"))
            continue
        kind = "sh" if cell.source.startswith(SHELL) else "python"
        parts.append(f"```{kind}\n{cell.source.removeprefix(SHELL)}\n```")
        prints = ""
        for place, output in enumerate(cell.outputs):
            data = output.get("data", {})
            svg = data.get("image/svg+xml")
            prints += output.get("text", "" if svg else data.get("text/plain", ""))
            if (svg or output is cell.outputs[-1]) and prints.strip():
                parts.append("```text\n" + prints.strip("\n") + "\n```")
                prints = ""
            if svg:
                parts.append(_figure(inline(svg, f"{name}-{number}-{place}")))
    return "\n\n".join(parts) + "\n"


def _figure(svg: str) -> str:
    """On one line: Markdown takes an empty line for the end of the HTML."""
    return f'<figure class="drawn">{" ".join(svg.split())}</figure>'


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Run the notebooks, two at a time, and add their pages."""
    from mkdocs.structure.files import File

    if str(ROOT) not in sys.path:  # MkDocs takes it out again after loading a hook
        sys.path.insert(0, str(ROOT))
    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(ORDER, pool.map(run, [FOLDER / f"{name}.ipynb" for name in ORDER]), strict=True))
    for name, notebook in done.items():
        files.append(File.generated(config, f"tutorials/{name}.md", content=markdown(name, notebook)))
        path = str(FOLDER / f"{name}.ipynb")
        files.append(File.generated(config, f"tutorials/{name}.ipynb", abs_src_path=path))
    return files
