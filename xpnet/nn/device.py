"""`device=` of layers: PyTorch's way to say where they are made, which xpnet has for all at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


class MadeByBackend:
    """Base class of modules, whose constructors with a `dtype` take `device=None`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _without_device(cls.__init__)  # type: ignore[method-assign]


def _without_device(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that takes `device=None`, if it has a `dtype`, and says of another one what to do."""
    code = getattr(init, "__code__", None)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
    if "dtype" not in names or "device" in names:
        return init

    @wraps(init)
    def made(self: Any, *args: Any, device: Any = None, **kwargs: Any) -> None:
        if device is not None:
            raise TypeError(
                f"{type(self).__name__}: device={device!r} is not there: xpnet.set_backend(...) says where "
                "layers are made, and model.to(...) moves them"
            )
        init(self, *args, **kwargs)

    return made
