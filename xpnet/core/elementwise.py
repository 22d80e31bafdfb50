"""Functions of each element, with their derivatives: two tables, and the ops that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.core.arrays import COMPLEX, FLOAT, keep, kind
from xpnet.core.backend import Array, dtype_name
from xpnet.core.node import Pullback
from xpnet.core.op import Op, differentiable
from xpnet.core.places import device, namespace
from xpnet.core.shapes import conj, meet, unbroadcast

Result = tuple[Array, Pullback]

# name: what it is, its derivative in words, and that as a function of (namespace, x, y = f(x))
UNARY: dict[str, tuple[str, str, Callable[[Any, Array, Array], Array]]] = {
    "exp": ("e ** x", "exp(x)", lambda xp, x, y: y),
    "log": ("the natural logarithm", "1 / x", lambda xp, x, y: 1 / x),
    "sqrt": ("the square root", "1 / (2 sqrt(x))", lambda xp, x, y: 0.5 / y),
    "acos": ("the inverse cosine", "-1 / sqrt(1 - x^2)", lambda xp, x, y: -1 / xp.sqrt(1 - x * x)),
    "acosh": (
        "the inverse hyperbolic cosine",
        "1 / sqrt(x^2 - 1)",
        lambda xp, x, y: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1)),
    ),
    "asin": ("the inverse sine", "1 / sqrt(1 - x^2)", lambda xp, x, y: 1 / xp.sqrt(1 - x * x)),
    "asinh": (
        "the inverse hyperbolic sine",
        "1 / sqrt(x^2 + 1)",
        lambda xp, x, y: 1 / xp.sqrt(x * x + 1),
    ),
    "atan": ("the inverse tangent", "1 / (1 + x^2)", lambda xp, x, y: 1 / (1 + x * x)),
    "atanh": ("the inverse hyperbolic tangent", "1 / (1 - x^2)", lambda xp, x, y: 1 / (1 - x * x)),
    "cos": ("the cosine", "-sin(x)", lambda xp, x, y: -xp.sin(x)),
    "cosh": ("the hyperbolic cosine", "sinh(x)", lambda xp, x, y: xp.sinh(x)),
    "expm1": ("e ** x - 1, exact near 0", "exp(x)", lambda xp, x, y: y + 1),
    "log1p": ("log(1 + x), exact near 0", "1 / (1 + x)", lambda xp, x, y: 1 / (1 + x)),
    "log2": ("the logarithm to base 2", "1 / (x ln 2)", lambda xp, x, y: (1 / math.log(2)) / x),
    "log10": ("the logarithm to base 10", "1 / (x ln 10)", lambda xp, x, y: (1 / math.log(10)) / x),
    "sin": ("the sine", "cos(x)", lambda xp, x, y: xp.cos(x)),
    "sinh": ("the hyperbolic sine", "cosh(x)", lambda xp, x, y: xp.cosh(x)),
    "tan": ("the tangent", "1 + tan(x)^2", lambda xp, x, y: 1 + y * y),
    "tanh": ("the hyperbolic tangent", "1 - tanh(x)^2", lambda xp, x, y: 1 - y * y),
    "square": ("x * x", "2 x", lambda xp, x, y: 2 * x),
    "reciprocal": ("1 / x", "-1 / x^2", lambda xp, x, y: -y * y),
}

# name: what it is; the derivative is 0 wherever there is one
FLAT = {
    "sign": "-1, 0 or 1; of complex numbers x / |x|",
    "ceil": "x rounded up",
    "floor": "x rounded down",
    "round": "x rounded to the nearest whole number, halves to the even one",
    "trunc": "x rounded towards 0",
}

# name: what it is, its derivatives in words, and those by a and b as functions of (namespace, a, b, y)
BINARY: dict[str, tuple[str, str, Callable[..., Array], Callable[..., Array]]] = {
    "atan2": (
        "the angle of the point (b, a)",
        "b / (a^2 + b^2) and -a / (a^2 + b^2)",
        lambda xp, a, b, y: b / (a * a + b * b),
        lambda xp, a, b, y: -a / (a * a + b * b),
    ),
    "hypot": (
        "sqrt(a^2 + b^2), without overflow",
        "a / y and b / y, 0 at the origin",
        lambda xp, a, b, y: a / xp.where(y == 0, xp.ones_like(y), y),
        lambda xp, a, b, y: b / xp.where(y == 0, xp.ones_like(y), y),
    ),
    "logaddexp": (
        "log(exp(a) + exp(b)), without overflow",
        "exp(a - y) and exp(b - y)",
        lambda xp, a, b, y: xp.exp(a - y),
        lambda xp, a, b, y: xp.exp(b - y),
    ),
    "copysign": (
        "|a| with the sign of b",
        "1 where it keeps a, -1 where it turns it, 0 at a = 0; and 0",
        lambda xp, a, b, y: xp.sign(y) * xp.sign(a),
        lambda xp, a, b, y: xp.zeros_like(y),
    ),
    "remainder": (
        "a - b floor(a / b), with the sign of b",
        "1 and -floor(a / b)",
        lambda xp, a, b, y: xp.ones_like(y),
        lambda xp, a, b, y: -xp.floor(a / b),
    ),
    "nextafter": (
        "the number next to a towards b",
        "1 and 0",
        lambda xp, a, b, y: xp.ones_like(y),
        lambda xp, a, b, y: xp.zeros_like(y),
    ),
}


def numbers(op: str, x: Array, name: str = "x") -> Array:
    """x, which must hold floating-point or complex numbers.

    Raises:
        TypeError: it does not; naming op and argument.
    """
    if kind(x) not in (FLOAT, COMPLEX):
        raise TypeError(
            f"{op}: {name} is {dtype_name(x.dtype)}, expected floating-point numbers; convert it, as in "
            "xpnet.asarray(x, 'float32')"
        )
    return x


def _unary(name: str, what: str, derivative: str, factor: Callable[[Any, Array, Array], Array]) -> Op[Any]:
    def body(x: Array) -> Result:
        xp = namespace(numbers(name, x))
        y = getattr(xp, name)(x)
        if name == "log":  # 1 / x may leave float16 where dy / x does not
            return y, lambda dy: dy / conj(x)
        return y, lambda dy: dy * conj(factor(xp, x, y))

    body.__name__, body.__doc__ = name, f"{what[0].upper()}{what[1:]}; derivative {derivative}."
    return differentiable(forward="pointwise")(body)


def _turned(xp: Any, dy: Array, x: Array, y: Array) -> Array:
    """Of y = x / |x|: what of dy is along the circle, over |x|; 0 at 0."""
    size = xp.abs(x)
    along = dy - y * xp.astype(xp.real(xp.conj(y) * dy), y.dtype)
    return xp.where(
        size == 0, xp.zeros_like(y), along / xp.astype(xp.where(size == 0, xp.ones_like(size), size), y.dtype)
    )


def _flat(name: str, what: str) -> Op[Any]:
    def body(x: Array) -> Result:
        xp = namespace(x)
        y = getattr(xp, name)(x)
        if name == "sign" and kind(x) == COMPLEX:
            return y, lambda dy: _turned(xp, dy, x, y)
        return y, lambda dy: xp.zeros_like(dy)

    body.__name__, body.__doc__ = name, f"{what[0].upper()}{what[1:]}; derivative 0."
    return differentiable(forward="pointwise")(body)


def arrays_of_both(a: Any, b: Any) -> tuple[Array, Array]:
    """Two arrays, of which one may be a number."""
    xp = namespace(a, b)
    return (
        a if hasattr(a, "shape") else xp.asarray(a, dtype=b.dtype, device=device(b)),
        b if hasattr(b, "shape") else xp.asarray(b, dtype=a.dtype, device=device(a)),
    )


def _binary(name: str, what: str, derivative: str, by_a: Any, by_b: Any) -> Op[Any]:
    def body(a: Array, b: Array) -> Result:
        xp = namespace(a, b)
        p, q = arrays_of_both(*meet(a, b, name))
        y = getattr(xp, name)(p, q)
        return y, lambda dy: (
            lambda out: unbroadcast(dy * by_a(xp, p, q, y), a),
            lambda out: unbroadcast(dy * by_b(xp, p, q, y), b),
        )

    body.__name__, body.__doc__ = name, f"{what[0].upper()}{what[1:]}; derivatives {derivative}."
    return differentiable(forward="pointwise")(body)


OPS: dict[str, Op[Any]] = {
    **{name: _unary(name, *row) for name, row in UNARY.items()},
    **{name: _flat(name, what) for name, what in FLAT.items()},
    **{name: _binary(name, *row) for name, row in BINARY.items()},
}
exp, log, sqrt = OPS["exp"], OPS["log"], OPS["sqrt"]


@differentiable(forward="pointwise")
def absolute(x: Array) -> Result:
    """|x|, with derivative sign(x), 0 at 0; of complex numbers x / |x|."""
    xp = namespace(x)
    y = xp.abs(x)
    if kind(x) == COMPLEX:
        return y, lambda dy: dy * (x / xp.where(y == 0, xp.ones_like(y), y))
    return y, lambda dy: dy * xp.sign(x)


def _extremum(name: str, better: str) -> Op[Any]:
    def body(a: Array, b: Array) -> Result:
        a, b = meet(a, b, name)
        xp = namespace(a, b)
        a, b = arrays_of_both(a, b)

        def half(dy: Array, mine: Array, other: Array) -> Array:
            behind = mine < other if name == "maximum" else mine > other
            tie = mine == other
            return unbroadcast(keep(dy, ~(behind | tie)) + 0.5 * keep(dy, tie), mine)  # NaN has the whole

        return getattr(xp, name)(a, b), lambda dy: (lambda out: half(dy, a, b), lambda out: half(dy, b, a))

    body.__name__ = name
    body.__doc__ = f"The {better} of a and b, elementwise; on a tie each gets half of the gradient."
    return differentiable(forward="pointwise")(body)


maximum = _extremum("maximum", "larger")
minimum = _extremum("minimum", "smaller")


@differentiable(forward="pointwise")
def clip(x: Array, min: Any = None, max: Any = None) -> Result:
    """x between `min` and `max`, arrays or numbers; `max` wins. Whichever is the result has the gradient."""
    xp = namespace(x)
    y, own, low, high = x + 0, None, None, None
    if min is not None:
        low = (y < min) | (min != min)  # a bound that is NaN is the result
        y, own = xp.where(low, _fitting(min, x), y), ~low
    if max is not None:
        high = (y > max) | (max != max)
        y, own = xp.where(high, _fitting(max, x), y), ~high if own is None else own & ~high
    low = low if low is None or high is None else low & ~high

    def part(dy: Array, mask: Array, like: Any) -> Array | None:
        if not hasattr(like, "shape"):
            return None
        return unbroadcast(dy + 0 if mask is None else keep(dy, mask), like)

    return y, lambda dy: (
        lambda out: part(dy, own, x),
        lambda out: part(dy, low, min),
        lambda out: part(dy, high, max),
    )


def _fitting(limit: Any, x: Array) -> Array:
    return namespace(x).astype(arrays_of_both(limit, x)[0], x.dtype, copy=False)


@differentiable(forward="pointwise")
def where(condition: Array, a: Any, b: Any) -> Result:
    """a where the condition holds, else b; each has the gradient where it was taken."""
    xp = namespace(condition, a, b)
    p, q = arrays_of_both(*meet(a, b, "where"))
    return xp.where(condition, p, q), lambda dy: (
        None,
        lambda out: unbroadcast(keep(dy, condition), a),
        lambda out: unbroadcast(keep(dy, ~condition), b),
    )


@differentiable(forward="linear")
def conjugate(x: Array) -> Result:
    """The complex conjugate; of its gradient, too."""
    xp = namespace(x)
    return xp.conj(x), lambda dy: xp.conj(dy)


@differentiable(forward="linear")
def real(x: Array) -> Result:
    """The real part."""
    xp = namespace(x)
    return xp.real(x), lambda dy: xp.astype(dy, x.dtype)


@differentiable(forward="linear")
def imag(x: Array) -> Result:
    """The imaginary part; dy becomes i dy."""
    xp = namespace(x)
    return xp.imag(x), lambda dy: xp.astype(dy, x.dtype) * 1j
