"""The house: which room stands on which, read from the imports of every file.

A room is a file or a folder right under `xpnet/`. It may import rooms of floors below its own; that holds for
imports within functions and under TYPE_CHECKING, too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

import xpnet

pytestmark = pytest.mark.host

PACKAGE = Path(xpnet.__file__).parent

FLOORS = (
    {"core"},  # backends, ops and their kernels, tensors, random numbers
    {"array_api", "functional", "init", "classic"},  # the namespace of Tensors
    {"nn"},
    {"data", "models", "optim", "transforms"},
    {"cpu", "cuda", "parallel", "io"},  # launchers register with the ops of the floors below
    {"train"},
    {"search", "sklearn", "diagnostics", "ensemble"},
    {"report"},
    {"lab"},
    {"cli"},
)

# what no floor says: (who, must not import, why)
NEVER = (
    ("core", ("cpu", "cuda", "functional", "nn"), "the ground floor knows no kernel and no layer"),
    ("functional", ("nn",), "functions know no modules"),
    ("nn", ("data",), "layers know no data"),
    ("optim", ("functional",), "a rule knows no layer's function"),
    ("data", ("train", "optim"), "data know no training"),
    ("io", ("train", "optim.schedules"), "a file format knows no trainer"),
    ("parallel", ("train",), "ranks know no trainer"),
    ("train", ("diagnostics", "report", "search"), "the loop does not know who looks at it"),
)

# These hand on names of rooms above them, which load on first use: names that they have always had.
FACES = {"xpnet", "xpnet.train", "xpnet.parallel"}


class Import(NamedTuple):
    """`module` imports `target` (a module of the package), and the names it takes from it."""

    module: str
    target: str
    names: tuple[str, ...]
    line: int


@cache
def modules() -> dict[str, Path]:
    """Every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, source: str, known: set[str]) -> Iterator[Import]:
    """The imports of `xpnet` in a file; names that are modules themselves count as those."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "xpnet":
                    yield Import(module, alias.name, (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute here"
            if (node.module or "").split(".")[0] != "xpnet":
                continue
            names = []
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known:
                    yield Import(module, inner, (), node.lineno)
                else:
                    names.append(alias.name)
            if names:
                yield Import(module, str(node.module), tuple(names), node.lineno)
        elif isinstance(node, ast.Call) and _imports(node.func):
            for given in node.args[:1]:
                target = given.value if isinstance(given, ast.Constant) else None
                if isinstance(target, str) and target.split(".")[0] == "xpnet":
                    yield Import(module, target, (), node.lineno)


def _imports(function: ast.expr) -> bool:
    return ast.unparse(function).split(".")[-1].strip("_") in ("import", "import_module")


@cache
def imports() -> tuple[Import, ...]:
    """All of them, without those of the faces."""
    known = set(modules())
    return tuple(
        found
        for name, path in modules().items()
        if name not in FACES
        for found in imports_of(name, path.read_text(encoding="utf-8"), known)
    )


def room(module: str) -> str:
    """The first part below `xpnet`; the public face of the package is a room of its own."""
    return [*module.split("."), "xpnet"][1]


def floor(name: str) -> int:
    """From the ground up."""
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups that reach each other (Tarjan's strongly connected components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in arrows.get(name, ()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(group)

    for name in list(arrows):
        if name not in index:
            visit(name)
    return found


def test_every_room_has_a_floor():
    rooms = {room(name) for name in modules()} - {"xpnet", "__main__", "kernels"}
    assert rooms == set().union(*FLOORS)


def test_imports_point_down():
    upward = [
        f"{i.module}:{i.line} imports {i.target}"
        for i in imports()
        if room(i.module) not in ("__main__",)
        and room(i.target) not in ("xpnet", room(i.module))
        and floor(room(i.target)) >= floor(room(i.module))
    ]
    assert not upward


def test_no_room_imports_the_face_of_the_package():
    """`import xpnet` within the package would tie every room to all that the face hands on."""
    assert [
        f"{i.module}:{i.line}" for i in imports() if i.target == "xpnet" and room(i.module) not in TOP
    ] == []


TOP = ("cli", "lab", "__main__")  # written as a user writes


def test_no_file_imports_the_face_of_its_own_room():
    """A callback that takes `Trainer` from `xpnet.train` knows the Trainer class, by another name."""
    assert [
        f"{i.module}:{i.line}" for i in imports() if i.target in FACES and room(i.target) == room(i.module)
    ] == []


def test_faces_load_nothing_from_above_at_once():
    known = set(modules())
    broken = []
    for name in FACES - {"xpnet"}:
        tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
        at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for i in imports_of(name, "\n".join(map(ast.unparse, at_once)), known):
            if room(i.target) != room(name) and floor(room(i.target)) >= floor(room(name)):
                broken.append(f"{name} imports {i.target}")
    assert not broken


@pytest.mark.parametrize(("who", "others", "why"), NEVER)
def test_who_must_never_know_whom(who, others, why):
    broken = [
        f"{i.module}:{i.line} imports {i.target}: {why}"
        for i in imports()
        if room(i.module) == who
        for other in others
        if i.target == f"xpnet.{other}" or i.target.startswith(f"xpnet.{other}.")
    ]
    assert not broken


def test_callbacks_know_no_trainer_class():
    broken = [
        f"{i.module}:{i.line}"
        for i in imports()
        if room(i.module) == "train"
        and i.target == "xpnet.train.trainer"
        and i.module != "xpnet.train.trainer"
    ]
    # what makes trainers may name the class
    assert {b.split(":")[0] for b in broken} <= {
        "xpnet.train.cross_validation",
        "xpnet.train.lr_finder",
        "xpnet.train",
    }


def test_commands_do_not_import_one_another():
    commands = {
        name for name, path in modules().items() if room(name) == "cli" and "def run(" in path.read_text()
    }
    assert len(commands) >= 7
    assert [f"{i.module}:{i.line}" for i in imports() if i.module in commands and i.target in commands] == []


def test_only_the_command_line_imports_the_lab():
    assert {room(i.module) for i in imports() if room(i.target) == "lab"} <= {"lab", "cli"}


def test_files_import_one_another_without_a_circle():
    arrows: dict[str, set[str]] = {}
    for i in imports():
        if i.target != "xpnet":
            arrows.setdefault(i.module, set()).add(i.target)
    assert circles(arrows) == []


def private_attributes(module: str, source: str, known: set[str]) -> Iterator[str]:
    """`random._HOST`, where `random` is a module of another room."""
    tree = ast.parse(source)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                target = f"{node.module}.{alias.name}"
                if target in known and room(target) != room(module):
                    names[alias.asname or alias.name] = target
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = ast.unparse(node.value)  # `random`, or `xpnet.core.random`
        if owner in known and room(owner) != room(module):
            names[owner] = owner
        if owner in names and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield f"{module}:{node.lineno} takes {node.attr} of {names[owner]}"


def test_no_private_attribute_of_another_room_is_read():
    known = set(modules())
    assert [
        found
        for name, path in modules().items()
        if name not in FACES
        for found in private_attributes(name, path.read_text(encoding="utf-8"), known)
    ] == []
    planted = "from xpnet.core import random\nrandom._HOST\nrandom.HOST\nxpnet.core.random._MASK\n"
    assert len(list(private_attributes("xpnet.nn.planted", planted, known))) == 2
    assert not list(private_attributes("xpnet.core.planted", planted, known))


def test_no_private_name_crosses_a_package():
    taken = [
        f"{i.module}:{i.line} takes {name} of {i.target}"
        for i in imports()
        for name in i.names
        if name.startswith("_") and not name.startswith("__")
        if room(i.module) != room(i.target)
    ]
    assert not taken


def test_files_are_short():
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: n for name, n in lines.items() if n > 500} == {}
    assert median(lines.values()) < 130


def test_the_map_in_the_pages_is_of_this_house():
    root = PACKAGE.parent
    table = (root / "docs/pages/architecture.md").read_text().split("## Map of the code")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.count("|") > 2]
    named = [entry for cell in first for entry in re.findall(r"`([\w/.]+)`", cell)]
    places = (root, PACKAGE, PACKAGE / "core")
    assert [entry for entry in named if not any((place / entry).exists() for place in places)] == []
    rooms = {entry.strip("/").removeprefix("xpnet/").removesuffix(".py") for entry in named}
    assert set().union(*FLOORS) <= rooms


def test_the_reader_sees_what_is_planted():
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from xpnet.train import Trainer
def f():
    import xpnet.nn.module
    from xpnet.core import random, _hidden
    import_module("xpnet.search")
"""
    known = {"xpnet.train", "xpnet.nn.module", "xpnet.core", "xpnet.core.random"}
    found = {(i.target, i.names) for i in imports_of("xpnet.core.planted", source, known)}
    assert found == {
        ("xpnet.train", ("Trainer",)),
        ("xpnet.nn.module", ()),
        ("xpnet.core.random", ()),
        ("xpnet.core", ("_hidden",)),
        ("xpnet.search", ()),
    }
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert circles({"a": {"b"}, "b": {"c"}}) == []
