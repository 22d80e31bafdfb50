"""`xpnet train --ensemble N`: several networks that decide together, and how sure they are of a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import nn
from xpnet.cli.setup import Setup
from xpnet.data import Dataset
from xpnet.io.intervals import calibrated, centre_and_scale
from xpnet.io.model import members_of
from xpnet.train import EarlyStopping, Trainer


def train_others(
    number: int, make: Callable[[], tuple[Trainer, EarlyStopping]], setup: Setup, epochs: int
) -> list[nn.Module]:
    """Networks of other initial weights and shuffles, each of its best epoch; the first is there already."""
    found = []
    for k in range(2, number + 1):
        trainer, stopping = make()
        trainer.fit(setup.loader, setup.validation, epochs)
        if stopping.best_epoch is not None:
            found.append(trainer.model)
        print(f"network {k} of {number}: {stopping.monitor} {stopping.best:.4f}")
    return found


def intervals_of(model: nn.Module, setup: Setup) -> dict[str, Any]:
    """Factors for prediction intervals, from the rows that were kept for them."""
    assert setup.table is not None
    assert setup.table.calibration is not None
    targets, members = _known(model, setup.validation, setup)
    floor = float(np.sqrt(np.mean((members.mean(axis=0) - targets) ** 2))) or 1.0
    targets, members = _known(model, setup.table.calibration.to_backend(), setup)
    centre, scale = centre_and_scale(members, floor)
    return calibrated(np.abs(targets - centre) / scale, floor)


def _known(model: nn.Module, part: Dataset, setup: Setup) -> tuple[np.ndarray, np.ndarray]:
    """The targets, (n,), as they are in the table, and what each member says, (K, n)."""
    return setup.targets(part), members_of(model, part.x)
