"""The lines of an experiment that compute: a program to copy, which prints its numbers and draws nothing."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

_WORDS = {"Check", "Picture", "Result", "Table"}
_PRINT = "from xpnet.lab import report"
_BEGIN, _END = "# core", "# end of core"

PICTURES = """from xpnet.lab.cifar import pictures

data = pictures("DIR")  # where CIFAR-10 is
"""

# what changes nothing and draws nothing at random: where its value is not shown, it is left out
_PURE = {*dir(builtins), "asarray", "to_numpy"} - {"exec", "next", "print", "setattr"}
_PURE_MODULES = {"np", "math"}
_PURE_METHODS = {
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "copy",
    "index",
    "item",
    "items",
    "keys",
}
_PURE_METHODS |= {
    "max",
    "mean",
    "min",
    "numpy",
    "ravel",
    "reshape",
    "std",
    "sum",
    "tolist",
    "transpose",
    "values",
}
_FILLS = {"add", "append", "extend", "update"}  # a list, set or dict


def excerpt(run: Callable[..., Any]) -> str:
    """What `run` computes and checks, with the imports, constants and functions of its file that it uses.

    A check becomes a line that prints its number. Left out are functions that draw, those with an argument
    `figure`, and what no number needs: tables, and values to compare with.

    >>> from xpnet.lab import catalogue
    >>> print(excerpt(catalogue()["initial-loss"].run))
    from xpnet import asarray, init, nn
    from xpnet import functional as F
    from xpnet.data import load_digits
    from xpnet.lab import report
    <BLANKLINE>
    digits = load_digits()
    x = asarray(digits.x / 16)
    losses = {}
    for classes in (2, 3, 5, 10):
        model = nn.Linear(64, classes)
        model.weight.data = init.normal(model.weight.shape, std=1e-4)
        model.bias.data = init.zeros(model.bias.shape)
        losses[classes] = F.cross_entropy(model(x), asarray(digits.y % classes)).item()
    for k, loss in losses.items():
        report(f'initial loss, K = {k}', loss)
    """
    return "\n".join(line for _, line in _program(run))


def core(run: Callable[..., Any]) -> str:
    """The lines of `excerpt(run)` that are the experiment: those that its file has between two comments.

    Raises:
        ValueError: the file has no such comments, `# core` before the first line and `# end of core` after
            the last, or more than one pair.

    >>> from xpnet.lab import catalogue
    >>> print(core(catalogue()["local-minimum"].run))
    f = lambda x: 0.05 * x[0] ** 4 - 0.5 * x[0] ** 2 + 0.1 * x[0]  # minima at 2.18 and -2.28, a hill between
    paths = {
        "SGD": descend(f, [START], lambda p: optim.SGD(p, lr=RATE), 1000)[:, 0],
        "momentum": descend(f, [START], lambda p: optim.SGD(p, lr=RATE, momentum=0.99), 1800)[:, 0],
    }
    """
    found = [k for k, line in enumerate(_file(run).splitlines(), 1) if line.strip() in (_BEGIN, _END)]
    if len(found) != 2:
        raise ValueError(f"{run.__module__}: one {_BEGIN!r} and one {_END!r} are needed, not {len(found)}")
    lines = (line for number, line in _program(run) if found[0] < number < found[1])
    return textwrap.dedent("\n".join(lines)).strip("\n")


def _file(run: Callable[..., Any]) -> str:
    return inspect.getsource(inspect.getmodule(run) or run)


@cache
def _program(run: Callable[..., Any]) -> list[tuple[int, str]]:
    """The lines of the program, each with its number in the file; 0 for those that are not in it."""
    file = _file(run)
    top = ast.parse(file).body
    (whole,) = (node for node in top if isinstance(node, ast.FunctionDef) and node.name == run.__name__)
    body = whole.body[ast.get_docstring(whole) is not None :]
    program = _Program(file.splitlines())
    program.print_checks(body)
    program.keep_what_is_printed(body)
    used, above = program.names(body), list[ast.stmt]()
    for node in reversed([node for node in top if node is not whole]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [name for name in node.names if (name.asname or name.name.split(".")[0]) in used]
            keep = bool(node.names)
        else:
            keep = bool(_made(node) & used)
            if keep and isinstance(node, ast.FunctionDef):
                program.print_checks(node.body)
                if program.printed.keys() & {_first(inner) for inner in node.body}:
                    program.keep_what_is_printed(node.body)
            used |= program.names([node]) if keep else set()
        if keep:
            above.insert(0, node)
    imports = [node for node in above if isinstance(node, ast.Import | ast.ImportFrom)]
    others = program.text([node for node in above if node not in imports])
    computed = program.text(body)
    dedented = textwrap.dedent("\n".join(line for _, line in computed)).split("\n")
    computed = [(number, line) for (number, _), line in zip(computed, dedented, strict=True)]
    if whole.args.args:
        computed = [*((0, line) for line in PICTURES.splitlines()), *computed]
    head = sorted([*map(ast.unparse, imports), _PRINT], key=lambda line: (line.startswith("from"), line))
    parts = [[(0, line) for line in head], others, computed]
    return [line for part in parts if part for line in ((0, ""), *part)][1:]


class _Program:
    """Lines of a file: which are left out, and what is printed in place of some."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.left_out = {k for k, line in enumerate(lines, 1) if line.strip() in (_BEGIN, _END)}
        self.printed = dict[int, list[str]]()

    def print_checks(self, body: list[ast.stmt]) -> None:
        """Leave out statements that draw or make checks and tables, and print the checks' numbers instead."""
        for node in body:
            draws = isinstance(node, ast.FunctionDef) and "figure" in [a.arg for a in node.args.args]
            blocks = _blocks(node)
            for block in blocks:
                self.print_checks(block)
            if not blocks and (draws or _names([node]) & _WORDS):
                self._leave_out(node)
                prints = ast.unparse(ast.fix_missing_locations(ast.Module(_prints(node), [])))
                if prints:
                    self.printed[_first(node)] = [
                        " " * node.col_offset + line for line in prints.splitlines()
                    ]

    def keep_what_is_printed(self, body: list[ast.stmt]) -> None:
        """Leave out what only computes, if it is in no number that is printed."""
        statements = list(self._statements(body))
        needed = {name for node, _ in statements for name in self.names([node]) if self._is_print(node)}
        kept = set[ast.stmt]()
        grown = True
        while grown:
            grown = False
            for node, above in statements:
                if (
                    node in kept
                    or _blocks(node)
                    or (_first(node) in self.left_out and not self._is_print(node))
                ):
                    continue
                pure = all(map(_pure, (node, *above)))
                if self._is_print(node) or _made(node) & needed or not pure:
                    kept |= {node, *above}
                    needed |= self.names([node]) | _names(part for a in above for part in _header(a))
                    grown = True
        for node, _ in statements:
            if node not in kept:
                self._leave_out(node)

    def names(self, nodes: Iterable[ast.AST]) -> set[str]:
        """Those that are looked up in what is kept and printed."""
        nodes = list(nodes)
        found = {n.id for n in _looked_up(nodes) if n.lineno not in self.left_out}
        for node in (n for top in nodes for n in ast.walk(top) if isinstance(n, ast.stmt)):
            prints = textwrap.dedent("\n".join(self.printed.get(_first(node), [])))
            found |= _names([ast.parse(prints)])
        return found

    def text(self, nodes: list[ast.stmt]) -> list[tuple[int, str]]:
        """Statements with the comments directly above them, apart where they were; each after its number."""
        found = list[tuple[int, str]]()
        for node in nodes:
            rows = range(_first(node), (node.end_lineno or 0) + 1)
            kept = [k for k in rows if k not in self.left_out or k in self.printed]
            if kept:
                start = kept[0]
                while self.lines[start - 2].lstrip().startswith("#"):
                    start -= 1
                apart = not self.lines[start - 2] or (found and found[-1][1].startswith("        "))
                found += [(start, "")] if found and apart else []
                found += [(k, self.lines[k - 1]) for k in range(start, kept[0]) if k not in self.left_out]
                for k in kept:
                    found += [(k, line) for line in self.printed.get(k, [self.lines[k - 1]])]
        return found

    def _leave_out(self, node: ast.stmt) -> None:
        self.left_out |= {*range(_first(node), (node.end_lineno or 0) + 1)}

    def _is_print(self, node: ast.stmt) -> bool:
        return not _blocks(node) and _first(node) in self.printed

    def _statements(
        self, body: list[ast.stmt], above: tuple[ast.stmt, ...] = ()
    ) -> Iterator[tuple[ast.stmt, tuple[ast.stmt, ...]]]:
        """Each, after those that are in it, and with those that it is in."""
        for node in body:
            for block in _blocks(node):
                yield from self._statements(block, (*above, node))
            yield node, above


