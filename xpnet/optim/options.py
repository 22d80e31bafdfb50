"""Hyperparameters: declared once, in the body of an optimizer's class, and checked by name."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY
from functools import cache, partial
from inspect import Parameter, Signature, get_annotations
from numbers import Real
from operator import itemgetter
from typing import Any

from xpnet.core.tensor import Tensor

Rate = float | Callable[[int], float]
"""A learning rate: a number, or a function of the steps made so far, 0 at the first."""

_PARAMS = Parameter("params", Parameter.POSITIONAL_OR_KEYWORD)


def declared(cls: type, inherited: Signature) -> Signature:
    """The signature that a class body declares, after that of its base class.

    Args:
        cls: its annotated attributes are hyperparameters, and their values defaults, as in a dataclass; those
            after `_: KW_ONLY` are passed by name. The attributes are taken away: an optimizer has its
            hyperparameters in `param_groups`.
        inherited: of the base class.
    """
    found, kind = dict(inherited.parameters) or {"params": _PARAMS}, _PARAMS.kind
    for name, annotation in get_annotations(cls).items():
        if annotation in (KW_ONLY, "KW_ONLY"):
            kind = Parameter.KEYWORD_ONLY
        elif "ClassVar" not in str(annotation):
            default = cls.__dict__.get(name, Parameter.empty)
            kept = found[name].kind if name in found else kind
            found[name] = Parameter(name, kept, default=default, annotation=annotation)
            if name in cls.__dict__:
                delattr(cls, name)
    return inherited.replace(parameters=list(found.values()))


@cache
def record(name: str, fields: tuple[str, ...]) -> Any:
    """The class of a rule's hyperparameters as a tuple of named values."""
    return namedtuple(name, fields)  # its fields are known only now


def reader(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """A function that gives the values of these names in a dict."""
    if len(names) > 1:
        return itemgetter(*names)
    return partial(_read, names)


def _read(names: tuple[str, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(options[name] for name in names)


def bound(
    name: str, signature: Signature, params: Any, args: tuple[Any, ...], given: dict[str, Any]
) -> dict[str, Any]:
    """The hyperparameters of a rule from the arguments of its call, the others at their defaults.

    PyTorch's `foreach`, `fused` and `capturable` say how it computes: they are taken and change nothing.

    Raises:
        TypeError: an argument is unknown or missing.
        ValueError: differentiable=True: a step of ours has no gradient.
    """
    how = {"foreach", "fused", "capturable", "differentiable"} - signature.parameters.keys()
    if "differentiable" in how and given.get("differentiable"):
        raise ValueError(f"{name}: differentiable=True is not there: a step has no gradient; leave it out")
    try:
        found = signature.bind(params, *args, **{k: v for k, v in given.items() if k not in how})
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    found.apply_defaults()
    return {k: v for k, v in found.arguments.items() if k != "params"}


def as_python(value: Any) -> Any:
    """A NumPy scalar as a number: it would turn float32 arithmetic into float64."""
    return value.item() if hasattr(value, "item") else value


def check_options(name: str, options: dict[str, Any]) -> None:
    """Refuse hyperparameters outside their range, by name.

    Raises:
        ValueError: naming the option, its value and its range.
        TypeError: it is no number.
    """
    at_least_0 = (
        *("lr", "weight_decay", "momentum", "eps", "lr_decay", "initial_accumulator_value"),
        *("momentum_decay", "warmup_steps"),
    )
    below_1 = ("rho", "alpha")
    for key, value in options.items():
        if key == "eps" and isinstance(value, tuple | list):
            continue  # of a rule that looks at them itself
        if key in at_least_0 + below_1 and not isinstance(value, Real):
            raise TypeError(f"{name}: {key} must be a number, got {value!r}")
        if key in at_least_0 and not value >= 0:
            raise ValueError(f"{name}: {key} must be at least 0, got {value}")
        if key in below_1 and not 0 <= value < 1 and not (key == "rho" and value == 1):
            raise ValueError(f"{name}: {key} must be in [0, 1), got {value}")
        n, word = (3, "three") if name == "Adan" else (2, "two")
        several = isinstance(value, tuple | list) and len(value) == n
        if key == "betas" and not (several and all(0 <= b < 1 for b in value)):
            raise ValueError(f"{name}: betas must be {word} numbers in [0, 1), got {value}")
    if options.get("nesterov") and (options["momentum"] <= 0 or options.get("dampening", 0) != 0):
        raise ValueError(f"{name}: nesterov needs momentum > 0 and dampening 0")


def named(members: list[Any]) -> tuple[list[Any], dict[str, list[str]]]:
    """Parameters, and what a group has of their names, if they were given with them.

    Raises:
        ValueError: some were, and others not.
    """
    pairs = [m for m in members if isinstance(m, tuple) and len(m) == 2 and isinstance(m[0], str)]
    if pairs and len(pairs) < len(members):
        raise ValueError("params: some have names and others not: pass named_parameters() or parameters()")
    return ([p for _, p in pairs], {"param_names": [n for n, _ in pairs]}) if pairs else (members, {})


def as_groups(params: Any) -> list[dict[str, Any]]:
    """What an optimizer is given to train, as groups.

    Raises:
        ValueError: there is nothing.
        TypeError: it is neither a Module nor parameters or groups.
    """
    if isinstance(params, type) or not (hasattr(params, "parameters") or isinstance(params, Iterable)):
        raise TypeError(f"params: expected a Module or an iterable of parameters, got {params!r}")
    if hasattr(params, "parameters"):
        params = params.parameters()
    if isinstance(params, Tensor):
        raise TypeError(
            "params: expected a Module or an iterable of parameters, got one Tensor; pass [tensor]"
        )
    params = list(params)
    if not params:
        raise ValueError("params is empty: there is nothing to train")
    return params if isinstance(params[0], dict) else [{"params": params}]
