"""A drawing of a network as SVG, without any library: boxes for layers, arrows from those that feed them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _GAP, _LEFT, _TOP = 260, 34, 18, 20, 44
_COLOURS = {
    "Conv": "#cfe3f7",
    "Linear": "#d5ecd4",
    "Norm": "#fbe7c6",
    "Pool": "#ead9f2",
    "Attention": "#f7d6d6",
    "Embedding": "#d6eef0",
}


def _colour(kind: str) -> str:
    return next((colour for word, colour in _COLOURS.items() if word in kind), "#eeeeee")


def draw(rows: Sequence[Any], title: str) -> str:
    """The leaves from top to bottom, as they ran; what goes around others goes around them at the right.

    Args:
        rows: those of a `Summary`.
        title: of the drawing.
    """
    leaves = [(i, row) for i, row in enumerate(rows) if row.leaf]
    place = {-1: 0, **{i: k for k, (i, _) in enumerate(leaves, 1)}}
    top = lambda k: _TOP + k * (_HEIGHT + _GAP)
    shapes = [_box(top(0), "input", _text(leaves[0][1].input) if leaves else "", "#ffffff")]
    lanes: list[int] = []  # the lowest place that each lane at the right is used down to
    arrows: list[str] = []
    for i, row in leaves:
        k = place[i]
        shapes.append(_box(top(k), f"{row.name or title}  {row.kind}", _text(row.output), _colour(row.kind)))
        for source in row.feeds:
            j = place.get(source)
            if j is None:
                continue
            if j == k - 1:
                x = _LEFT + _WIDTH / 2
                arrows.append(f'<path d="M{x} {top(j) + _HEIGHT} L{x} {top(k) - 2}"/>')
                continue
            lane = next((n for n, low in enumerate(lanes) if low <= j), len(lanes))
            lanes[lane : lane + 1] = [k]
            x, out = _LEFT + _WIDTH, _LEFT + _WIDTH + 16 + 12 * lane
            start, end = top(j) + _HEIGHT - 8, top(k) + 8
            arrows.append(f'<path d="M{x} {start} L{out} {start} L{out} {end} L{x + 2} {end}"/>')
    width, height = _LEFT + _WIDTH + 40 + 12 * len(lanes), top(len(leaves) + 1)
    name = escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{name}" font-family="sans-serif" font-size="11">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#555555"/></marker></defs>'
        f'<text x="{_LEFT}" y="24" font-size="15">{name}</text>{"".join(shapes)}'
        f'<g fill="none" stroke="#555555" marker-end="url(#tip)">{"".join(arrows)}</g></svg>'
    )


def _box(y: float, label: str, shape: str, colour: str) -> str:
    return (
        f'<g><rect x="{_LEFT}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="{colour}" '
        f'stroke="#888888"/><text x="{_LEFT + 8}" y="{y + 14}">{escape(label)}</text>'
        f'<text x="{_LEFT + 8}" y="{y + 27}" fill="#444444">{escape(shape)}</text></g>'
    )


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
