"""Methods of Tensors that are functions of `xpnet.array_api` by another name, in PyTorch's spelling."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from xpnet.core.places import tensor_namespace

T = TypeVar("T")
Operand = Any


def axis_of(axis: Any, dim: Any, keepdims: bool, keepdim: bool) -> tuple[Any, bool]:
    """PyTorch's spelling and NumPy's, of which one may be used; PyTorch takes a list of axes, too."""
    if axis is not None and dim is not None:
        raise TypeError(f"axis and dim are one thing: pass one of them, got axis={axis} and dim={dim}")
    axis = axis if dim is None else dim
    return tuple(axis) if isinstance(axis, list) else axis, keepdims or keepdim


def _binary(name: str, symbol: str, turned: bool = False) -> Any:
    def method(self: Any, other: Operand) -> Any:
        a, b = (other, self) if turned else (self, other)
        return getattr(tensor_namespace(), name)(a, b)

    method.__name__, method.__doc__ = name, f"x {symbol} y."
    return method


def _in_place(name: str) -> Any:
    def method(self: Any, other: Operand) -> Any:
        return self._in_place(getattr(tensor_namespace(), name), other)

    method.__name__ = name
    return method


def _unary(name: str) -> Any:
    def method(self: Any) -> Any:
        return getattr(tensor_namespace(), name)(self)

    method.__name__, method.__doc__ = name, f"`xpnet.array_api.{name}` of each element."
    return method


class Spelled(Generic[T]):
    """Base class of `Methods`: what is a name and a call."""

    __slots__ = ()

    __floordiv__ = _binary("floor_divide", "//")
    __rfloordiv__ = _binary("floor_divide", "//", True)
    __mod__ = _binary("remainder", "%")
    __rmod__ = _binary("remainder", "%", True)
    __and__ = _binary("bitwise_and", "&")
    __rand__ = _binary("bitwise_and", "&", True)
    __or__ = _binary("bitwise_or", "|")
    __ror__ = _binary("bitwise_or", "|", True)
    __xor__ = _binary("bitwise_xor", "^")
    __rxor__ = _binary("bitwise_xor", "^", True)
    __lshift__ = _binary("bitwise_left_shift", "<<")
    __rlshift__ = _binary("bitwise_left_shift", "<<", True)
    __rshift__ = _binary("bitwise_right_shift", ">>")
    __rrshift__ = _binary("bitwise_right_shift", ">>", True)
    __invert__ = _unary("bitwise_invert")
    __ifloordiv__ = _in_place("floor_divide")
    __imod__ = _in_place("remainder")
    __iand__ = _in_place("bitwise_and")
    __ior__ = _in_place("bitwise_or")
    __ixor__ = _in_place("bitwise_xor")
    __ilshift__ = _in_place("bitwise_left_shift")
    __irshift__ = _in_place("bitwise_right_shift")

    sin, cos, tan = _unary("sin"), _unary("cos"), _unary("tan")
    asin, acos, atan = _unary("asin"), _unary("acos"), _unary("atan")
    sinh, cosh, tanh = _unary("sinh"), _unary("cosh"), _unary("tanh")
    expm1, log1p, log2, log10 = _unary("expm1"), _unary("log1p"), _unary("log2"), _unary("log10")
    square, reciprocal, sign = _unary("square"), _unary("reciprocal"), _unary("sign")
    floor, ceil, round, trunc = _unary("floor"), _unary("ceil"), _unary("round"), _unary("trunc")
    isnan, isinf, isfinite, erf = _unary("isnan"), _unary("isinf"), _unary("isfinite"), _unary("erf")
    pow, maximum, minimum = _binary("pow", "**"), _binary("maximum", "max"), _binary("minimum", "min")

    def clip(self, min: Any = None, max: Any = None) -> T:
        """x between `min` and `max`."""
        return tensor_namespace().clip(self, min, max)

    clamp = clip

    def _reduced(self, name: str, axis: Any, keepdims: bool, dim: Any, keepdim: bool, **options: Any) -> Any:
        along, kept = axis_of(axis, dim, keepdims, keepdim)
        return getattr(tensor_namespace(), name)(self, axis=along, keepdims=kept, **options)

    def var(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        correction: float = 1,
        dim: Any = None,
        keepdim: bool = False,
    ) -> T:
        """The variance over `axis`, over n - `correction`: 1, as in PyTorch; in the namespace 0."""
        return self._reduced("var", axis, keepdims, dim, keepdim, correction=correction)

    def std(
        self,
        axis: Any = None,
        keepdims: bool = False,
        *,
        correction: float = 1,
        dim: Any = None,
        keepdim: bool = False,
    ) -> T:
        """The standard deviation, the root of `var`."""
        return self._reduced("std", axis, keepdims, dim, keepdim, correction=correction)

    def prod(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
        """The product over `axis`."""
        return self._reduced("prod", axis, keepdims, dim, keepdim)

    def all(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
        """Whether all elements hold."""
        return self._reduced("all", axis, keepdims, dim, keepdim)

    def any(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> T:
        """Whether any element holds."""
        return self._reduced("any", axis, keepdims, dim, keepdim)

    def cumsum(self, dim: int) -> T:
        """The running sum along `dim`."""
        return tensor_namespace().cumulative_sum(self, axis=dim)

    def cumprod(self, dim: int) -> T:
        """The running product along `dim`."""
        return tensor_namespace().cumulative_prod(self, axis=dim)

    def flip(self, *dims: Any) -> T:
        """The order reversed along axes."""
        axes = tuple(dims[0]) if dims and not isinstance(dims[0], int) else dims
        return tensor_namespace().flip(self, axis=axes or None)

    def roll(self, shifts: Any, dims: Any = None) -> T:
        """Elements moved around."""
        return tensor_namespace().roll(self, shifts, axis=dims)

    def tile(self, *dims: Any) -> T:
        """x repeated as a whole."""
        return tensor_namespace().tile(self, tuple(dims[0]) if not isinstance(dims[0], int) else dims)

    def expand(self, *sizes: Any) -> T:
        """Repeated to a shape; -1 keeps an axis."""
        shape = tuple(sizes[0]) if not isinstance(sizes[0], int) else sizes
        own = (1,) * (len(shape) - self.ndim) + tuple(self.shape)  # type: ignore[attr-defined]
        wanted = tuple(n if m == -1 else m for m, n in zip(shape, own, strict=True))
        return tensor_namespace().broadcast_to(self, wanted)

    def gather(self, dim: int, index: Any) -> T:
        """One element for each index along `dim`: `take_along_axis`."""
        return tensor_namespace().take_along_axis(self, index, axis=dim)

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> T:
        """The vector norm of order p over `dim`."""
        return tensor_namespace().linalg.vector_norm(self, axis=dim, keepdims=keepdim, ord=p)

    @property
    def mT(self) -> T:
        """The last two axes exchanged."""
        return tensor_namespace().matrix_transpose(self)
