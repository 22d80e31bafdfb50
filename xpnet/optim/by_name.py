"""Optimizers by name, as command line and estimators choose them."""

from __future__ import annotations

from typing import Any

from xpnet.nn.module import Module
from xpnet.optim.adafactor import Adafactor
from xpnet.optim.adam_family import LAMB, Adamax, Lion, NAdam, RAdam
from xpnet.optim.adan import Adan
from xpnet.optim.asgd import ASGD
from xpnet.optim.groups import matrices_and_others
from xpnet.optim.muon_adam import MuonWithAuxAdam
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rules import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop

# name: (rule, its options, learning rate that suits small networks with batch norm)
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any], float]] = {
    "sgd": (SGD, {}, 0.1),
    "momentum": (SGD, {"momentum": 0.9}, 0.02),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}, 0.02),
    "asgd": (ASGD, {}, 0.1),
    "adagrad": (Adagrad, {}, 0.02),
    "adadelta": (Adadelta, {}, 1.0),
    "rmsprop": (RMSprop, {}, 0.002),
    "adam": (Adam, {}, 0.005),
    "adamw": (AdamW, {}, 0.005),
    "nadam": (NAdam, {}, 0.005),
    "radam": (RAdam, {}, 0.005),
    "adamax": (Adamax, {}, 0.005),
    "lamb": (LAMB, {}, 0.01),
    "lion": (Lion, {}, 0.0005),
    "adan": (Adan, {}, 0.005),
    "adafactor": (Adafactor, {}, 0.02),
    "muon": (MuonWithAuxAdam, {}, 0.005),
}


def make_optimizer(name: str, model: Module, lr: float | None = None, weight_decay: float = 0.0) -> Optimizer:
    """The optimizer of that name.

    Args:
        name: a key of `OPTIMIZERS`.
        model: what it trains.
        lr: default: the one of the table.
        weight_decay: acts on the weights, not on biases and norms. It is the gradient of the penalty
            weight_decay / 2 * sum W^2, except with rules that are said to decouple it, such as "adamw".

    >>> from xpnet import nn
    >>> from xpnet.optim.by_name import make_optimizer
    >>> make_optimizer("momentum", nn.Linear(2, 3)).param_groups[0]["lr"]
    0.02
    """
    rule, settings, usual_lr = OPTIMIZERS[name]
    settings = {**settings, "lr": usual_lr if lr is None else lr}
    if rule is MuonWithAuxAdam:
        return rule(matrices_and_others(model, weight_decay), **settings)
    if not weight_decay:
        return rule(model, **settings, weight_decay=0.0)
    return rule(decayed_weights(model, weight_decay), **settings)


def decayed_weights(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: the weights with weight decay, biases and norms without."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
