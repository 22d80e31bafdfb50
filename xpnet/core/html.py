"""What notebooks show: small tables and line charts as HTML, with nothing from elsewhere."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
_WIDE, _HIGH, _LEFT, _TOP, _BOTTOM = 340, 206, 52, 24, 34


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table; whatever is in it is escaped.

    >>> table(["a"], [["<b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    line = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{escape(str(c))}</{tag}>" for c in cells) + "</tr>"
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(line(row, "td") for row in rows)
    head = f"<thead>{line(header, 'th')}</thead>" if header else ""
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def chart(title: str, lines: Mapping[str, Sequence[float]], first: int = 1) -> str:
    """Curves over whole numbers from `first` on, as an SVG with its axes and a legend.

    Args:
        title: what is drawn.
        lines: the values by name, each of any length; those that are not finite are gaps.
        first: the number of the first value.

    >>> chart("loss", {"train": [2.0, 1.0]}).startswith("<svg")
    True
    """
    wide = _WIDE + (8 * max(map(len, lines)) if len(lines) > 3 else 0)
    values = [v for line in lines.values() for v in line if math.isfinite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5 * abs(low or 1.0), high + 0.5 * abs(high or 1.0)
    longest = max(map(len, lines.values()), default=1)
    across, up = _WIDE - _LEFT - 10, _HIGH - _TOP - _BOTTOM
    x = lambda i: _LEFT + across * (i / (longest - 1) if longest > 1 else 0.5)
    y = lambda v: _TOP + up * (high - v) / (high - low)
    text = lambda left, top, words, more="": (
        f'<text x="{left:.0f}" y="{top:.0f}" {more}>{escape(words)}</text>'
    )
    parts = [
        _opened(title, wide, _HIGH),
        f'<rect x="{_LEFT}" y="{_TOP}" width="{across}" height="{up}" fill="none" stroke="#ccc"/>',
        text(_LEFT, 14, title, 'font-weight="bold"'),
        text(_LEFT - 4, _TOP + 9, f"{high:.3g}", 'text-anchor="end"'),
        text(_LEFT - 4, _TOP + up, f"{low:.3g}", 'text-anchor="end"'),
        text(_LEFT, _HIGH - 20, str(first)),
        text(_LEFT + across, _HIGH - 20, str(first + longest - 1), 'text-anchor="end"'),
    ]
    for k, (name, line) in enumerate(lines.items()):
        colour = COLOURS[k % len(COLOURS)]
        for run in _runs(line):
            points = " ".join(f"{x(i):.1f},{y(line[i]):.1f}" for i in run)
            if len(run) == 1:
                parts.append(
                    f'<circle cx="{x(run[0]):.1f}" cy="{y(line[run[0]]):.1f}" r="2.5" fill="{colour}"/>'
                )
            else:
                parts.append(
                    f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
                )
        if len(lines) > 3:  # too many names for one line: one below the other
            parts.append(text(_WIDE, _TOP + 12 + 14 * k, name, f'fill="{colour}"'))
        else:
            place = _LEFT + across * k / max(len(lines), 1)
            parts.append(text(place, _HIGH - 5, name, f'fill="{colour}"'))
    return "".join([*parts, "</svg>"])


def bars(title: str, counts: Sequence[int], low: float, high: float) -> str:
    """A histogram as an SVG: counts of equal parts of the range from low to high.

    >>> bars("weights", [1, 3, 2], -1.0, 1.0).count("<rect")
    3
    """
    wide, high_ = _WIDE * 2 // 3, _HIGH * 2 // 3
    step, most = (wide - 20) / max(len(counts), 1), max([*counts, 1])
    up = high_ - _TOP - 18
    parts = [
        _opened(title, wide, high_),
        f'<text x="10" y="14" font-weight="bold">{escape(title)}</text>',
    ]
    for k, count in enumerate(counts):
        tall = up * count / most
        parts.append(
            f'<rect x="{10 + k * step:.1f}" y="{_TOP + up - tall:.1f}" width="{max(step - 1, 1):.1f}" '
            f'height="{tall:.1f}" fill="{COLOURS[0]}"/>'
        )
    ends = f'<text x="10" y="{high_ - 4}">{low:.3g}</text>'
    ends += f'<text x="{wide - 10}" y="{high_ - 4}" text-anchor="end">{high:.3g}</text>'
    return "".join([*parts, ends, "</svg>"])


def _opened(title: str, wide: int, high: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="11">'
    )


def picture(pixels: Any) -> str:
    """A PNG within the page, of (H, W), (1, H, W) or (3, H, W) uint8.

    >>> import numpy as np
    >>> picture(np.zeros((2, 2), dtype=np.uint8))[:32]
    '<img alt="" src="data:image/png;'
    """
    if pixels.ndim == 3:
        pixels = pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0)
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + pixels[i].tobytes() for i in range(height))  # 0: no filter
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _runs(line: Sequence[float]) -> list[list[int]]:
    """The places of finite values, without gaps."""
    runs: list[list[int]] = [[]]
    for i, value in enumerate(line):
        if math.isfinite(value):
            runs[-1].append(i)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
