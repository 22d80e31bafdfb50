"""A slide's printout and ours: line by line, and as curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.lab.cifar import Line
from xpnet.lab.experiment import Picture, Table


def beside(title: str, slide: np.ndarray, ours: Sequence[Line]) -> Table:
    """The slide's printout, rows of cost, training and validation accuracy, line by line beside ours."""
    header = ("epoch", "cost: S2", "ours", "by S2's formula", "train: S2", "ours", "val: S2", "ours")
    rows = []
    for k, (cost, training, validation) in enumerate(slide):
        found = ours[k]
        costs = (f"{c:.6f}" for c in (cost, found.cost, found.cost_of_slide))
        rates = (f"{a:.3f}" for a in (training, found.training, validation, found.validation))
        rows.append([k + 1, *costs, *rates])
    return Table(title, header, rows)


def curves(title: str, slide: np.ndarray, ours: Sequence[Line]) -> Picture:
    """Costs and validation accuracies of both, by epoch; what is not finite is left out."""

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        found = np.array(ours)
        for axis, (theirs, mine) in zip((left, right), ((0, 0), (2, 3)), strict=True):
            axis.plot(range(1, len(slide) + 1), slide[:, theirs], "o--", label="S2")
            axis.plot(range(1, len(found) + 1), found[:, mine], "o-", label="ours")
            axis.set_xlabel("epoch")
            axis.legend()
        left.set_ylabel("cost of the last batch")
        right.set_ylabel("validation accuracy")

    return Picture(title, draw, (9, 3.2))
