"""For mkdocstrings: docstrings as they must be to become pages.

Markdown takes a line that begins with `>>>` for three quotes, so examples get fences. And not all is seen in
sources that are not run: the functions of `xpnet.array_api` are made when it is imported, some names load
on first use, and `xpnet.data.split` is a function and a file.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

BLOCK = re.compile(r"^( *)>>> .*(?:\n.*\S.*)*", re.MULTILINE)  # to the next empty line
CONSTANTS = {
    "e": "Euler's number.",
    "inf": "Infinity.",
    "nan": "Not a number.",
    "newaxis": "`None`: a new axis, as an index.",
    "pi": "The circle's circumference over its diameter.",
}


class Docstrings(griffe.Extension):
    """For the option `extensions`."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Once everything has been read."""
        from xpnet import array_api

        fence(pkg)
        for room in pkg.modules.values():
            for name in map(str, room.exports or ()):
                file = room.members.get(name)
                if file is None and room.name != "array_api":  # loaded on first use
                    value = getattr(import_module(room.path), name)
                    path = f"{value.__module__}.{value.__qualname__}"
                    room.set_member(name, griffe.Alias(name, path, parent=room))
                elif file is not None and not file.is_alias and file.is_module and name in file.members:
                    room.set_member(name, griffe.Alias(name, file.members[name], parent=room))
        module = pkg["array_api"]
        for name, text in CONSTANTS.items():
            module.set_member(name, griffe.Attribute(name, docstring=griffe.Docstring(text)))
        for name in array_api.FUNCTIONS:
            module.set_member(name, function(name, getattr(array_api, name)))
        for name in ("linalg", "fft"):
            part = griffe.Module(name, docstring=griffe.Docstring(f"Extension `{name}` of the standard."))
            module.set_member(name, part)
            for key, value in vars(getattr(array_api, name)).items():
                part.set_member(key, function(key, value))


def function(name: str, value: Any) -> griffe.Function:
    """With its parameters as they are now."""
    parameters = []
    for p in inspect.signature(value).parameters.values():
        kind = griffe.ParameterKind(p.kind.description)
        default = None if p.default is p.empty else repr(p.default)
        parameters.append(griffe.Parameter(p.name, kind=kind, default=default))
    text = griffe.Docstring(inspect.getdoc(value) or "")
    made = griffe.Function(name, parameters=griffe.Parameters(*parameters), docstring=text)
    text.parent = made
    fence(made)
    return made


def fence(part: Any) -> None:
    """Put fences around the examples of an object and of what is in it."""
    if part.docstring:
        part.docstring.value = BLOCK.sub(r"\1```pycon\n\g<0>\n\1```", part.docstring.value)
    for member in part.members.values():
        if not member.is_alias:
            fence(member)
