"""What a model does with an input: shapes, parameters, operations, memory by module, and who feeds whom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from numbers import Integral, Number
from os import PathLike
from typing import Any

import numpy as np

from xpnet import nn
from xpnet.core.backend import dtype_name
from xpnet.core.convert import asarray
from xpnet.core.html import table
from xpnet.core.op import recording
from xpnet.core.tensor import Tensor, array_of
from xpnet.diagnostics.drawing import draw
from xpnet.io.writing import atomic_write
from xpnet.nn.inference import keeping_modes
from xpnet.nn.language import LanguageModel
from xpnet.nn.module import Module

Shape = tuple[int, ...]
_COUNTERS: dict[type, Callable[[Any, list[Shape], Shape], int]] = {}


def _counts(*kinds: type) -> Callable[[Any], Any]:
    """Say how many operations layers of these classes need, by the shapes of their arguments and output."""

    def register(counter: Any) -> Any:
        _COUNTERS.update(dict.fromkeys(kinds, counter))
        return counter

    return register


@_counts(nn.Linear, nn.Maxout)
def _linear(layer: Any, given: list[Shape], y: Shape) -> int:
    return 2 * math.prod(given[0][:-1]) * math.prod(layer.weight.shape)


@_counts(nn.Bilinear)
def _bilinear(layer: Any, given: list[Shape], y: Shape) -> int:
    """x1^T W for each output, and its products with x2."""
    return 2 * math.prod(y) * (layer.in1_features + 1) * layer.in2_features


@_counts(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _convolution(layer: Any, given: list[Shape], y: Shape) -> int:
    return 2 * math.prod(y) * math.prod(layer.weight.shape[1:])


@_counts(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _transposed(layer: Any, given: list[Shape], y: Shape) -> int:
    return 2 * math.prod(given[0]) * math.prod(layer.weight.shape[1:])


@_counts(nn.MultiheadAttention)
def _attention(layer: Any, given: list[Shape], y: Shape) -> int:
    """Three maps, scores and sums; the last map is a layer of its own."""
    queries, keys = (math.prod(shape[:-1]) for shape in given[:2])
    length = given[1][-2] if layer.batch_first or len(given[1]) == 2 else given[1][0]
    length += layer.add_bias_kv + layer.add_zero_attn
    e = layer.embed_dim
    return 2 * e * (queries * e + keys * (layer.kdim + layer.vdim) + 2 * queries * length)


@_counts(nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell)
def _recurrent(layer: Any, given: list[Shape], y: Shape) -> int:
    products = sum(math.prod(p.shape) for p in layer.parameters() if p.ndim == 2)
    return 2 * math.prod(given[0][:-1]) * products


@_counts(nn.GPT)
def _scores(layer: Any, given: list[Shape], y: Shape) -> int:
    return 2 * math.prod(y) * layer.width


@dataclass
class Row:
    """A module, in the order in which they were called.

    Attributes:
        name: its path in the model, "" for the model.
        kind: its class.
        input: the shape of its first input.
        output: of its output, the first if there are several.
        parameters: of its own, not of modules inside that were called; in its first row.
        trainable: how many of them are trained.
        operations: multiplications and additions of its own products: layers of few operations count 0.
        bytes: of its output.
        feeds: the rows whose output it was given, directly or by functions; -1 is the input.
        leaf: whether no module inside was called.
    """

    name: str
    kind: str
    input: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    parameters: int = 0
    trainable: int = 0
    operations: int = 0
    bytes: int = 0
    feeds: list[int] = field(default_factory=list)
    leaf: bool = True

    @property
    def depth(self) -> int:
        """How deep in the tree."""
        return self.name.count(".") + 1 if self.name else 0


@dataclass
class Summary:
    """What `summary` found; printed, it is a table.

    Attributes:
        rows: the modules that were called, each call once, outer ones before those inside.
        parameters: of the model.
        trainable: how many of them are trained.
        operations: multiplications and additions of all products of one forward pass.
        bytes: of the outputs of all leaves, which training keeps, about.
        parameter_bytes: of the parameters.
    """

    title: str
    rows: list[Row]
    parameters: int
    trainable: int
    operations: int
    bytes: int
    parameter_bytes: int

    def _cells(self) -> list[list[str]]:
        return [
            [
                f"{'  ' * row.depth}{row.name.rpartition('.')[2] or self.title}",
                row.kind,
                _shape(row.input),
                _shape(row.output),
                str(row.parameters or ""),
                _many(row.operations).strip() if row.operations else "",
            ]
            for row in self.rows
        ]

    def _ends(self) -> list[str]:
        frozen = self.parameters - self.trainable
        return [
            f"{self.parameters} parameters" + (f", {frozen} of them frozen" if frozen else ""),
            f"{_many(self.operations).strip()} operations forward",
            f"{_many(self.parameter_bytes)}bytes of parameters, {_many(self.bytes)}bytes of outputs",
        ]

    def __str__(self) -> str:
        head = ["layer", "kind", "input", "output", "parameters", "operations"]
        lines = [head, *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        pads = [str.ljust] * 4 + [str.rjust] * 2
        text = [
            "  ".join(p(c, w) for p, c, w in zip(pads, line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([*text, "", *self._ends()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        head = ["layer", "kind", "input", "output", "parameters", "operations"]
        return table(head, self._cells(), ", ".join(self._ends()))

    def svg(self) -> str:
        """A drawing of the leaves and of who feeds whom, as an <svg> element."""
        return draw(self.rows, self.title)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the drawing as an SVG file.

        Raises:
            OSError: the file cannot be written.
        """
        with atomic_write(path) as file:
            file.write(self.svg().encode())


