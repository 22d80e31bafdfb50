"""Modes of modules and rules: a frozen batch norm that stays asleep, a rule with other weights to be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def asleep(model: Any) -> list[Any]:
    """The modules in evaluation mode: of a model in training, somebody has put them there."""
    return [module for module in model.modules() if not module.training]


def train_but(model: Any, modules: Iterable[Any]) -> None:
    """Set the training mode of a model but for some of its modules, each without those inside it."""
    model.train()
    for module in modules:
        module.training = False


def set_mode(optimizer: Any, training: bool) -> None:
    """Have a rule that is schedule-free put the weights to train, or those to use, into the model."""
    for rule in _with_modes(optimizer):
        (rule.train if training else rule.eval)()


@contextmanager
def used(optimizer: Any) -> Iterator[None]:
    """The weights to use, for a while."""
    rules = [rule for rule in _with_modes(optimizer) if rule.training]
    for rule in rules:
        rule.eval()
    try:
        yield
    finally:
        for rule in rules:
            rule.train()


def rules_of(optimizer: Any) -> list[Any]:
    """One optimizer, or several by name, as a list."""
    return list(optimizer.values()) if isinstance(optimizer, Mapping) else [optimizer]


def _with_modes(optimizer: Any) -> list[Any]:
    """Those that have two modes."""
    names = "train", "eval", "training"
    return [rule for rule in rules_of(optimizer) if all(hasattr(rule, name) for name in names)]
