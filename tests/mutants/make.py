"""Every small mistake that can be made in a file: an operator, a number, a condition, a line left out.

What is said to people (messages, docstrings, annotations, `repr`) is left alone: no test pins every word.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

COMPARISONS: dict[type, str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
OPERATORS: dict[type, str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.LShift: ">>", ast.RShift: "<<", ast.BitAnd: "|", ast.BitOr: "&", ast.BitXor: "&", ast.MatMult: "*",
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
SILENT = {"extra_repr", "__repr__", "__str__"}


@dataclass(frozen=True, order=True)
class Mutant:
    """A piece of a file, and what stands there instead.

    Attributes:
        path: of the file.
        line: where the piece begins, from 1.
        start: its first character in the file.
        stop: the character after it.
        new: the other text.
        what: both, in short.
        text: of the whole file, as it was when the mutant was made.
    """

    path: str
    line: int
    start: int
    stop: int
    new: str
    what: str
    text: str = field(repr=False, compare=False)

    def source(self) -> str:
        """The file with the mistake in it."""
        return self.text[: self.start] + self.new + self.text[self.stop :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def mutants(path: str) -> list[Mutant]:
    """All of a file, in its order."""
    text = Path(path).read_text(encoding="utf-8")
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = text.splitlines(keepends=True)

    def place(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    found = []
    for node, new in _changes(ast.parse(text), text):
        start, stop = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
        old = " ".join(text[start:stop].split())
        short = " ".join(new.split())
        what = f"{old} -> {short}" if short != "pass" else f"without {old}"
        found.append(Mutant(path, node.lineno, start, stop, new, what[:160], text))
    return sorted(set(found))


def _changes(tree: ast.AST, text: str) -> Iterator[tuple[ast.AST, str]]:
    segment = lambda node: ast.get_source_segment(text, node) or ""
    for node in _walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            other = COMPARISONS[type(node.ops[0])]
            yield node, f"({segment(node.left)} {other} {segment(node.comparators[0])})"
        elif isinstance(node, ast.BinOp) and not _is_type(node):
            left, right = (f"({segment(side)})" for side in (node.left, node.right))
            yield node, f"({left} {OPERATORS[type(node.op)]} {right})"
        elif isinstance(node, ast.AugAssign):
            yield node, f"{segment(node.target)} = {segment(node.value)}"
            yield node, "pass"
        elif isinstance(node, ast.BoolOp):
            word = "or" if isinstance(node.op, ast.And) else "and"
            yield node, "(" + f" {word} ".join(f"({segment(v)})" for v in node.values) + ")"
            for left_out in node.values if len(node.values) == 2 else ():
                (kept,) = (v for v in node.values if v is not left_out)
                yield node, f"({segment(kept)})"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, f"({segment(node.operand)})"
        elif isinstance(node, ast.IfExp):
            yield node, f"({segment(node.body)} if not ({segment(node.test)}) else {segment(node.orelse)})"
        elif isinstance(node, ast.If | ast.While):
            yield node.test, f"not ({segment(node.test)})"
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, bool):
                yield node, str(not node.value)
            elif isinstance(node.value, int):
                yield node, str(node.value + 1)
            elif isinstance(node.value, float):
                yield node, repr(node.value * 2 + 1)
        elif isinstance(node, ast.Call):
            yield from _of_call(node, segment)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            if node.slice.lower is not None and node.slice.upper is None and node.slice.step is None:
                yield node, segment(node.value)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield):
            if isinstance(node.value, ast.Call):
                yield node, "pass"
        elif isinstance(node, ast.Raise | ast.Continue | ast.Break) or (
            isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
        ):
            yield node, "pass"


def _of_call(node: ast.Call, segment: object) -> Iterator[tuple[ast.AST, str]]:
    text = lambda part: segment(part)  # type: ignore[operator]
    if isinstance(node.func, ast.Name) and node.func.id in NAMES:
        yield node.func, NAMES[node.func.id]
    plain = [a for a in node.args if not isinstance(a, ast.Starred)]
    keywords = [f"{k.arg}={text(k.value)}" if k.arg else f"**{text(k.value)}" for k in node.keywords]
    whole = lambda args, named: f"{text(node.func)}({', '.join([*args, *named])})"
    if len(plain) == len(node.args) >= 2 and text(node.args[0]) != text(node.args[1]):
        swapped = [text(node.args[1]), text(node.args[0]), *map(text, node.args[2:])]
        yield node, whole(swapped, keywords)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "stacklevel", "strict"):
            yield node, whole(map(text, node.args), keywords[:i] + keywords[i + 1 :])


def _is_type(node: ast.BinOp) -> bool:
    """`int | str`, as in isinstance."""
    sides = (node.left, node.right)
    names = [s.id for s in sides if isinstance(s, ast.Name)] + [
        s.attr for s in sides if isinstance(s, ast.Attribute)
    ]
    builtins = {"int", "str", "float", "bool", "list", "tuple", "dict", "type", "bytes", "None"}
    return isinstance(node.op, ast.BitOr) and any(n in builtins or n[:1].isupper() for n in names)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes whose change matters."""
    if isinstance(node, ast.FunctionDef) and (
        node.name in SILENT or any(ast.unparse(d) == "overload" for d in node.decorator_list)
    ):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.JoinedStr):
        return
    yield node
    if isinstance(node, ast.Raise):  # its words are left alone
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("warnings.warn", "log.warning", "log.debug"):
        return
    if isinstance(node, ast.keyword) and node.arg in ("strict", "stacklevel", "skip_file_prefixes"):
        return  # a check of ours, a place in a message
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child)
