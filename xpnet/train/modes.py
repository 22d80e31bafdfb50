"""Modules that stay in evaluation mode while the model around them trains, such as a frozen batch norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def asleep(model: Any) -> list[Any]:
    """The modules in evaluation mode: of a model in training, somebody has put them there."""
    return [module for module in model.modules() if not module.training]


def train_but(model: Any, modules: Iterable[Any]) -> None:
    """Set the training mode of a model but for some of its modules, each without those inside it."""
    model.train()
    for module in modules:
        module.training = False
