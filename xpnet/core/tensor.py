"""A Tensor: an array, and how it came about."""

from __future__ import annotations

from html import escape
from math import prod
from typing import TYPE_CHECKING, Any

from numpy import generic

from xpnet.core import methods
from xpnet.core.arrays import is_half
from xpnet.core.backend import HOST_TYPES, Array, dtype_name, load
from xpnet.core.backward import backward, leaves_of
from xpnet.core.context import active
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.methods import Methods
from xpnet.core.node import LENT, Node
from xpnet.core.places import backend_name, device, namespace, on_device, tensor_namespace, where
from xpnet.core.recording import current
from xpnet.core.views import detach, viewed

if TYPE_CHECKING:
    from typing import Self


class Tensor(Node, Methods["Tensor"]):
    """An array that takes part in differentiation.

    Attributes:
        data: the array.
        requires_grad: whether gradients flow to or through it.
        grad: the gradient, an array like `data`; None before `backward` and after `zero_grad`.

    Args:
        data: an array of any backend, shape and dtype; its memory is shared.
        requires_grad: whether `backward` should fill `grad`.

    Raises:
        TypeError: gradients are wanted of integers or booleans.

    Make one with `xpnet.tensor`. Arithmetic, comparison, indexing, reductions and shape methods are in
    `xpnet.core.methods`, everything else of the Array API standard is in `xpnet.array_api`. Comparisons and
    integer results are Tensors without a gradient.

    >>> import xpnet
    >>> x = xpnet.Tensor(xpnet.asarray([1.0, -2.0]), requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([ 2., -4.], dtype=float32)
    """

    __slots__ = ()

    @property
    def grad(self) -> Array | None:
        """The accumulated gradient, of the same shape and dtype as `data`, or None.

        After `backward(create_graph=True)` it is a Tensor with a history of its own.
        Of a computed tensor it is None unless `retain_grad` asked for it.
        """
        if self._kept:
            return self._kept[0]
        if self._filled:
            self._filled = LENT
            return self._grad
        return None

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is None:
            self._forget()
            return
        value = array_of(value)
        namespace(self._data, value)  # refuses another backend
        if tuple(value.shape) != tuple(self.shape) or value.dtype != self.dtype:
            raise ValueError(
                f"grad: expected shape {tuple(self.shape)} and dtype {self.dtype}, "
                f"got {tuple(value.shape)} and {value.dtype}"
            )
        if value is self._grad:  # p.grad *= 0.5
            return
        self._forget()
        if self.is_leaf:
            self._accumulate(value)
        else:
            self._kept = [value]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._data.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the array."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self._data.shape)

    @property
    def device(self) -> Any:
        """The device of the array; None on NumPy."""
        return device(self._data)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """`xpnet.array_api`: the functions of the Array API standard, differentiable."""
        return tensor_namespace(api_version)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """On another device of its backend; gradients do not follow."""
        if device in (None, "cpu") and self.device is None:
            return self
        return Tensor(asarray(self._data, backend=load(backend_name(self._data), device)))

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        """The memory, for `from_dlpack` of another library, which then shares it.

        Raises:
            BufferError: it requires a gradient, which a write from elsewhere would invalidate.
        """
        if self.requires_grad:
            raise BufferError("a Tensor that requires a gradient is not exported: pass x.detach() or x.data")
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        return self._data.__dlpack__(**{k: v for k, v in options.items() if v is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device, in the terms of DLPack."""
        return self._data.__dlpack_device__()

    def numpy(self) -> Any:
        """The values as a NumPy array (a copy if they are on a device)."""
        return to_numpy(self._data)

    def detach(self) -> Tensor:
        """The same array without its history."""
        result = Tensor(self._data)
        viewed(result, self, detach)
        return result

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of a leaf; returns the tensor."""
        if not self.is_leaf and not requires_grad:
            raise RuntimeError("requires_grad_(False) of a computed tensor: use x.detach()")
        if requires_grad:
            differentiable_numbers("requires_grad_()", self._data)
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Have `backward` leave the gradient of this computed tensor in `.grad`; leaves have theirs anyway.

        Raises:
            RuntimeError: no gradient will reach it.

        >>> import xpnet
        >>> x = xpnet.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * 3
        >>> y.retain_grad()
        >>> (y * y).sum().backward()
        >>> y.grad
        array([ 6., 12.], dtype=float32)
        """
        if (self.is_leaf and self.requires_grad) or self._kept is not None:
            return
        pullback = self._pullback
        if pullback is None:
            raise RuntimeError("retain_grad() of a tensor that no gradient reaches: it needs a graph")
        kept: list[Array] = []  # not the tensor itself, which would then hold itself

        def keeping(dy: Array) -> Any:
            total = kept[0] + dy if kept else namespace(dy).asarray(dy, copy=True)
            kept[:] = [total]
            return pullback(dy)

        self._pullback, self._kept = keeping, kept

    def backward(
        self, gradient: Array | None = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it was computed from.

        Args:
            gradient: d(objective)/d(self), shaped like `self`; default 1, for a tensor of one element.
            retain_graph: keep the graph for another `backward`; by default it is freed.
            create_graph: record the walk, too: `.grad` is then a Tensor that can be differentiated, and the
                graph is kept.

        Raises:
            RuntimeError: nothing to differentiate, the graph is freed already, `self` has many elements and
                no gradient was given, or an argument that has no gradient (a class weight) requires one.
            ValueError: the gradient's shape is not `self.shape`.

        >>> import xpnet
        >>> x = xpnet.tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        array([2., 4., 6.], dtype=float32)
        """
        if not self.requires_grad:
            raise RuntimeError(f"backward() on a tensor without a graph: {why_constant(self)}")
        recording = current() if active[0] else None
        if recording is not None:
            recording.leaves |= leaves_of(self)
        if gradient is None:
            if self._data.shape and self.size != 1:
                raise RuntimeError(
                    "backward() without a gradient needs a tensor of one element, this one is "
                    f"{tuple(self.shape)}; reduce it with .sum() or .mean(), or pass backward(gradient)"
                )
            of_loss = self._pullback is not None and self._op.is_loss and self._kept is None
            number = of_loss and not self._data.shape and not create_graph
            gradient = 1.0 if number else namespace(self._data).ones_like(self._data)
        else:
            gradient = gradient if create_graph else array_of(gradient)
            namespace(self._data, gradient)  # refuses another backend or device
            if tuple(gradient.shape) != tuple(self.shape):
                raise ValueError(
                    f"backward(): gradient of shape {tuple(gradient.shape)} for a tensor of shape "
                    f"{tuple(self.shape)}"
                )
        if create_graph:
            with on_device(self._data):
                methods.ops.backward_on_tensors(self, gradient)
            return
        if type(self._data) in HOST_TYPES or isinstance(self._data, generic):
            if recording is None:
                backward(self, gradient, retain_graph)
            else:
                recording.begins()
                backward(self, gradient, retain_graph)
                recording.ends()
            return
        with on_device(self._data):
            backward(self, gradient, retain_graph)

    def __reduce__(self) -> Any:
        """A copy or a pickle is a leaf."""
        values = namespace(self._data).asarray(self._data, copy=True)
        return _restore, (type(self), values, self.requires_grad, self._grad if self._filled else None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if not self.is_leaf and self.requires_grad:
            raise RuntimeError("a tensor with a history is not copied: take x.detach() or x.clone()")
        make, arguments = self.__reduce__()
        memo[id(self)] = copy = make(*arguments)
        return copy

    def _repr_html_(self) -> str:
        """What a notebook shows: shape, dtype, place, and the values as `repr` has them."""
        kind = f"tensor {tuple(self.shape)} {dtype_name(self.dtype)} on {where(self._data)}"
        more = ", requires grad" if self.requires_grad else ""
        return f"<div>{escape(kind + more)}</div><pre>{escape(str(self._data))}</pre>"

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({self._data}{grad})"


def why_constant(x: Tensor) -> str:
    """What keeps gradients from a Tensor, for messages."""
    maker = getattr(x, "_op", None)
    if maker is not None:
        node: Any = x
        while True:  # to where whole numbers came from floating-point ones
            before = [p for _, p in node._parents or () if p._data.dtype == x.dtype and hasattr(p, "_op")]
            if not before:
                break
            node = before[0]
        name = getattr(node._op, "__name__", node._op)
        return f"{name} of a tensor that requires one has no derivative (its result is {dtype_name(x.dtype)})"
    return "no input required a gradient, or it was made in no_grad()"


def _restore(kind: type[Tensor], values: Array, requires_grad: bool, gradient: Array | None) -> Tensor:
    """A leaf from a copy or a pickle."""
    leaf = kind.__new__(kind)
    Tensor.__init__(leaf, values, requires_grad)
    leaf.grad = gradient
    return leaf


def array_of(x: Any) -> Array:
    """The array of a Tensor; an array as it is."""
    return x._data if isinstance(x, Tensor) else x


def differentiable_numbers(what: str, x: Array) -> None:
    """Refuse to train whole or complex numbers.

    Raises:
        TypeError: naming the dtype.
    """
    if not is_half(x) and not namespace(x).isdtype(x.dtype, "real floating"):
        raise TypeError(
            f"{what}: only floating-point numbers have a gradient, got {dtype_name(x.dtype)}; convert them, "
            "as in xpnet.asarray(x, 'float32'), or leave requires_grad out"
        )


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A Tensor on the default backend, with memory of its own; `Tensor(array)` shares that of the array.

    Args:
        data: an array of any backend, or nested Python numbers (floats become float32).
        requires_grad: whether `backward` should fill its `.grad`.
        dtype: a dtype or its name; default: that of `data`.

    Returns:
        A Tensor of the shape of `data`.

    Raises:
        TypeError: something is not a number, or gradients are wanted of integers or booleans.
        ValueError: values are masked.

    >>> import xpnet
    >>> xpnet.tensor([1, 2]).dtype
    dtype('int64')
    >>> xpnet.tensor([1.0, 2.0], requires_grad=True)
    tensor([1. 2.], requires_grad=True)
    """
    if data is None:
        raise TypeError("tensor(): expected numbers or an array, got None")
    if isinstance(data, list | tuple) and any(isinstance(v, Tensor) and v.requires_grad for v in data):
        raise TypeError(
            "tensor(): a list of Tensors that require a gradient would lose it; use xpnet.array_api.stack"
        )
    array = asarray(data, dtype)
    if requires_grad:
        differentiable_numbers("tensor()", array)
    if hasattr(data, "dtype"):  # memory of its own: `t += 1` must not change the array it was made from
        array = namespace(array).asarray(array, copy=True)
    return Tensor(array, requires_grad)
