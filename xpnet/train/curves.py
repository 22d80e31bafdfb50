"""The numbers of a history as HTML: curves, and a table."""

from __future__ import annotations

from typing import Any

from xpnet.core.html import chart, table


def curves(history: Any) -> str:
    """Losses, other measures and the learning rate by epoch, as SVG."""
    losses = {key: history[key] for key in history if key.endswith("loss")}
    others = {key: history[key] for key in history if key not in losses and key not in ("lr", "seconds")}
    rate = {"lr": history["lr"]} if "lr" in history else {}
    panels = (("loss", losses), ("measures", others), ("learning rate", rate))
    return "".join(chart(title, lines) for title, lines in panels if lines)


_ROWS = 12


def history_table(history: Any) -> str:
    """The numbers of the last epochs."""
    rows = list(enumerate(history.rows(), 1))[-_ROWS:]
    cells = [[epoch, *(f"{value:.4g}" for value in row.values())] for epoch, row in rows]
    return table(["epoch", *history], cells)
