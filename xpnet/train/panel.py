"""What is shown of a run while it goes on: curves, what goes on inside, verdicts, samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from xpnet.core.convert import to_numpy
from xpnet.core.html import bars, chart, picture
from xpnet.functional import softmax
from xpnet.train.curves import curves, history_table
from xpnet.train.history import History

STYLE = """
.xpnet { font: 14px/1.5 system-ui, sans-serif; color: #222; background: #fff; overflow-x: auto }
.xpnet svg { max-width: 100%; height: auto; margin: 0 .8rem .6rem 0; vertical-align: top }
.xpnet table { border-collapse: collapse; margin: .6rem 0 }
.xpnet th, .xpnet td { text-align: left; padding: .1rem .8rem .1rem 0; color: #222; background: #fff }
.xpnet .PASS { color: #1a7f37 } .xpnet .WARN { color: #9a6700 } .xpnet .FAIL { color: #cf222e }
.xpnet h2 { font-size: 1.05rem; margin: 1rem 0 .3rem }
.xpnet figure { display: inline-block; margin: 0 .8rem .6rem 0; text-align: center; font-size: .85rem }
.xpnet img { width: 64px; height: 64px; object-fit: contain; image-rendering: pixelated; background: #eee }
"""
_WEIGHTS = 6  # parameters that are shown
_BINS = 24
SHOWN = 12
"""How many samples are shown with their predictions."""


class Samples:
    """A few pictures that the network is asked about again and again.

    Args:
        pictures: (n, C, H, W) or (n, H, W), of any range.
        labels: (n,) class numbers.
        class_names: of the classes.
    """

    def __init__(self, pictures: Any, labels: Any, class_names: Sequence[str] | None = None) -> None:
        pixels = to_numpy(pictures).astype(np.float64)
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.rint(255 * (pixels - low) / ((high - low) or 1.0)).astype(np.uint8)
        self.images = [picture(one) for one in pixels]
        self.labels, self.class_names = to_numpy(labels).astype(np.int64), class_names

    def html(self, scores: Any) -> str:
        """The pictures, each with the class that has the highest of its scores (n, classes)."""
        chances = to_numpy(softmax(scores))
        parts = []
        for image, label, row in zip(self.images, self.labels, chances, strict=True):
            chosen = int(row.argmax())
            verdict, wanted = ("PASS", "") if chosen == label else ("FAIL", f", not {self._name(label)}")
            said = escape(f"{self._name(chosen)} {row[chosen]:.0%}{wanted}")
            parts.append(f'<figure>{image}<figcaption class="{verdict}">{said}</figcaption></figure>')
        return "".join(parts)

    def _name(self, k: int) -> str:
        return self.class_names[k] if self.class_names else str(k)


def panel(
    title: str,
    state: str,
    history: History,
    observations: Sequence[Any] = (),
    findings: Sequence[Any] = (),
    samples: str = "",
) -> str:
    """A piece of HTML that needs nothing from elsewhere, and no script.

    Args:
        title: of the run.
        state: how far it is.
        history: its numbers.
        observations: of the diagnostics.
        findings: likewise.
        samples: what `Samples.html` gave.
    """
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(state)}</p>"]
    if findings:
        rows = "".join(
            f'<tr><td class="{f.status}">&#9679; {f.status}</td><td>{escape(f.name)}</td>'
            f"<td>{f.value:.4g}</td><td>{escape(f.advice or f.expected)}</td></tr>"
            for f in findings
        )
        parts.append(f"<table>{rows}</table>")
    parts.append(curves(history))
    if samples:
        parts += ["<h2>What it says of some samples</h2>", samples]
    if observations:
        parts += _inside(observations)
    if history.epochs:
        parts.append(history_table(history))
    return f'<div class="xpnet">{"".join(parts)}</div>'


def _inside(observations: Sequence[Any]) -> list[str]:
    """Update ratios over the looks, and the weights of the last one."""
    last = [weight for weight in observations[-1].weights if weight.axes >= 2][:_WEIGHTS]
    ratios: dict[str, list[float]] = {weight.name: [] for weight in last}
    for seen in observations:
        for weight in seen.weights:
            if weight.name in ratios:
                ratios[weight.name].append(
                    math.nan if weight.ratio is None else math.log10(weight.ratio or math.nan)
                )
    parts = [
        "<h2>Inside</h2>",
        chart("log10 of update ratios by looks (-3 is usual)", ratios),
    ]
    for weight in last:
        values = weight.values[np.isfinite(weight.values)]
        if values.size:
            counts, edges = np.histogram(values, bins=_BINS)
            parts.append(bars(f"{weight.name}: values", counts.tolist(), float(edges[0]), float(edges[-1])))
    return parts
