"""One page of the reference for each public module, made from what the package itself says is public.

The names of a module are its `__all__`, or what it defines. One that several modules give is described once,
on the page of the first of them, and linked from the others.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
INSIDE = {"cli", "core", "io", "lab.experiments"}
"""Packages that have no names for people: a command, and rooms whose public parts have names of their own."""


def modules() -> list[str]:
    """The public modules, by the names under which people import them."""
    if str(ROOT) not in sys.path:  # MkDocs takes it out again after loading a hook
        sys.path.insert(0, str(ROOT))
    import xpnet

    folders = {found.name for found in pkgutil.iter_modules(xpnet.__path__) if not found.name.startswith("_")}
    named = {name for name in xpnet.__all__ if getattr(getattr(xpnet, name), "__spec__", None)}
    return ["xpnet", *(f"xpnet.{name}" for name in sorted((folders | named | {*xpnet._SUBMODULES}) - INSIDE))]


def load(module: str) -> Any:
    """A public module, which may be an alias."""
    name = module.removeprefix("xpnet.")
    xpnet = importlib.import_module("xpnet")
    return xpnet if module == "xpnet" else getattr(xpnet, name, None) or importlib.import_module(module)


def public(module: str) -> list[str]:
    """The names of a module, without other modules."""
    found = load(module)
    own = [n for n, v in vars(found).items() if getattr(v, "__module__", None) == found.__name__]
    names = getattr(found, "__all__", None) or [n for n in own if not n.startswith("_")]
    return [n for n in names if not getattr(getattr(found, n), "__spec__", None)]


def plan() -> dict[str, dict[str, str]]:
    """Module -> name -> the page that describes it."""
    first: dict[int, str] = {}
    found: dict[str, dict[str, str]] = {}
    for module in modules():
        thing = load(module)
        found[module] = {}
        for name in public(module):
            value = getattr(thing, name)
            shared = callable(value) and getattr(value, "__name__", name) == name
            found[module][name] = first.setdefault(id(value), module) if shared else module
    return {module: homes for module, homes in found.items() if homes}


def page(module: str, homes: dict[str, str]) -> str:
    """The Markdown of a page."""
    here = [name for name, home in homes.items() if home == module]
    also = [f"[`{name}`][{home}.{name}]" for name, home in homes.items() if home != module]
    options = (
        f"members: [{', '.join(here)}], show_submodules: true" if here else "members: false, summary: false"
    )
    links = f"Also here: {', '.join(also)}.\n" if also else ""
    return f"::: {module}\n    options: {{heading_level: 1, {options}}}\n\n{links}"


def on_config(config: Any, **_: Any) -> Any:
    """Put the pages under Reference."""
    (section,) = (entry["Reference"] for entry in config["nav"] if "Reference" in entry)
    section += [{module: f"reference/{module}.md"} for module in plan()]
    return config


def on_post_build(config: Any, **_: Any) -> None:
    """Let the search know names as people write them: xpnet.nn.Linear, not Linear alone.

    Hooks run after the plugins: the index is written.
    """
    path = Path(config["site_dir"]) / "search" / "search_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    for entry in index["docs"]:
        page, _, name = entry["location"].partition("#")
        if page.startswith("reference/") and name.startswith("xpnet."):
            entry["title"] = name
    path.write_text(json.dumps(index), encoding="utf-8")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Make the pages."""
    from mkdocs.structure.files import File

    for module, homes in plan().items():
        files.append(File.generated(config, f"reference/{module}.md", content=page(module, homes)))
    return files
