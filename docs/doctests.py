"""Doctests in docstrings as code blocks: Markdown takes a line that begins with `>>>` for three quotes."""

from __future__ import annotations

import re
from typing import Any

import griffe

BLOCK = re.compile(r"^( *)>>> .*(?:\n.*\S.*)*", re.MULTILINE)  # to the next empty line


class Fenced(griffe.Extension):
    """For mkdocstrings."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Once everything has been read."""
        fence(pkg)


def fence(part: Any) -> None:
    """Put fences around the examples of an object and of what is in it."""
    if part.docstring:
        part.docstring.value = BLOCK.sub(r"\1```pycon\n\g<0>\n\1```", part.docstring.value)
    for member in part.members.values():
        if not member.is_alias:
            fence(member)
