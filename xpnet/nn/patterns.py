"""Parameters by patterns of their names, such as `"encoder.*"` and `"*.bias"`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from xpnet.core.checks import nearest
from xpnet.nn.module import Module
from xpnet.nn.parameter import Parameter


def matching(function: str, model: Module, patterns: Iterable[str]) -> dict[str, list[tuple[str, Parameter]]]:
    """For each pattern the parameters that it is the first to fit, and under "" those that none fits.

    `*` stands for any characters, `?` for one, `[abc]` for one of these; a name without them stands for the
    module of that name, too.

    Raises:
        ValueError: a pattern fits no parameter.
        TypeError: a pattern is no text.
    """
    named = model.named_parameters()
    patterns = list(patterns)
    found: dict[str, list[tuple[str, Parameter]]] = {pattern: [] for pattern in patterns}
    found[""] = []
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{function}: a pattern is a text such as 'encoder.*', got {pattern!r}")
        if not any(_fits(name, pattern) for name, _ in named):
            near = nearest(pattern, [name for name, _ in named])
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"{function}: no parameter fits {pattern!r}{hint}")
    for name, p in named:
        first = next((pattern for pattern in patterns if _fits(name, pattern)), "")
        found[first].append((name, p))
    return found


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")


def freeze(model: Module, *patterns: str) -> list[str]:
    """Train these parameters no more.

    Args:
        model: a Module.
        *patterns: of names, as `*.bias`, or names of modules, as `encoder`; none: all.

    Returns:
        The names of those that are frozen now and were not before.

    Raises:
        ValueError: a pattern fits no parameter.
        TypeError: a pattern is no text.

    Batch norm of a frozen part still follows its batches: let it be with `part.eval()`.

    >>> from xpnet import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> nn.freeze(model, "0"), [p.requires_grad for p in model.parameters()]
    (['0.weight', '0.bias'], [False, False, True, True])
    """
    return _train("freeze", model, patterns, False)


def unfreeze(model: Module, *patterns: str) -> list[str]:
    """Train these parameters again.

    Args:
        model: a Module.
        *patterns: as for `freeze`; none: all.

    Returns:
        The names of those that are trained now and were not before.

    Raises:
        ValueError: a pattern fits no parameter.
        TypeError: a pattern is no text.

    >>> from xpnet import nn
    >>> model = nn.Linear(2, 3)
    >>> nn.freeze(model), nn.unfreeze(model, "*s")
    (['weight', 'bias'], ['bias'])
    """
    return _train("unfreeze", model, patterns, True)


def _train(function: str, model: Module, patterns: tuple[str, ...], requires_grad: bool) -> list[str]:
    found = matching(function, model, patterns)
    chosen = [pair for pattern in patterns or ("",) for pair in found[pattern]]
    changed = []
    for name, p in chosen:
        if p.requires_grad != requires_grad:
            p.requires_grad = requires_grad
            changed.append(name)
    order: dict[str, Any] = {name: i for i, (name, _) in enumerate(model.named_parameters())}
    return sorted(changed, key=order.__getitem__)
