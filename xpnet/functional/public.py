"""Functions with PyTorch's options around ops, which stay as small as their kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from xpnet.core.backend import Array
from xpnet.core.op import is_recorded
from xpnet.core.tensor import Tensor, array_of
from xpnet.core.writes import go_on_as, is_trained, overwrite

Function = TypeVar("Function", bound=Callable[..., Any])


def of(op: Any) -> Callable[[Function], Function]:
    """Give a public function the body of its op, and the place where kernels are registered."""

    def give(function: Any) -> Any:
        function.body, function.kernels, function.kernel = op.body, op.kernels, op.kernel
        return function

    return give


def result(x: Array | Tensor, y: Any, inplace: bool) -> Any:
    """What an op with `inplace` gives: y, in the memory of x if that is asked for and nothing is recorded.

    Raises:
        RuntimeError: x is a leaf that requires a gradient.
    """
    if not inplace:
        return y
    if not isinstance(x, Tensor):
        if not getattr(x, "shape", ()):
            return y
        x[...] = array_of(y)
        return x
    if is_recorded(x):
        if is_trained(x):
            raise RuntimeError("inplace=True of a tensor that is trained: do it in `with xpnet.no_grad():`")
        go_on_as(x, lambda old: y)
        return x
    overwrite(x, array_of(y))
    return x
