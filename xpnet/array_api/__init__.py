"""The Array API standard, 2024.12, differentiable: the namespace of Tensors.

Every function takes and gives Tensors on any backend, computes what the backend's own function does, and
where a gradient is recorded or a tangent carried along, also its derivative, to any order. So code that is
written against the standard, of others, too, can be differentiated as it is.

>>> import xpnet
>>> x = xpnet.tensor([1.0, 2.0], requires_grad=True)
>>> xp = x.__array_namespace__()
>>> xp.sum(xp.sin(x) ** 2).backward()
>>> x.grad.tolist()  # sin(2 x)
[0.909..., -0.756...]
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from xpnet.array_api import (
    creation,
    documentation,
    elementwise,
    info,
    manipulation,
    networks,
    searching,
    statistical,
)
from xpnet.array_api import fft as _fft
from xpnet.array_api import (
    linalg as _linalg,
)
from xpnet.array_api.special import special as _special
from xpnet.array_api.values import standard
from xpnet.core.backend import get_backend

__array_api_version__ = "2024.12"
e, inf, nan, newaxis, pi = math.e, math.inf, math.nan, None, math.pi

CHAPTERS = (
    creation.FUNCTIONS,
    elementwise.FUNCTIONS,
    statistical.FUNCTIONS,
    manipulation.FUNCTIONS,
    searching.FUNCTIONS,
    _linalg.MAIN,
    networks.FUNCTIONS,
)
FUNCTIONS: dict[str, Any] = {name: f for chapter in CHAPTERS for name, f in chapter.items()}
globals().update(FUNCTIONS)
linalg = SimpleNamespace(**_linalg.EXTENSION)
fft = SimpleNamespace(**_fft.FUNCTIONS)
for _key, _function in (
    *FUNCTIONS.items(),
    *((f"linalg.{name}", f) for name, f in _linalg.EXTENSION.items()),
    *((f"fft.{name}", f) for name, f in _fft.FUNCTIONS.items()),
):
    if _key in documentation.EXAMPLES:
        documentation.document(_key, _function)
special = _special


def __array_namespace_info__() -> info.Info:
    """Capabilities, devices and dtypes of the default backend."""
    return info.Info()


def __getattr__(name: str) -> Any:
    """Dtypes: those of the default backend."""
    if name in info.DTYPES:
        return getattr(standard(get_backend()), name)
    raise AttributeError(f"xpnet.array_api has no {name!r}")


__all__ = sorted((*FUNCTIONS, "e", "fft", "inf", "linalg", "nan", "newaxis", "pi"))


def __dir__() -> list[str]:
    return sorted({*globals(), *info.DTYPES})
