"""What a Tensor can do: operators, reductions, shapes, and how it behaves in Python's own hands.

The ops are in `xpnet.core.operators`, which sets `ops` here when it has loaded: it needs Tensor first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.context import differentiated
from xpnet.core.convert import to_numpy
from xpnet.core.places import namespace, tensor_namespace
from xpnet.core.spelled import Spelled, axis_of

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")  # Tensor

ops: Any = None  # xpnet.core.operators

Axis = int | tuple[int, ...] | list[int] | None
Operand = Any  # a Tensor, an array of the same backend, or a Python number


class Extremum(NamedTuple, Generic[T]):
    """What `max(dim=...)` and `min(dim=...)` give, as in PyTorch."""

    values: T
    indices: Array


class Methods(Spelled[T]):
    """Base class of Tensor: operators and methods, each one op of `xpnet.core.operators`."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy arrays on the left leave the operation to Tensor

    data: Array
    requires_grad: bool

    # ---- arithmetic ----

    def __add__(self, other: Operand) -> T:
        return ops.add(self, other)

    def __radd__(self, other: Operand) -> T:
        return ops.add(other, self)

    def __sub__(self, other: Operand) -> T:
        return ops.subtract(self, other)

    def __rsub__(self, other: Operand) -> T:
        return ops.subtract(other, self)

    def __mul__(self, other: Operand) -> T:
        return ops.multiply(self, other)

    def __rmul__(self, other: Operand) -> T:
        return ops.multiply(other, self)

    def __truediv__(self, other: Operand) -> T:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Operand) -> T:
        return ops.divide(other, self)

    def __pow__(self, other: Operand) -> T:
        return ops.power(self, other)

    def __rpow__(self, other: Operand) -> T:
        return ops.power(other, self)

    def __matmul__(self, other: Operand) -> T:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> T:
        return ops.matmul(other, self)

    def __neg__(self) -> T:
        return ops.negative(self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> T:
        return ops.absolute(self)

    def add(self, other: Operand, *, alpha: float = 1) -> T:
        """self + alpha * other."""
        return ops.add(self, other if alpha == 1 else alpha * other)

    def sub(self, other: Operand, *, alpha: float = 1) -> T:
        """self - alpha * other."""
        return ops.subtract(self, other if alpha == 1 else alpha * other)

    def mul(self, other: Operand) -> T:
        """self * other."""
        return ops.multiply(self, other)

    def div(self, other: Operand, *, rounding_mode: str | None = None) -> T:
        """self / other, rounded down ("floor") or towards 0 ("trunc") without a gradient.

        >>> import xpnet
        >>> xpnet.tensor([7.0, -7.0]).div(2.0, rounding_mode="floor").tolist()
        [3.0, -4.0]
        """
        if rounding_mode is None:
            return ops.divide(self, other)
        return ops.divide_rounded(self, other, rounding_mode)

    def _in_place(self, op: Any, other: Operand) -> Self:
        return ops.in_place(op, self, other)

    # In place where nothing is recorded; a computed Tensor gets a successor that goes on with its history.

    def __iadd__(self, other: Operand) -> Self:
        return ops.in_place(ops.add, self, other)

    def __isub__(self, other: Operand) -> Self:
        return ops.in_place(ops.subtract, self, other)

    def __imul__(self, other: Operand) -> Self:
        return ops.in_place(ops.multiply, self, other)

    def __itruediv__(self, other: Operand) -> Self:
        return ops.in_place(ops.divide, self, other)

    def __ipow__(self, other: Operand) -> Self:
        return ops.in_place(ops.power, self, other)

    def __imatmul__(self, other: Operand) -> Self:
        return ops.in_place(ops.matmul, self, other)

    # ---- comparison: of elements, so a Tensor of bool; a dictionary goes by identity ----

    def __lt__(self, other: Operand) -> T:
        return ops.compare("__lt__", self, other)

    def __le__(self, other: Operand) -> T:
        return ops.compare("__le__", self, other)

    def __gt__(self, other: Operand) -> T:
        return ops.compare("__gt__", self, other)

    def __ge__(self, other: Operand) -> T:
        return ops.compare("__ge__", self, other)

    def __eq__(self, other: object) -> T:  # type: ignore[override]
        return ops.compare("__eq__", self, other)

    def __ne__(self, other: object) -> T:  # type: ignore[override]
        return ops.compare("__ne__", self, other)

    __hash__ = object.__hash__

    # ---- elements ----

    def __getitem__(self, index: Any) -> T:
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Operand) -> None:
        ops.assign(self, index, value)

    def __len__(self) -> int:
        if not self.data.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[T]:
        if not self.data.shape:
            raise TypeError("a tensor without axes has nothing to iterate over; its number is x.item()")
        return (ops.getitem(self, i) for i in range(self.data.shape[0]))

    def __contains__(self, value: Operand) -> bool:
        return bool(to_numpy(self == value).any())

    # ---- functions of every element ----

    def exp(self) -> T:
        """e ** x."""
        return ops.exp(self)

    def log(self) -> T:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> T:
        """The square root."""
        return ops.sqrt(self)

    def abs(self) -> T:
        """|x|, with derivative 0 at 0."""
        return ops.absolute(self)

    def clone(self) -> T:
        """A copy, through which gradients flow."""
        return ops.clone(self)

    # ---- reductions ----

    def sum(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool = False,
        dtype: Any = None,
    ) -> T:
        """The sum over `axis`, in PyTorch's spelling `dim`; default: over all elements.

        `dtype`: of the result, to which x is converted first.

        >>> import xpnet
        >>> xpnet.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=1).tolist()
        [3.0, 7.0]
        """
        x = self if dtype is None else ops.astype(self, dtype)
        return ops.sum(x, *axis_of(axis, dim, keepdims, keepdim))

    def mean(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool = False,
        dtype: Any = None,
    ) -> T:
        """The mean over `axis`; arguments as for `sum`."""
        x = self if dtype is None else ops.astype(self, dtype)
        return ops.mean(x, *axis_of(axis, dim, keepdims, keepdim))

    @overload
    def max(
        self, *, axis: Axis = None, keepdims: bool = False, dim: None = None, keepdim: bool = False
    ) -> T: ...
    @overload
    def max(
        self, *, axis: None = None, keepdims: bool = False, dim: int, keepdim: bool = False
    ) -> Extremum[T]: ...
    def max(
        self,
        *positional: Any,
        axis: Axis = None,
        keepdims: bool = False,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Any:
        """The maximum over `axis`, default over all elements; equal maxima share the gradient.

        With `dim` the pair (values, indices), as in PyTorch: the first of equal maxima has the gradient.

        >>> import xpnet
        >>> values, indices = xpnet.tensor([[1.0, 5.0], [4.0, 3.0]]).max(dim=1)
        >>> values.tolist(), indices.tolist()
        ([5.0, 4.0], [1, 0])
        """
        return self._extremum("max", positional, axis, keepdims, dim, keepdim)

    @overload
    def min(
        self, *, axis: Axis = None, keepdims: bool = False, dim: None = None, keepdim: bool = False
    ) -> T: ...
    @overload
    def min(
        self, *, axis: None = None, keepdims: bool = False, dim: int, keepdim: bool = False
    ) -> Extremum[T]: ...
    def min(
        self,
        *positional: Any,
        axis: Axis = None,
        keepdims: bool = False,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Any:
        """The minimum; arguments as for `max`."""
        return self._extremum("min", positional, axis, keepdims, dim, keepdim)

    def _extremum(
        self, name: str, positional: Any, axis: Axis, keepdims: bool, dim: int | None, keepdim: bool
    ) -> Any:
        if positional:
            at = positional[0]
            raise TypeError(
                f"{name}: say axis={at!r} for the values, as in NumPy, or dim={at!r} for the pair (values, "
                "indices), as in PyTorch"
            )
        where, keep = axis_of(axis, dim, keepdims, keepdim)
        if dim is None:
            return getattr(ops, name)(self, where, keep)
        xp = namespace(self.data)
        indices = getattr(xp, f"arg{name}")(self.data, axis=dim, keepdims=True)
        values = ops.select(self, indices, dim)
        if not keep:
            values, indices = ops.squeeze(values, dim), xp.squeeze(indices, axis=dim)
        return Extremum(values, indices)

    def argmax(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> T:
        """The index of the maximum along `axis` (`dim`), default in the flattened tensor."""
        along, kept = axis_of(axis, dim, keepdims, keepdim)
        return tensor_namespace().argmax(self, axis=along, keepdims=kept)

    def argmin(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> T:
        """The index of the minimum, likewise."""
        along, kept = axis_of(axis, dim, keepdims, keepdim)
        return tensor_namespace().argmin(self, axis=along, keepdims=kept)

    # ---- shape ----

    def reshape(self, *shape: Any) -> T:
        """The same elements in another shape, given as numbers or one tuple; one entry may be -1."""
        return ops.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> T:
        """The axes from `start_dim` to `end_dim` merged into one."""
        return ops.flatten(self, start_dim, end_dim)

    def squeeze(self, dim: int | None = None) -> T:
        """Without the axis `dim`, if it is of length 1; default: without all such axes."""
        if dim is None:
            return ops.reshape(self, tuple(n for n in self.data.shape if n != 1))
        return ops.squeeze(self, dim) if self.data.shape[dim] == 1 else ops.reshape(self, self.data.shape)

    def unsqueeze(self, dim: int) -> T:
        """With a new axis of length 1 at `dim`."""
        shape = list(self.data.shape)
        shape.insert(dim if dim >= 0 else dim + len(shape) + 1, 1)
        return ops.reshape(self, tuple(shape))

    def transpose(self, *axes: Any) -> T:
        """All axes permuted: `transpose(2, 0, 1)`; two of them exchanged: `transpose(0, 1)`; or reversed."""
        if len(axes) == 1 and axes[0] is not None and not isinstance(axes[0], int):
            axes = tuple(axes[0])
        if len(axes) == 2:
            order = list(range(self.data.ndim))
            order[axes[0]], order[axes[1]] = order[axes[1]], order[axes[0]]
            axes = tuple(order)
        return ops.transpose(self, axes or None)

    def permute(self, *dims: Any) -> T:
        """All axes permuted, given as numbers or one tuple."""
        return ops.transpose(self, tuple(dims[0]) if dims and not isinstance(dims[0], int) else dims)

    @property
    def T(self) -> T:
        """The axes reversed."""
        return ops.transpose(self)

    # ---- Python's own hands ----

    def item(self) -> float:
        """The only element as a Python number. This waits for the device."""
        return to_numpy(self.data).item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers, or one number."""
        return to_numpy(self.data).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        value: Any = self.item() if math.prod(self.data.shape) == 1 else None
        if not isinstance(value, int):
            raise TypeError(
                f"only a whole number is an index, got a tensor {tuple(self.data.shape)} {self.data.dtype}"
            )
        return value

    def __bool__(self) -> bool:
        return bool(self.item())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.item(), digits)

    def __format__(self, form: str) -> str:
        if not self.data.shape:
            return format(self.item(), form)
        if not form:
            return str(self)
        raise TypeError(f"a tensor of shape {tuple(self.data.shape)} has no format {form!r}; a number has")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """For `numpy.asarray(tensor)`, plots and scikit-learn: the values, without their history.

        Raises:
            TypeError: in a function that `xpnet.grad` or another transform runs: it would lose a gradient.
        """
        if self.requires_grad and differentiated.get():
            raise TypeError(
                "numpy.asarray(x) in a function that is differentiated would lose its gradient: use "
                "xpnet.array_api there, or x.detach() for a constant"
            )
        host = to_numpy(self.data)
        wanted = host.dtype if dtype is None else np.dtype(dtype)
        if copy is False and (wanted != host.dtype or host is not self.data):
            raise ValueError("the values of this tensor cannot be had as that array without a copy")
        return np.array(host, dtype=wanted, copy=True if copy else None)
