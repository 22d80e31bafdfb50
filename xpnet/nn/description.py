"""A model made of xpnet's layers, described in terms of JSON, and made again from that.

Each layer's arguments are its attributes, under the names its `__init__` gives them; initial weights are not
part of it. `xpnet.save` keeps the description beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from xpnet import nn
from xpnet.core.backend import dtype_name
from xpnet.core.checks import nearest
from xpnet.nn.losses import Loss
from xpnet.nn.module import Module
from xpnet.nn.parametrizations import KINDS

_MARGIN = 512
_LEFT_OUT = (  # they change no result
    *("weight_init", "bias_init", "inplace", "axis", "args", "kwargs"),
    *("enable_nested_tensor", "mask_check", "sparse"),
)


def _kind(name: Any) -> type[Module] | None:
    """The layer of `xpnet.nn` of this name."""
    kind = getattr(nn, name) if name in nn.__all__ else None
    if not isinstance(kind, type) or not issubclass(kind, Module) or issubclass(kind, Loss):
        return None
    return None if kind.forward is Module.forward else kind


def describe(module: Module) -> dict[str, Any]:
    """Kinds and arguments of a module and all inside it, as JSON can hold them.

    A module that is used in several places is described once.

    Raises:
        TypeError: something in it is not a layer of `xpnet.nn`, or layers share a parameter.

    >>> from xpnet import nn
    >>> from xpnet.nn.description import describe
    >>> describe(nn.Sequential(nn.ReLU(), nn.Dropout(0.2)))
    {'kind': 'Sequential', 'layers': [{'kind': 'ReLU'}, {'kind': 'Dropout', 'p': 0.2}]}
    """
    owners: dict[int, str] = {}
    for name, child in module.named_modules():
        for attribute, value in child._children():
            path = f"{name}.{attribute}".lstrip(".")
            if not isinstance(value, Module) and owners.setdefault(id(value), path) != path:
                raise TypeError(f"{path} and {owners[id(value)]} are one parameter; no description says that")
    return _describe(module, [])


def from_description(description: Mapping[str, Any]) -> Module:
    """The module that `describe` described, on the default backend, with new initial weights.

    Raises:
        ValueError: an unknown kind of layer, or arguments it does not take.
    """
    return _make(description, [])


def _describe(module: Module, seen: list[Module]) -> dict[str, Any]:
    for number, other in enumerate(seen):
        if other is module:
            return {"kind": "same", "number": number}
    kind = type(module).__name__
    if _kind(kind) is not type(module):
        raise TypeError(f"{type(module).__module__}.{kind} is not a layer of xpnet.nn")

    def encode(value: Any) -> Any:
        if isinstance(value, Module):
            return _describe(value, seen)
        return [encode(item) for item in value] if isinstance(value, list | tuple) else value

    description = {"kind": kind, **{name: encode(value) for name, value in _arguments(module).items()}}
    made = vars(module).get("parametrizations", {})
    if made:
        described = {name: {"kind": part.kind, **part.settings()} for name, part in made.items()}
        description["parametrizations"] = described
    seen.append(module)
    return description


def _make(description: Mapping[str, Any], made: list[Module]) -> Module:
    arguments = dict(description)
    kind, parametrized = arguments.pop("kind", None), arguments.pop("parametrizations", {})
    if kind == "same":
        return made[arguments["number"]]

    def decode(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _make(value, made)
        return tuple(decode(item) for item in value) if isinstance(value, list | tuple) else value

    make = _kind(kind)
    if make is None:
        near = nearest(kind, filter(_kind, nn.__all__))
        raise ValueError(
            f"unknown kind of layer {kind!r}; xpnet.nn has none of that name"
            + (f", did you mean {near}?" if near else "")
        )
    arguments = {name: decode(value) for name, value in arguments.items()}
    _check_padding(kind, arguments.get("padding", 0))
    try:
        layers = arguments.pop("layers", ())
        if "names" in arguments:
            layers = (dict(zip(arguments.pop("names"), layers, strict=True)),)
        module = make(*layers, **arguments)
        for name, settings in parametrized.items():
            options = dict(settings)
            KINDS[options.pop("kind")](module, name, **options)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{kind}: {error}") from None
    made.append(module)
    return module


def _check_padding(kind: str, padding: Any) -> None:
    """Refuse a margin that no layer needs: it is the one argument that makes much of little, without weights.

    Raises:
        ValueError: it is larger than 512.
    """
    for side in padding if isinstance(padding, tuple) else (padding,):
        if isinstance(side, int) and side > _MARGIN:
            raise ValueError(f"{kind}: padding {side}, expected {_MARGIN} at most")


def _arguments(module: Module) -> dict[str, Any]:
    """What makes another module like this one."""
    if isinstance(module, nn.Maxout):
        units = module.out_features // module.pieces
        return {**_arguments_of(nn.Linear, module), "out_features": units, "pieces": module.pieces}
    found = _arguments_of(type(module), module)
    if isinstance(module, nn.Sequential) and hasattr(module, "_names"):
        found["names"] = [module._name(i) for i in range(len(module))]
    return found


def _arguments_of(kind: type, module: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in signature(kind).parameters:
        if name in ("bias", "affine", "elementwise_affine"):
            value = module.bias if name == "bias" else module.weight
            found[name] = value if isinstance(value, bool) else value is not None
        elif name == "track_running_stats":
            found[name] = module.running_mean is not None
        elif name == "dtype":
            found[name] = _dtype(module)
        elif name not in _LEFT_OUT:
            found[name] = getattr(module, name)
    return found


def _dtype(module: Module) -> str:
    for array in module.state_dict().values():
        return dtype_name(array.dtype)
    return "float32"
