"""The results as text, and as one page of HTML with every picture and table in it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xpnet.lab.experiment import Check, Experiment, Picture, Result, Table, text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; color: #222 }
h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem }
td, th { padding: 0.15rem 0.6rem; border-bottom: 1px solid #e5e5e5; text-align: left }
figure { margin: 1rem 0 } figcaption { font-size: 0.85rem; color: #555 }
img, svg { max-width: 100%; height: auto }
.agrees { color: #207020 } .slide { color: #b06000 } .DIFFERS { color: #c00000; font-weight: bold }
"""


def as_text(experiment: Experiment, result: Result) -> str:
    """What `xpnet lab NAME` prints."""
    parts = [f"{experiment.name} ({experiment.deck}): {experiment.item}"]
    parts.append(_columns(*_check_table(result.checks)))
    parts += [f"{table.title}\n{_columns(table.header, _texts(table))}" for table in result.tables]
    return "\n\n".join([*parts, result.says])


def as_page(found: Mapping[str, tuple[Experiment, Result]], title: str = "The lab") -> str:
    """One self-contained page: contents, then every experiment with its checks, tables and pictures.

    Args:
        found: name -> (experiment, its result).
        title: of the page.

    Raises:
        ImportError: matplotlib is missing.
    """
    contents = "".join(
        f'<tr><td>{e.deck}</td><td><a href="#{name}">{name}</a></td><td>{html.escape(e.item)}</td>'
        f"<td>{_mark(result.verdict)}</td></tr>"
        for name, (e, result) in found.items()
    )
    sections = "".join(_section(e, result) for e, result in found.values())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<table><tr><th>deck</th><th>experiment</th><th>item</th><th>verdict</th></tr>{contents}</table>"
        f"{sections}</body></html>\n"
    )


def draw(picture: Picture, format: str) -> bytes:
    """A picture as a file: "svg", "png", "pdf", or "gif" for an animation.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure  # without pyplot: no window system, no global state
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "xpnet[plot]"') from None

    file = io.BytesIO()
    if picture.frames:
        from matplotlib.animation import FuncAnimation, PillowWriter

        figure = Figure(figsize=picture.size)

        def frame(k: int) -> list[Any]:
            figure.clear()
            picture.draw(figure, k)
            return []

        animation = FuncAnimation(figure, frame, frames=picture.frames, init_func=lambda: [])
        with TemporaryDirectory() as folder:  # the writer wants a file's name
            path = Path(folder) / "animation.gif"
            animation.save(path, writer=PillowWriter(fps=10), dpi=70)
            return path.read_bytes()
    figure = Figure(figsize=picture.size, layout="constrained")
    picture.draw(figure)
    with mpl.rc_context({"svg.hashsalt": "xpnet", "svg.fonttype": "none"}):
        figure.savefig(file, format=format, dpi=120, metadata={"Date": None} if format == "svg" else None)
    return file.getvalue()


def _section(experiment: Experiment, result: Result) -> str:
    tables = [_html_table("", *_check_table(result.checks))]
    tables += [_html_table(table.title, table.header, _texts(table)) for table in result.tables]
    pictures = "".join(_figure(picture) for picture in result.pictures)
    return (
        f'<h2 id="{experiment.name}">{experiment.name} <small>{experiment.deck}</small></h2>'
        f"<p><em>{html.escape(experiment.item)}</em></p><p>{html.escape(result.says)}</p>"
        f"{''.join(tables)}{pictures}"
    )


def _figure(picture: Picture) -> str:
    if picture.frames:
        code = base64.b64encode(draw(picture, "gif")).decode()
        image = f'<img alt="{html.escape(picture.title)}" src="data:image/gif;base64,{code}">'
    else:
        svg = draw(picture, "svg").decode()
        if len(svg) > 300_000:  # many points: pixels are smaller
            code = base64.b64encode(draw(picture, "png")).decode()
            image = f'<img alt="{html.escape(picture.title)}" src="data:image/png;base64,{code}">'
        else:
            image = svg[svg.index("<svg") :]
    return f"<figure>{image}<figcaption>{html.escape(picture.title)}</figcaption></figure>"


def _check_table(checks: Sequence[Check]) -> tuple[Sequence[str], list[list[str]]]:
    header = ("what", "deck", "ours", "exact", "verdict")
    return header, [[c.what, text(c.deck), text(c.ours), _target(c), _verdict(c)] for c in checks]


def _target(check: Check) -> str:
    limits = [("at least", check.at_least), ("at most", check.at_most)]
    return "; ".join(
        [text(check.exact)] * (check.exact is not None) + [f"{w} {v:g}" for w, v in limits if v is not None]
    )


def _verdict(check: Check) -> str:
    return f"{check.verdict}: {check.slip}" if check.slip else check.verdict


def _texts(table: Table) -> list[list[str]]:
    return [[text(cell) for cell in row] for row in table.rows]


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    header = [text(cell) for cell in header]
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [header, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(text(cell))}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    return f"<table>{caption}<tr>{head}</tr>{body}</table>"


def _cell(cell: str) -> str:
    verdict, colon, rest = cell.partition(":")
    return (
        _mark(verdict) + html.escape(colon + rest)
        if verdict in ("agrees", "slide wrong", "DIFFERS")
        else html.escape(cell)
    )


def _mark(verdict: str) -> str:
    return f'<span class="{verdict.split()[0]}">{verdict}</span>'