def summary(model: Module, input: Any = None, *inputs: Any) -> Summary:
    """Run a model once, and say what each of its modules is given, gives, has and does.

    Args:
        model: a Module on any backend.
        input: an array, or the shape of one with its axis of samples, a tuple or list of whole numbers:
            random numbers then, or for a model that begins with an Embedding, 0.
        *inputs: further arguments of the model, arrays or shapes likewise, or whatever else it takes.

    Returns:
        A table when it is printed; `svg()` draws the network, `save("net.svg")` writes the drawing.

    Raises:
        TypeError: the model is no Module, there is no input, or one is a tuple of shapes.
        ValueError: a shape with a negative size.

    Statistics, random streams and modes are as they were afterwards.

    >>> from xpnet import nn
    >>> from xpnet.diagnostics import summary
    >>> print(summary(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (1, 4)))
    layer       kind        input   output  parameters  operations
    Sequential  Sequential  (1, 4)  (1, 2)
      0         Linear      (1, 4)  (1, 8)          40          64
      1         ReLU        (1, 8)  (1, 8)
      2         Linear      (1, 8)  (1, 2)          18          32
    <BLANKLINE>
    58 parameters
    96 operations forward
    232 bytes of parameters, 72 bytes of outputs
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a Module, got {type(model).__name__}")
    if input is None:
        raise TypeError("summary: expected an input, or its shape, such as (1, 3, 32, 32)")
    tracer = _Tracer(model, tuple(_example(model, given, i) for i, given in enumerate((input, *inputs))))
    with keeping_modes(model), recording():
        model.eval()
        tracer.run()
    members = model.parameters()
    return Summary(
        type(model).__name__,
        tracer.rows,
        sum(p.size for p in members),
        sum(p.size for p in members if p.requires_grad),
        sum(row.operations for row in tracer.rows),
        sum(row.bytes for row in tracer.rows if row.leaf),
        sum(p.size * _item_size(p) for p in members),
    )


class _Tracer:
    """Hooks around every module while it runs once."""

    def __init__(self, model: Module, inputs: tuple[Any, ...]) -> None:
        self.model, self.rows = model, list[Row]()
        self.inputs = tuple(Tensor(array_of(x), _is_float(x)) if hasattr(x, "dtype") else x for x in inputs)
        self._of: dict[int, int] = {id(x): -1 for x in self.inputs}  # the row that gave a Tensor
        self._kept: list[Any] = list(self.inputs)  # an id is that of a Tensor that lives

    def run(self) -> None:
        """Call the model, with `forward` of each module replaced by one that notes the call."""
        modules = self.model.named_modules()
        for name, module in modules:
            module.__dict__["forward"] = self._noting(name, module, module.forward)
        try:
            self.model(*self.inputs)
        finally:
            for _, module in modules:
                module.__dict__.pop("forward", None)
        self._count(dict(modules))

    def _count(self, modules: dict[str, Module]) -> None:
        """Parameters; those of a module that was not called are of the one that it is in."""
        first: dict[str, Row] = {}
        for row in self.rows:
            first.setdefault(row.name, row)
        for name, module in modules.items():
            while name not in first:
                name = name.rpartition(".")[0]
            for _, p in module.named_parameters(recurse=False):
                first[name].parameters += p.size
                first[name].trainable += p.size if p.requires_grad else 0

    def _noting(self, name: str, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            row = Row(name, type(module).__name__)
            place = len(self.rows)
            self.rows.append(row)
            given = [a for a in args if isinstance(a, Tensor)] or [a for a in args if hasattr(a, "shape")]
            row.feeds = sorted({source for a in given for source in self._sources(a)})
            output = forward(*args, **kwargs)
            row.leaf = len(self.rows) == place + 1
            shown = _first(output)
            row.input = tuple(given[0].shape) if given else ()
            row.output = tuple(getattr(shown, "shape", ()))
            counter = _COUNTERS.get(type(module))
            if counter is not None:
                arguments = signature(forward).bind(*args, **kwargs).arguments.values()
                shapes = [tuple(a.shape) for a in arguments if hasattr(a, "shape")]
                row.operations = counter(module, shapes, row.output)
            if hasattr(shown, "dtype"):
                row.bytes = math.prod(row.output) * _item_size(shown)
            if row.leaf:
                for part in _tensors(output):
                    self._of.setdefault(id(part), place)
                    self._kept.append(part)
            return output

        return call

    def _sources(self, x: Any) -> set[int]:
        """The rows whose outputs x is made of, through functions alone."""
        found: set[int] = set()
        seen: set[int] = set()
        waiting = [x]
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            source = self._of.get(id(node))
            if source is not None:
                found.add(source)
                continue
            waiting += [parent for _, parent in getattr(node, "_parents", ())]
        return found


def _example(model: Module, given: Any, place: int) -> Any:
    """An array of a shape; anything else as it is, also a tuple of arrays."""
    if not isinstance(given, tuple | list):
        return given
    if not all(isinstance(n, Integral) for n in given):
        if any(isinstance(part, tuple | list | Number) for part in given):
            raise TypeError(
                f"summary: input {place} is {given!r}, expected an array, or a shape of whole numbers; "
                "several inputs are several arguments, as in summary(model, (2, 3), (2, 4))"
            )
        return given
    if any(n < 0 for n in given):
        raise ValueError(f"summary: input {place} is the shape {given!r}, whose sizes must not be negative")
    first = next((m for m in model.modules() if isinstance(m, nn.Embedding) or not m.children()), model)
    whole = isinstance(first, nn.Embedding) or isinstance(model, LanguageModel)
    if whole:
        return asarray(np.zeros(given, np.int64))
    return asarray(np.random.default_rng(place).normal(size=given), model._float())


def _first(output: Any) -> Any:
    while isinstance(output, tuple | list | dict) and output:
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def _tensors(output: Any) -> list[Any]:
    if isinstance(output, dict):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return [leaf for part in output for leaf in _tensors(part)]
    return [output] if isinstance(output, Tensor) else []


def _is_float(x: Any) -> bool:
    return "float" in str(x.dtype)


def _item_size(x: Any) -> int:
    name = dtype_name(x.dtype)
    return 2 if name == "bfloat16" else np.dtype(name).itemsize


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})" if shape else ""


def _many(n: int) -> str:
    """A number with a prefix: 1.23 M."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if n >= 10**power:
            return f"{n / 10**power:.3g} {prefix}"
    return f"{n} "