def _pure(node: ast.stmt) -> bool:
    """Whether nothing but the names that it makes tells that it ran; of one with blocks, without these."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Pass):
        return True
    if _blocks(node):
        parts = _header(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _filled(node):
        parts = [*node.value.args]
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        parts = [node]
    else:
        return False
    calls = (n.func for part in parts for n in ast.walk(part) if isinstance(n, ast.Call))
    return all(map(_pure_function, calls))


def _pure_function(of: ast.expr) -> bool:
    if isinstance(of, ast.Name):
        return of.id in _PURE
    root = _root(of)
    in_module = isinstance(root, ast.Name) and root.id in _PURE_MODULES
    return isinstance(of, ast.Attribute) and (in_module or of.attr in _PURE_METHODS)


def _prints(node: ast.AST) -> list[ast.stmt]:
    """Statements that print the numbers of the checks in one."""
    match node:
        case ast.Call(func=ast.Name(id="Check"), args=[what, ours]):
            return [ast.Expr(ast.Call(ast.Name("report"), [what, ours], []))]
        case ast.Call(func=ast.Name(id="Result"), args=[_, checks, *_]):
            return _prints(checks)
        case ast.Call(func=ast.Name(id=name)) if not _names([node]) & _WORDS and name.endswith("checks"):
            return [ast.Expr(node)]
        case ast.Call(func=ast.Attribute(attr="append" | "extend"), args=[checks]):
            return _prints(checks)
        case ast.GeneratorExp(elt, generators) | ast.ListComp(elt, generators):
            body = _prints(elt)
            for made in reversed(generators if body else []):
                for condition in reversed(made.ifs):
                    body = [ast.If(condition, body, [])]
                body = [ast.For(made.target, made.iter, body, [], lineno=0)]
            return body
        case ast.List(elts):
            return [statement for one in elts for statement in _prints(one)]
        case ast.BinOp(left, _, right):
            return _prints(left) + _prints(right)
        case ast.Starred(value) | ast.Expr(value) | ast.Return(value) if value:
            return _prints(value)
        case ast.Assign(value=value) | ast.AugAssign(value=value):
            return _prints(value)
    return []


def _blocks(node: ast.stmt) -> list[list[ast.stmt]]:
    """The statements in it, if it is no function."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return []
    handlers = [handler.body for handler in getattr(node, "handlers", [])]
    return [
        block for name in ("body", "orelse", "finalbody") if (block := getattr(node, name, []))
    ] + handlers


def _header(node: ast.stmt) -> list[ast.AST]:
    """What a statement with blocks computes for itself."""
    parts = [getattr(node, name, None) for name in ("target", "iter", "test")]
    return [part for part in parts if part is not None] + list(getattr(node, "items", []))


def _looked_up(nodes: Iterable[ast.AST]) -> Iterator[ast.Name]:
    return (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {n.id for n in _looked_up(nodes)}


def _filled(node: ast.stmt) -> str:
    """The list, set or dict that a statement adds to."""
    match node:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(id=name), attr))) if attr in _FILLS:
            return name
    return ""


def _made(node: ast.stmt) -> set[str]:
    """Those that a statement defines, or changes."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if _filled(node):
        return {_filled(node)}
    if isinstance(node, ast.For | ast.With):
        targets = [node.target] if isinstance(node, ast.For) else [i.optional_vars for i in node.items]
    else:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    # of `rows[k]` and `model.weight.data`, the first name
    return {t.id for t in (_root(n) for t in targets if t for n in _leaves(t)) if isinstance(t, ast.Name)}


def _leaves(target: ast.AST) -> Iterator[ast.AST]:
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _leaves(part)
    else:
        yield target


def _root(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node


def _first(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
