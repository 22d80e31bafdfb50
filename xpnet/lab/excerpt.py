"""The lines of an experiment that compute: a program to copy, without drawing, checks and words."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection, Iterable
from typing import Any

_WORDS = {"Check", "Picture", "Result", "Table"}

PICTURES = """from xpnet.lab.cifar import pictures

data = pictures("DIR")  # where CIFAR-10 is
"""


def excerpt(run: Callable[..., Any]) -> str:
    """What `run` computes, with the imports, constants and functions of its file that it uses.

    Left out are functions that draw, those with an argument `figure`, and what is made of checks and tables.

    >>> from xpnet.lab import catalogue
    >>> print(excerpt(catalogue()["initial-loss"].run))
    from xpnet import asarray, init, nn
    from xpnet import functional as F
    from xpnet.data import load_digits
    <BLANKLINE>
    digits = load_digits()
    x = asarray(digits.x / 16)
    losses = {}
    for classes in (2, 3, 5, 10):
        model = nn.Linear(64, classes)
        model.weight.data = init.normal(model.weight.shape, std=1e-4)
        model.bias.data = init.zeros(model.bias.shape)
        losses[classes] = F.cross_entropy(model(x), asarray(digits.y % classes)).item()
    """
    file = inspect.getsource(inspect.getmodule(run) or run)
    top = ast.parse(file).body
    (whole,) = (node for node in top if isinstance(node, ast.FunctionDef) and node.name == run.__name__)
    body, left_out = whole.body[ast.get_docstring(whole) is not None :], set[int]()
    _leave_out(body, left_out)
    used, above = _names(body, left_out), list[ast.stmt]()
    for node in reversed([node for node in top if node is not whole]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [name for name in node.names if (name.asname or name.name.split(".")[0]) in used]
            keep = bool(node.names)
        else:
            keep = bool(_made(node) & used)
            used |= _names([node]) if keep else set()
        if keep:
            above.insert(0, node)
    lines = file.splitlines()
    imports = [node for node in above if isinstance(node, ast.Import | ast.ImportFrom)]
    others = _text(lines, [node for node in above if node not in imports], left_out)
    computed = textwrap.dedent(_text(lines, body, left_out)).strip("\n")
    if whole.args.args:
        computed = PICTURES + computed
    parts = ["\n".join(map(ast.unparse, imports)), others, computed]
    return "\n\n".join(part for part in parts if part)


def _leave_out(body: list[ast.stmt], lines: set[int]) -> bool:
    """Note the lines of statements that draw or make checks; whether that is all of them."""
    all_of_it = True
    for node in body:
        blocks = [getattr(node, name, []) for name in ("body", "orelse")]
        draws = isinstance(node, ast.FunctionDef) and "figure" in [a.arg for a in node.args.args]
        if (isinstance(node, ast.Return) and _names([node]) & _WORDS) or draws:
            gone = True
        elif any(blocks):
            gone = all([_leave_out(block, lines) for block in blocks])
        else:
            gone = bool(_names([node]) & _WORDS)
        if gone:
            lines |= {*range(_first(node), (node.end_lineno or 0) + 1)}
        all_of_it &= gone
    return all_of_it


def _names(nodes: Iterable[ast.AST], left_out: Collection[int] = ()) -> set[str]:
    """Those that are looked up, but for some lines."""
    found = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in found if n.lineno not in left_out}


def _made(node: ast.stmt) -> set[str]:
    """Those that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)} if targets else set()


def _first(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def _text(lines: list[str], nodes: list[ast.stmt], left_out: set[int]) -> str:
    """Statements with the comments directly above them, apart where they were."""
    found = list[str]()
    for node in nodes:
        kept = [k for k in range(_first(node), (node.end_lineno or 0) + 1) if k not in left_out]
        if kept:
            start = kept[0]
            while lines[start - 2].lstrip().startswith("#"):
                start -= 1
            gap = [""] if found and not lines[start - 2] else []
            found += gap + lines[start - 1 : kept[0] - 1] + [lines[k - 1] for k in kept]
    return "\n".join(found)
