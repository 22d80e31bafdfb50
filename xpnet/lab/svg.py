"""Figures of matplotlib's as part of a page."""

from __future__ import annotations

import re


def inline(svg: str, name: str, label: str = "") -> str:
    """An SVG that can stand in a page: with ids of its own, and black and white of the page's theme.

    Black becomes `currentColor` and white `var(--paper)`, which the page defines.

    Args:
        svg: as matplotlib writes it.
        name: another one for each figure of the page.
        label: what those hear who do not see it; default: nothing, where a text says it.
    """
    svg = svg[svg.index("<svg") :]
    # every picture calls its parts alike: the page needs other names for each
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"(?<=[ :])#0{6}(?=[;\"])", "currentColor", svg)
    svg = re.sub(r"(?<=[ :])#f{6}(?=[;\"])", "var(--paper)", svg)
    kind = f'role="img" aria-label="{label}"' if label else 'role="presentation"'
    return _first_ids(svg).replace("<svg ", f'<svg fill="currentColor" {kind} ', 1)


def _first_ids(svg: str) -> str:
    """Without ids given twice: matplotlib names a bitmap by its content."""
    seen: set[str] = set()

    def keep_first(match: re.Match[str]) -> str:
        again = match[0] in seen
        seen.add(match[0])
        return "" if again else match[0]

    return re.sub(r' id="[^"]*"', keep_first, svg)
