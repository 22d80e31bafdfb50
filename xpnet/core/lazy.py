"""Modules whose names load the modules they are in when they are first asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(owner: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a module that hands on names of others.

    Args:
        owner: its name.
        names: what each of the others has to offer, between spaces; their names are those within the package
            `owner`, or whole. No name may be that of a module in it, whose import would take its place.
    """
    whole = {module: module if "." in module else f"{owner}.{module}" for module in names}
    module_of = {name: whole[module] for module, offered in names.items() for name in offered.split()}

    def get(name: str) -> Any:
        if name in module_of:
            value = getattr(import_module(module_of[name]), name)
        elif name in whole:
            value = import_module(whole[name])
        else:
            raise AttributeError(f"module {owner!r} has no attribute {name!r}")
        setattr(sys.modules[owner], name, value)  # the next look finds it
        return value

    def names_of() -> list[str]:
        return sorted({*vars(sys.modules[owner]), *module_of})

    return get, names_of
