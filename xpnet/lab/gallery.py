"""The results as text, and as one page of HTML with every picture and table in it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from xpnet.lab.drawing import draw
from xpnet.lab.excerpt import core, excerpt
from xpnet.lab.experiment import KINDS, VERDICTS, Check, Experiment, Picture, Result, Table, printed, text
from xpnet.lab.formulas import mathml
from xpnet.lab.items import items
from xpnet.lab.svg import inline

DEMOS = {  # moving parts: experiment -> what page.js makes of it
    "step-size": 'data-demo="descent" data-surface="quadratic"',
    "optimizers-in-a-bowl": 'data-demo="descent" data-surface="bowl"',
    "optimizers-in-a-valley": 'data-demo="descent" data-surface="valley"',
    "optimizers-at-a-saddle": 'data-demo="descent" data-surface="saddle"',
    "decision-boundaries": 'data-demo="boundary"',
    "dropout-masks": 'data-demo="dropout"',
    "activation-statistics": 'data-demo="histograms"',
    "perceptron": 'data-demo="perceptron"',
    "hidden-representation": 'data-demo="network"',
}


def _part(name: str) -> str:
    """A file of the page, to be embedded."""
    return files("xpnet.lab").joinpath(name).read_text("utf-8")


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
    contents = _rows(
        [e.deck, f'<a href="#{name}">{name}</a>', html.escape(e.item), _mark(result.verdict)]
        for name, (e, result) in found.items()
    )
    sections = "".join(_section(e, result) for e, result in found.values())
    moving = ", ".join(f'<a href="#{name}">{name}</a>' for name in DEMOS if name in found)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_part('page.css')}</style></head><body><main><h1>{html.escape(title)}</h1>"
        '<nav aria-label="Parts"><a href="#index">Index by deck and slide</a> · <a href="#errata">Errata</a>'
        + (f" · to play with: {moving}" if moving else "")
        + f"</nav>{_table(('deck', 'experiment', 'item', 'verdict'), contents)}"
        f"{sections}{_errata(found)}{_index(found)}</main><script>{_part('page.js')}</script></body></html>\n"
    )


def _errata(found: Mapping[str, tuple[Experiment, Result]]) -> str:
    """A sheet for each deck: what it says, what is right, and whose mistake it is."""
    rows: dict[str, list[list[str]]] = {}
    seen = set()
    for item in items():
        start = item.where.partition("#")[2]
        if item.experiment is None or item.experiment not in found or not start:
            continue
        for check in found[item.experiment][1].checks:
            wrong = check.verdict in KINDS.values() and check.what.startswith(start)
            if wrong and (item.deck, check.what) not in seen:
                seen.add((item.deck, check.what))
                cells = [
                    item.slide,
                    check.what,
                    text(_numbers(check.deck)),
                    text(check.exact),
                    _verdict(check),
                ]
                rows.setdefault(item.deck, []).append(cells)
    header = ("slide", "what", "deck", "exact", "verdict")
    return '<h2 id="errata">Errata</h2>' + "".join(
        f'<h3 id="errata-{deck}">{deck}</h3>{_html_table("", header, rows[deck])}' for deck in sorted(rows)
    )


def _index(found: Mapping[str, tuple[Experiment, Result]]) -> str:
    """Every item of the decks, with a field to search in them."""
    rows = []
    for item in items():
        name, where = item.experiment, html.escape(item.where)
        link = f'<a href="#{name}">{where}</a>' if name in found else where
        rows.append(
            [item.deck, html.escape(item.slide), html.escape(item.what), link, _mark(item.verdict(found))]
        )
    header = ("deck", "slide", "item", "where", "verdict")
    return (
        '<h2 id="index">Index by deck and slide</h2><p>What is not run needs CIFAR-10: '
        "<code>xpnet lab all --data DIR --out FOLDER</code>.</p>"
        '<p><label for="search">Search</label> <input id="search" type="search" placeholder="S2 dropout"> '
        f'<output id="found" for="search">{len(rows)} items</output></p>'
        + _table(header, _rows(rows), name="items")
    )


def _section(experiment: Experiment, result: Result) -> str:
    """Figures first, then the formula, the words, the numbers in a line, the ten lines, the whole program."""
    name, header = experiment.name, _check_table(result.checks)
    tables = [_html_table("", *header)]
    tables += [_html_table(table.title, table.header, _texts(table)) for table in result.tables]
    pictures = "".join(_figure(p, f"{name}-{k}") for k, p in enumerate(result.pictures))
    demo = f'<div class="demo" {DEMOS[name]}></div>' if name in DEMOS else ""
    formula = f'<div class="formula">{mathml(name)}</div>' if mathml(name) else ""
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{name} <small>{experiment.deck}</small></h2>'
        f"{pictures}{demo}{formula}<p><em>{html.escape(experiment.item)}</em></p>"
        f"<p>{html.escape(result.says)}</p>"
        f"<details><summary>{_line(result.checks)}</summary>{''.join(tables)}</details>"
        f"{_code(core(experiment.run), 'core')}"
        f"<details><summary>The whole program</summary>{_code(excerpt(experiment.run))}</details></section>"
    )


def _code(lines: str, kind: str = "whole") -> str:
    """With a button that copies it."""
    return (
        f'<div class="code {kind}"><button class="copy" type="button">Copy</button>'
        f'<pre tabindex="0">{html.escape(lines)}</pre></div>'
    )


def _line(checks: Sequence[Check]) -> str:
    """The numbers in a line: how many, and how they came out."""
    verdicts = [check.verdict for check in checks]
    counts = ", ".join(f"{verdicts.count(v)} {_mark(v)}" for v in reversed(VERDICTS) if v in verdicts)
    return f"{len(checks)} numbers: {counts}"


def _figure(picture: Picture, name: str) -> str:
    alt = html.escape(picture.title)
    format, file = draw(picture)
    if format == "svg":
        image = inline(file.decode(), name, alt)
    else:
        image = f'<img alt="{alt}" src="data:image/{format};base64,{base64.b64encode(file).decode()}">'
    return f"<figure>{image}<figcaption>{alt}</figcaption></figure>"


def _check_table(checks: Sequence[Check]) -> tuple[Sequence[str], list[list[str]]]:
    header = ("what", "deck", "ours", "exact", "verdict")
    return header, [[c.what, text(_numbers(c.deck)), text(c.ours), _target(c), _verdict(c)] for c in checks]


def _numbers(deck: Any) -> Any:
    """Those of a long print, to be shortened as other numbers are."""
    return printed(deck)[0] if isinstance(deck, str) and len(deck.split()) > 12 else deck


def _target(check: Check) -> str:
    limits = [("at least", check.at_least), ("at most", check.at_most)]
    return "; ".join(
        [text(check.exact)] * (check.exact is not None) + [f"{w} {v:g}" for w, v in limits if v is not None]
    )


def _verdict(check: Check) -> str:
    return f"{check.verdict}: {check.slip}" if check.verdict in KINDS.values() else check.verdict


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
    return _table(
        [html.escape(text(cell)) for cell in header], _rows([_cell(c) for c in row] for row in rows), title
    )


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)


def _table(header: Sequence[str], rows: str, title: str = "", name: str = "") -> str:
    """From cells that are HTML."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    own = f' id="{name}"' if name else ""
    parts = f"{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="wide"><table{own}>{parts}</table></div>'


def _cell(cell: str) -> str:
    verdict, colon, rest = cell.partition(":")
    return _mark(verdict) + html.escape(colon + rest) if verdict in VERDICTS else html.escape(cell)


def _mark(verdict: str) -> str:
    return f'<span class="{verdict.split()[0]}">{verdict}</span>'
