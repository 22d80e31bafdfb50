"""Elementwise functions; the derivatives are in the tables of `xpnet.core.elementwise`."""

from __future__ import annotations

from typing import Any

from xpnet.array_api.function import Function, constant, derived
from xpnet.array_api.values import backend_for, on, standard
from xpnet.core import elementwise as ops
from xpnet.core import operators
from xpnet.core.arrays import COMPLEX, kind
from xpnet.core.structure import erf as _erf

CHAPTER = "elementwise"


def promoted(*args: Any) -> list[Any]:
    """The arguments in the dtype that the standard promotes them to; numbers stay."""
    arrays = [a for a in args if hasattr(a, "dtype")]
    backend = backend_for(arrays)
    dtypes = [on(backend, a.dtype) for a in arrays]
    wanted = standard(backend).result_type(*dtypes)
    return [
        operators.astype(a, wanted) if hasattr(a, "dtype") and on(backend, a.dtype) != wanted else a
        for a in args
    ]


def _unary(name: str, what: str, derivative: str) -> Function:
    op = ops.OPS[name]

    @derived(name, CHAPTER, f"{what[0].upper()}{what[1:]}, of each element.", derivative)
    def function(x: Any, /) -> Any:
        return op(x)

    return function


def _binary(name: str, op: Any, what: str, derivative: str) -> Function:
    @derived(name, CHAPTER, f"{what[0].upper()}{what[1:]}, element by element.", derivative)
    def function(x1: Any, x2: Any, /) -> Any:
        return op(*promoted(x1, x2))

    return function


FUNCTIONS: dict[str, Function] = {
    **{name: _unary(name, what, words) for name, (what, words, _) in ops.UNARY.items()},
    **{name: _unary(name, what, "0") for name, what in ops.FLAT.items()},
    **{name: _binary(name, ops.OPS[name], row[0], row[1]) for name, row in ops.BINARY.items()},
    "add": _binary("add", operators.add, "the sum", "1 and 1"),
    "subtract": _binary("subtract", operators.subtract, "the difference x1 - x2", "1 and -1"),
    "multiply": _binary("multiply", operators.multiply, "the product", "x2 and x1"),
    "divide": _binary("divide", operators.divide, "the quotient x1 / x2", "1 / x2 and -x1 / x2^2"),
    "pow": _binary("pow", operators.power, "x1 ** x2", "x2 x1^(x2 - 1) and x1^x2 log x1"),
    "floor_divide": _binary(
        "floor_divide", lambda a, b: operators.divide_rounded(a, b, "floor"), "x1 / x2 rounded down", "0"
    ),
    "maximum": _binary("maximum", ops.maximum, "the larger one", "1 for the larger one, 1/2 on a tie"),
    "minimum": _binary("minimum", ops.minimum, "the smaller one", "1 for the smaller one, 1/2 on a tie"),
}


@derived("abs", CHAPTER, "The absolute value of each element.", "sign(x), 0 at 0")
def abs(x: Any, /) -> Any:
    """|x|."""
    return ops.absolute(x)


@derived("negative", CHAPTER, "-x.", "-1")
def negative(x: Any, /) -> Any:
    """-x."""
    return operators.negative(x)


@derived("positive", CHAPTER, "x, a copy.", "1")
def positive(x: Any, /) -> Any:
    """+x."""
    return operators.clone(x)


@derived(
    "clip", CHAPTER, "x between `min` and `max`.", "1 inside; a bound has the gradient where it is the result"
)
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Clip."""
    return ops.clip(x, min, max)


@derived("conj", CHAPTER, "The complex conjugate of each element.", "the conjugate of dy")
def conj(x: Any, /) -> Any:
    """Conjugate."""
    return ops.conjugate(x) if kind(x) == COMPLEX else operators.clone(x)


@derived("real", CHAPTER, "The real part of each element.", "dy, as a complex number")
def real(x: Any, /) -> Any:
    """Real part."""
    return ops.real(x) if kind(x) == COMPLEX else operators.clone(x)


@derived("imag", CHAPTER, "The imaginary part of each element.", "i dy")
def imag(x: Any, /) -> Any:
    """Imaginary part."""
    return ops.imag(x)


def erf(x: Any, /) -> Any:
    """The error function of each element; not in the standard.

    Derivative: 2 / sqrt(pi) exp(-x^2).
    """
    return _erf(x)


CONSTANTS = {
    "bitwise_and": "The bits that both have.",
    "bitwise_left_shift": "The bits moved up.",
    "bitwise_invert": "The bits turned round.",
    "bitwise_or": "The bits that either has.",
    "bitwise_right_shift": "The bits moved down.",
    "bitwise_xor": "The bits that one of both has.",
    "equal": "Whether x1 == x2.",
    "greater": "Whether x1 > x2.",
    "greater_equal": "Whether x1 >= x2.",
    "isfinite": "Whether x is neither infinite nor NaN.",
    "isinf": "Whether x is infinite.",
    "isnan": "Whether x is NaN.",
    "less": "Whether x1 < x2.",
    "less_equal": "Whether x1 <= x2.",
    "logical_and": "Whether both hold.",
    "logical_not": "Whether x does not hold.",
    "logical_or": "Whether one of both holds.",
    "logical_xor": "Whether exactly one of both holds.",
    "not_equal": "Whether x1 != x2.",
    "signbit": "Whether the sign is negative, also that of -0.",
}
ALONE = ("bitwise_invert", "isfinite", "isinf", "isnan", "logical_not", "signbit")
FUNCTIONS |= {
    name: constant(name, CHAPTER, text, "x, /" if name in ALONE else "x1, x2, /")
    for name, text in CONSTANTS.items()
}
FUNCTIONS |= {f.__name__: f for f in (abs, negative, positive, clip, conj, real, imag, erf)}
