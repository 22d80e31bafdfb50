"""Special functions that SciPy looks for in a namespace: with these, `scipy.special` differentiates them.

Others of `scipy.special` compute the values of a Tensor on the host, which have no gradient.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from xpnet.array_api.elementwise import FUNCTIONS as elementwise
from xpnet.array_api.elementwise import promoted
from xpnet.array_api.searching import where
from xpnet.core.methods import Methods
from xpnet.core.places import tensor_namespace
from xpnet.core.structure import erf

_log, _exp, _abs = elementwise["log"], elementwise["exp"], elementwise["abs"]


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Methods) else tensor_namespace().asarray(x)


def xlogy(x: Any, y: Any) -> Any:
    """x log y, 0 where x is 0."""
    x, y = promoted(_tensor(x), _tensor(y))
    nothing = x == 0
    return where(nothing, 0.0, x * _log(where(nothing, 1.0, y)))


def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y), 0 where x is 0."""
    x, y = promoted(_tensor(x), _tensor(y))
    nothing = x == 0
    return where(nothing, 0.0, x * elementwise["log1p"](where(nothing, 0.0, y)))


def entr(x: Any) -> Any:
    """-x log x, 0 at 0, minus infinity below."""
    x = _tensor(x)
    inside = where(x > 0, x, 1.0)
    return where(x < 0, -math.inf, -inside * _log(inside) + 0 * x)


def expit(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    x = _tensor(x)
    small = _exp(-_abs(x))
    return where(x >= 0, 1 / (1 + small), small / (1 + small))


def log_expit(x: Any) -> Any:
    """log(1 / (1 + exp(-x)))."""
    x = _tensor(x)
    return elementwise["minimum"](x, x * 0) - elementwise["log1p"](_exp(-_abs(x)))


def logit(x: Any) -> Any:
    """log(x / (1 - x))."""
    x = _tensor(x)
    return _log(x) - elementwise["log1p"](-x)


def ndtr(x: Any) -> Any:
    """The normal distribution function, (1 + erf(x / sqrt 2)) / 2."""
    return 0.5 * (1 + erf(_tensor(x) * math.sqrt(0.5)))


special = SimpleNamespace(
    entr=entr, erf=lambda x: erf(_tensor(x)), expit=expit, log_expit=log_expit, logit=logit, ndtr=ndtr,
    xlog1py=xlog1py, xlogy=xlogy,
)  # fmt: skip
