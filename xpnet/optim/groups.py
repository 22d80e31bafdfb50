"""Parameter groups by patterns of names, and rates that fall from the last layer to the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet.core.checks import number
from xpnet.nn.container import ModuleList, Sequential
from xpnet.nn.embedding import Embedding
from xpnet.nn.module import Module
from xpnet.nn.patterns import matching

Group = dict[str, Any]


def groups_by_pattern(model: Module, options: Mapping[str, Mapping[str, Any]]) -> list[Group]:
    """Parameter groups of an optimizer, each with the options of the first pattern that fits.

    Args:
        model: a Module.
        options: by pattern of names, as `"*.bias"`, or name of a module, as `"encoder"`: the hyperparameters
            that are otherwise for these parameters.

    Returns:
        A group for each pattern, and one of the others, which have the optimizer's defaults; none is empty.

    Raises:
        ValueError: a pattern fits no parameter.
        TypeError: a pattern is no text.

    >>> from xpnet import nn, optim
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    >>> groups = optim.groups_by_pattern(model, {"*.bias": {"weight_decay": 0.0}, "1": {"lr": 1e-4}})
    >>> rule = optim.AdamW(groups, lr=1e-3, weight_decay=0.1)
    >>> [(len(g["params"]), g["lr"], g["weight_decay"]) for g in rule.param_groups]
    [(2, 0.001, 0.0), (1, 0.0001, 0.1), (1, 0.001, 0.1)]
    """
    found = matching("groups_by_pattern", model, options)
    given = {**options, "": {}}
    groups = [{"params": [p for _, p in pairs], **given[pattern]} for pattern, pairs in found.items()]
    return [group for group in groups if group["params"]]


def layerwise_groups(model: Module, lr: float, decay: float = 0.75, **options: Any) -> list[Group]:
    """Groups whose rates fall from the last layer to the first (Howard & Ruder, 2018), for fine-tuning.

    Args:
        model: a Module; its layers are the parts that it holds, and those of rows and lists in it one by one.
        lr: of the last layer.
        decay: that of each layer is so many times the next one's.
        **options: further hyperparameters of all groups.

    Returns:
        A group for each layer that has parameters, in order.

    Raises:
        ValueError: the decay is outside (0, 1], or there are no parameters.
        TypeError: a value is no number.

    >>> from xpnet import nn, optim
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2))
    >>> [group["lr"] for group in optim.layerwise_groups(model, 0.1, 0.5)]
    [0.025, 0.05, 0.1]
    """
    rate, factor = number("layerwise_groups", "lr", lr, 0), number("layerwise_groups", "decay", decay, 0)
    if not 0 < factor <= 1:
        raise ValueError(f"layerwise_groups: decay must be above 0 and at most 1, got {decay}")
    seen: set[int] = set()
    layers = []
    for part in _layers(model):
        own = [
            p for p in ([part] if not isinstance(part, Module) else part.parameters()) if id(p) not in seen
        ]
        seen |= {id(p) for p in own}
        if own:
            layers.append(own)
    if not layers:
        raise ValueError(f"layerwise_groups: {type(model).__name__} has no parameters")
    n = len(layers)
    return [{"params": own, "lr": rate * factor ** (n - 1 - i), **options} for i, own in enumerate(layers)]


def _layers(module: Module) -> list[Any]:
    """The parts of a module in order, those of rows and lists one by one, and parameters of its own."""
    found: list[Any] = []
    for _, part in module._children():
        if isinstance(part, Sequential | ModuleList):
            found += _layers(part)
        elif isinstance(part, Module) or part.requires_grad:
            found.append(part)
    return found


def matrices_and_others(model: Module, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Groups for `MuonWithAuxAdam`: the matrices of hidden layers, and what Muon is not for.

    The tables of embeddings, the last matrix, filters of convolutions, biases and norms go to AdamW.

    Args:
        model: whose parameters they are.
        weight_decay: of matrices, filters and tables.

    Returns:
        The groups that have parameters.

    Raises:
        TypeError: no Module.

    >>> from xpnet import nn, optim
    >>> model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 9))
    >>> groups = optim.matrices_and_others(model)
    >>> [(group["use_muon"], [p.shape for p in group["params"]]) for group in groups]
    [(True, [(8, 8)]), (False, [(9, 8), (9, 8)]), (False, [(8,), (9,)])]
    """
    if not isinstance(model, Module):
        raise TypeError(f"matrices_and_others: expected a Module, got {type(model).__name__}")
    tables = {id(layer.weight) for layer in model.modules() if isinstance(layer, Embedding)}
    parameters = list(model.parameters())
    matrices = [p for p in parameters if p.ndim == 2]
    hidden = {id(p) for p in matrices[:-1]} - tables
    parts = [
        ([p for p in parameters if id(p) in hidden], True, weight_decay),
        ([p for p in parameters if id(p) not in hidden and p.ndim >= 2], False, weight_decay),
        ([p for p in parameters if p.ndim < 2], False, 0.0),
    ]
    return [
        {"params": members, "use_muon": matrix, "weight_decay": decay}
        for members, matrix, decay in parts
        if members
    ]
