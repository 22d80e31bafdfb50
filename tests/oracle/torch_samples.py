"""PyTorch's own sample inputs, run on both libraries: how a call is translated, compared and counted.

A row of a table names our function and PyTorch's parameters in order, as `theirs:ours=default`. An argument
at its default is dropped; one that our signature has under neither name makes the sample inapplicable, with
the reason "no <name>", which the tests count: the limits in the tables may only fall.
"""

import ast
import inspect
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet.core.renamed import INPUT  # noqa: E402

MOST_SHOWN = 5
DTYPES = ["float64", "float32", "float16"]
TOLERANCE = {"float64": 1e-9, "float32": 5e-5, "float16": 4e-3}


class Inapplicable(Exception):
    """The sample uses an option that we do not have."""


class Row:
    """One function or layer of ours and the parameters of PyTorch's."""

    def __init__(self, ours, parameters, lacks=None, preset=None):
        self.ours = ours
        self.lacks = lacks or {}  # reason: whether a call with these arguments by name needs a missing option
        self.preset = preset or {}  # PyTorch's default where ours is another one
        self.parameters = []
        for word in parameters.split():
            name, _, default = word.partition("=")
            theirs, _, our_name = name.partition(":")
            self.parameters.append(
                (theirs, our_name or theirs, ast.literal_eval(default) if default else ...)
            )
        signature = inspect.signature(ours.__init__ if inspect.isclass(ours) else ours).parameters
        self.known = set(signature)
        if hasattr(ours, "__wrapped__") and next(iter(signature)) in INPUT:
            self.known.add("input")

    def named(self, args, kwargs):
        """The arguments by PyTorch's names, without those at their defaults."""
        if len(args) > len(self.parameters):
            raise Inapplicable("more arguments")
        named = {p[0]: a for p, a in zip(self.parameters, args, strict=False)} | kwargs
        defaults = {theirs: default for theirs, _, default in self.parameters}
        return {k: v for k, v in named.items() if not same(v, defaults.get(k, ...))}

    def call(self, named, ours, function=None):
        """Our function (or `function`) of `ours`: the arguments `named` by PyTorch's names, converted.

        Raises:
            Inapplicable: there is no such parameter, or the call fails for a reason that `lacks` states.
        """
        names = {theirs: ours_name for theirs, ours_name, _ in self.parameters}
        arguments = {}
        for theirs, value in (self.preset | ours).items():
            name = next((n for n in (theirs, names.get(theirs)) if n in self.known), None)
            if name is None:
                raise Inapplicable(f"no {theirs}")
            arguments[name] = value
        try:
            return (function or self.ours)(**arguments)
        except Exception as error:
            reason = next((reason for reason, missing in self.lacks.items() if missing(named)), None)
            if reason is None:
                raise
            raise Inapplicable(reason) from error


def same(value, default):
    return type(value) is type(default) and value == default


def ours_of(value):
    """PyTorch's arguments as ours: Tensors where a gradient is wanted, else arrays."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy().copy()
        return xpnet.tensor(array, requires_grad=True) if value.requires_grad else array
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, tuple | list):
        return type(value)(ours_of(v) for v in value)
    return {k: ours_of(v) for k, v in value.items()} if isinstance(value, dict) else value


def wide(value):
    """Copies of PyTorch's arguments in float64: the reference is free of the rounding that we look at."""
    if isinstance(value, torch.Tensor):
        kind = torch.float64 if value.is_floating_point() else value.dtype
        return value.detach().to(kind, copy=True).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    if isinstance(value, tuple | list):
        return type(value)(wide(v) for v in value)
    return {k: wide(v) for k, v in value.items()} if isinstance(value, dict) else value


def leaves(value):
    """Every array or Tensor in nested arguments."""
    if isinstance(value, tuple | list):
        return [leaf for v in value for leaf in leaves(v)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    return [value] if hasattr(value, "shape") else []


def close(what, found, expected, dtype):
    """Equal to within the rounding of `dtype`; NaN and infinity in the same places."""
    found, expected = np.asarray(xpnet.to_numpy(found)), expected.detach().numpy()
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    if expected.dtype.kind == "f":
        assert found.dtype == dtype, f"{what}: dtype {found.dtype}, expected {dtype}"
        with np.errstate(over="ignore"):
            expected = expected.astype(dtype)
    finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
    scale = max(1.0, finite.max(initial=0)) if finite.size else 1.0
    np.testing.assert_allclose(
        found.astype(np.float64),
        expected.astype(np.float64),
        rtol=TOLERANCE[dtype],
        atol=TOLERANCE[dtype] * min(scale, 1e4),
        err_msg=what,
    )


def backward_of_both(y, z, ours, theirs, dtype, result=None):
    """Compare values, then the gradients of all leaves with respect to one uneven direction.

    `result`: the dtype of the values, if that is another than `dtype`, of the arguments.
    """
    result = result or dtype
    close("value", y, z, result)
    if z.requires_grad:
        assert isinstance(y, xpnet.Tensor), "no gradient is recorded"
        direction = np.cos(1.0 + np.arange(z.numel())).reshape(tuple(z.shape)).astype(result)
        y.backward(xpnet.asarray(direction))
        z.backward(torch.tensor(direction.astype(str(z.dtype).removeprefix("torch."))))
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not b.requires_grad:
            if b.is_floating_point():
                close(f"argument {i} after the call", a, b, dtype)
            continue
        expected = torch.zeros_like(b) if b.grad is None else b.grad
        close(f"gradient {i}", np.zeros(a.shape, a.dtype) if a.grad is None else a.grad, expected, dtype)


class Ledger:
    """Samples of one op: how many are equal; how many not, by reason; and those that differ without one."""

    def __init__(self):
        self.equal, self.reasons, self.different = 0, Counter(), []

    def judge(self, description, check, differs=None):
        """Run one sample; `differs`: the reason why it is known to differ, if it does."""
        try:
            check()
        except Inapplicable as reason:
            self.reasons[str(reason)] += 1
        except Exception as error:
            if differs:
                self.reasons[differs] += 1
            else:
                line = " ".join(str(error).split())[:300]
                self.different.append(f"{description}: {type(error).__name__}: {line}")
        else:
            self.equal += 1

    def verdict(self, most=0, *reasons):
        """Fail on a difference, on a reason not among `reasons`, and on more than `most` samples with one."""
        shown = "\n".join(self.different[:MOST_SHOWN])
        assert not self.different, f"{len(self.different)} samples differ, {self.equal} are equal:\n{shown}"
        assert set(self.reasons) <= set(reasons), f"not stated: {set(self.reasons) - set(reasons)}"
        assert self.reasons.total() <= most, f"{self.reasons.total()} samples, stated {most}: {self.reasons}"
        assert self.equal or reasons, "no sample was compared"


def described(value):
    """An argument in few words."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(described, value))})"
    if isinstance(value, dict):
        return ", ".join(f"{k}={described(v)}" for k, v in value.items())
    return repr(value)
