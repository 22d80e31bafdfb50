"""A derivative of one's own for a function that is made of ops."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from xpnet.core.op import differentiable
from xpnet.transforms.trees import function_of


class custom_vjp:
    """A function with a gradient of one's own, in two parts: what the forward pass keeps, and the pullback.

    Args:
        f: the function, of Tensors by position. Without `defvjp` it is differentiated as it stands.

    Raises:
        TypeError: f cannot be called.

    Where the gradient is a formula, `xpnet.differentiable` says the same in one function; this is for a
    function that exists already, and has JAX's form. Forward mode applies the same gradient, transposed.

    >>> import xpnet
    >>> @xpnet.custom_vjp
    ... def clipped(x):
    ...     return x * 1.0
    >>> clipped.defvjp(lambda x: (x * 1.0, None), lambda kept, dy: xpnet.array_api.clip(dy, -1.0, 1.0))
    >>> xpnet.grad(lambda x: (clipped(x) * 5.0).sum())(xpnet.asarray([2.0]))
    tensor([1.])
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f: Any = function_of(f, "custom_vjp")
        self._op: Any = None
        wraps(f)(self)

    def defvjp(self, forward: Callable[..., Any], backward: Callable[[Any, Any], Any]) -> None:
        """Set the gradient.

        Args:
            forward: of the arguments: gives (value, kept).
            backward: of (kept, dy): gives the gradient of each argument, a tuple, or of one the gradient.

        Raises:
            TypeError: one of them is no function; or, by the function made, forward gives no pair, or closes
                over a Tensor that is differentiated.
        """

        name = getattr(self._f, "__name__", "custom_vjp")
        function_of(forward, f"{name}.defvjp: forward")
        function_of(backward, f"{name}.defvjp: backward")

        def body(*args: Any) -> Any:
            found = forward(*args)
            if not isinstance(found, tuple) or len(found) != 2:
                raise TypeError(f"{name}: its forward gives (value, kept), got {type(found).__name__}")
            value, kept = found
            return value, lambda dy: backward(kept, dy)

        body.__name__ = name
        self._op = differentiable(forward="transposed")(body)

    def __call__(self, *args: Any) -> Any:
        """The value."""
        return (self._op or self._f)(*args)
