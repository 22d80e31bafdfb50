"""What the Array API standard lacks: scatter, integer-array assignment, one-hot, padding, windows, erf, out.

Everything here takes and returns plain arrays. NumPy, CuPy and PyTorch have the missing operation under their
own names; any other backend gets a form made of standard operations.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from xpnet.core.backend import HOST_TYPES, Array, dtype_name, named_dtype
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.methods import Methods
from xpnet.core.places import backend_name, backend_of, device, device_key, is_capturing, namespace
from xpnet.core.recording import by_values
from xpnet.core.registry import fusable

_NUMPY_LIKE = ("numpy", "cupy")


def is_half(x: Array) -> bool:
    """Whether x is of a 16-bit floating-point type, whose sums are made in float32."""
    char = getattr(x.dtype, "char", None)  # of NumPy's and CuPy's dtypes, whose names are slow to make
    return char in "eE" if char else is_half_name(str(x.dtype))  # E: bfloat16 of ml_dtypes


def is_half_name(dtype: str) -> bool:
    """Whether a dtype's name is that of a 16-bit floating-point type."""
    return "float16" in dtype


of_tensors: Any = None
"""`xpnet.core.structure`, which sets this when it has loaded: the ops behind what is here."""


def is_array(x: Any) -> bool:
    """Whether x is an array or a Tensor: dtypes and their classes have some of the same attributes."""
    return hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type | np.dtype)


def constant(x: Array, like: Array) -> Array:
    """An array that does not vary, as a Tensor where `like` is one: not every library's array leaves it to us
    to compute with it."""
    return of_tensors.Tensor(x) if carries_gradients(like) and not carries_gradients(x) else x


def carries_gradients(x: Any) -> bool:
    """Whether x is a Tensor, or carries more than an array in another way."""
    return isinstance(x, Methods)


BOOL, INTEGER, FLOAT, COMPLEX = range(4)


@functools.cache
def _kind(dtype: Any, xp: Any) -> int:
    if is_half_name(str(dtype)) or xp.isdtype(dtype, "real floating"):
        return FLOAT
    return BOOL if xp.isdtype(dtype, "bool") else INTEGER if xp.isdtype(dtype, "integral") else COMPLEX


def kind(x: Array) -> int:
    """BOOL, INTEGER, FLOAT or COMPLEX, the numbers that an array holds, in that order."""
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return FLOAT
    return kind(x.data) if carries_gradients(x) else _kind(x.dtype, namespace(x))


def widen(x: Array) -> Array:
    """x in the dtype that sums are made in: float32 for the 16-bit types. A number stays as it is."""
    return namespace(x).astype(x, namespace(x).float32) if hasattr(x, "dtype") and is_half(x) else x


def narrow(x: Array, like: Array) -> Array:
    """x, which was computed from `widen(like)`, in the dtype of `like`."""
    return namespace(x).astype(x, like.dtype) if is_half(like) else x


def cast(x: Array, dtype: Any) -> Array:
    """x in another dtype, by its name or as the backend's own; None: as it is."""
    if dtype is None:
        return x
    name = dtype if isinstance(dtype, str) else dtype_name(dtype)
    return namespace(x).astype(x, named_dtype(name, backend_of(x)))


def zero(like: Array) -> Array:
    """A 0-d zero of the dtype and device of `like`, kept: binary functions of the standard take arrays."""
    key: Any
    if type(like) in HOST_TYPES:
        key = like.dtype
    elif carries_gradients(like):
        return constant(zero(like.data), like)
    else:
        key = (type(like), like.dtype, device_key(like))
    found = _ZEROS.get(key)
    if found is None and type(like) in HOST_TYPES:
        found = _ZEROS[key] = np.zeros((), like.dtype)
    elif found is None:
        found = namespace(like).zeros((), dtype=like.dtype, device=device(like))
        if not is_capturing(like):
            _ZEROS[key] = found
    return found


_ZEROS: dict[object, Array] = {}


def keep(x: Array, mask: Array) -> Array:
    """x where the mask holds, else 0.

    A product with the mask would be NaN where x is infinite: gradients are, of sqrt(relu(x)) say, just where
    the mask is 0.
    """
    if type(x) in HOST_TYPES and x.ndim:
        dtype = x.dtype
        integer = _INTEGERS.get(dtype.itemsize)
        if integer is not None:  # the bits, times 1 or 0: a fifth of the time of `where`, which branches
            kept, bits = mask.astype(integer), x.view(integer)
            return (np.multiply(bits, kept, kept) if kept.shape == x.shape else bits * kept).view(dtype)
    kept = namespace(x).where(mask, x, zero(x))
    return kept if kept.dtype == x.dtype else namespace(x).astype(kept, x.dtype)  # CuPy widens bfloat16


_INTEGERS: dict[int, Any] = {n: np.dtype(f"i{n}") for n in (2, 4, 8)}


def floating(op: str, x: Array, name: str = "x") -> Array:
    """x, which must hold floating-point numbers: among whole numbers 1 / 3 is 0 and -1 may be 255.

    Raises:
        TypeError: it does not; naming op and argument.
    """
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return x
    if kind(x) != FLOAT:
        raise TypeError(
            f"{op}: {name} is {dtype_name(x.dtype)}, expected floating-point numbers; convert it, as in "
            "xpnet.asarray(x, 'float32')"
        )
    return x


def meeting(op: str, x: Array, weight: Array, bias: Array | None) -> Any:
    """The namespace of an input and parameters, which must be of one floating-point type.

    Raises:
        TypeError: naming op, argument and both types.
    """
    if type(x) is np.ndarray and type(weight) is np.ndarray:
        dtype = weight.dtype
        if (
            x.dtype is dtype
            and dtype.kind == "f"
            and (bias is None or (type(bias) is np.ndarray and bias.dtype is dtype))
        ):
            return namespace(x)
    xp = namespace(x, weight, bias)
    floating(op, weight, "the weight")
    for name, array in (("x", x), ("the bias", bias)):
        if array is not None and array.dtype != weight.dtype:
            raise TypeError(
                f"{op}: {name} is {dtype_name(array.dtype)} and the weight {dtype_name(weight.dtype)}; "
                f"convert one, as in xpnet.asarray(x, {dtype_name(weight.dtype)!r})"
            )
    return xp


def repeated(x: Array, shape: tuple[int, ...]) -> Array:
    """x, repeated to a shape, in memory of its own: a broadcast view must not be seen by in-place code."""
    if type(x) is np.ndarray or isinstance(x, np.generic):
        out = np.empty(shape, x.dtype)
        np.copyto(out, x)
        return out
    return namespace(x).broadcast_to(x, shape) + 0


def arange(n: int, like: Array) -> Array:
    """0, 1, ..., n-1 (int64) on the device of `like`; kept between calls, so do not change it."""
    if type(like) is np.ndarray and n in _ARANGES:
        return _ARANGES[n]
    if carries_gradients(like):
        return arange(n, like.data)
    key = n if type(like) is np.ndarray else (namespace(like), device_key(like), n)
    if is_capturing(like):  # it would be made by the replays only, and must be theirs
        return namespace(like).arange(n, dtype=namespace(like).int64, device=device(like))
    found = _ARANGES.get(key)
    if found is None:
        if len(_ARANGES) > 64:
            _ARANGES.clear()
        xp = namespace(like)
        found = _ARANGES[key] = xp.arange(n, dtype=xp.int64, device=device(like))
    return found


_ARANGES: dict[Any, Array] = {}


@fusable
def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b of matrices, or of batches of them, into `out` if the backend can and the dtypes agree."""
    if type(a) in HOST_TYPES:
        if out is None:
            y = np.dot(a, b) if a.ndim == 2 == b.ndim else a @ b  # the same, half a microsecond sooner
            return y if y.dtype is a.dtype else narrow(y, a)  # of bfloat16 NumPy makes float32
        if out.dtype is a.dtype:
            return np.matmul(a, b, out)
    if out is not None and out.dtype == a.dtype == b.dtype and backend_name(a) in _NUMPY_LIKE:
        return namespace(a).matmul(a, b, out=out)
    if getattr(a.dtype, "char", "") == "E" and max(a.ndim, b.ndim) > 2:
        # CuPy has no products of stacks of bfloat16
        return narrow(widen(a) @ widen(b), a)
    return a @ b


@fusable
def sum_rows(x: Array, out: Array | None = None) -> Array:
    """The sum over the first axis, 1^T x: (m, n) -> (n,), into `out` if the backend can."""
    if type(x) in HOST_TYPES and x.dtype.char in "fd":
        if x.size < _BLAS:
            return np.dot(_ones(x.shape[0], x.dtype), x, out)
        return np.add.reduce(x, 0, None, out)
    return sum_in_float32(x, axis=0)


def sum_in_float32(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum in the dtype of x; of 16-bit types it is added up in float32, where 2048 + 1 is not 2048."""
    xp = namespace(x)
    if not is_half(x):
        return xp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)
    return xp.astype(xp.sum(widen(x), axis=axis, keepdims=keepdims), x.dtype)


def sum_last(x: Array) -> Array:
    """The sum over the last axis, x 1: (m, n) -> (m,), (n,) -> ()."""
    if type(x) in HOST_TYPES and x.size < _BLAS and x.dtype.char in "fd":
        return x.dot(_ones(x.shape[-1], x.dtype))
    return namespace(x).sum(x, axis=-1, dtype=x.dtype)


# below this size a product with ones takes half the time of NumPy's reduction; its threads cost more above
_BLAS = 1 << 15


@functools.lru_cache(64)
def _ones(n: int, dtype: Any) -> np.ndarray:
    return np.ones(n, dtype)


def max_last(x: Array) -> Array:
    """The maximum over the last axis, which stays as 1: (m, n) -> (m, 1)."""
    if type(x) in HOST_TYPES and 0 < x.size < _BLAS:
        # NumPy reduces whole columns in vector registers, the few elements of a row one by one
        return np.maximum.reduce(x.T.copy(), 0)[:, None]
    return namespace(x).max(x, axis=-1, keepdims=True)


@functools.lru_cache(64)
def _starts(n: int, c: int) -> np.ndarray:
    """Where the rows of an (n, c) array begin in its memory."""
    return np.arange(0, n * c, c)


def take_columns(x: Array, columns: Array) -> Array:
    """x[i, columns[i]] for each row i: (N, C), (N,) -> (N,)."""
    n, c = x.shape
    if type(x) in HOST_TYPES and x.flags.c_contiguous and c:
        return x.take(_starts(n, c) + columns)
    rows = arange(n, x)
    if type(x) in HOST_TYPES or backend_name(x) != "array_api_strict":
        return x[rows, columns]
    xp = namespace(x)
    return xp.take(xp.reshape(x, (-1,)), rows * c + xp.astype(columns, xp.int64))


def add_to_columns(x: Array, columns: Array, values: Array | float) -> Array:
    """x[i, columns[i]] += values[i], in place where the backend can; returns the result."""
    if type(x) in HOST_TYPES and x.flags.c_contiguous and x.size:
        x.reshape(-1)[_starts(*x.shape) + columns] += values
        return x
    if carries_gradients(x) or carries_gradients(values):
        index, xp = (arange(x.shape[0], x), columns), namespace(x, values)
        return x + scatter_add(tuple(x.shape), index, xp.zeros_like(x)[:, 0] + values)
    if type(x) in HOST_TYPES or backend_name(x) != "array_api_strict":
        x[arange(x.shape[0], x), columns] += values
        return x
    xp = namespace(x)
    there = xp.expand_dims(columns, axis=1) == arange(x.shape[1], columns)
    more = values if getattr(values, "ndim", 0) == 0 else xp.expand_dims(values, axis=1)
    return xp.where(there, x + more, x)  # a product with 0 or 1 is NaN where a value is infinite


def one_hot(labels: Array, classes: int, dtype: Any) -> Array:
    """Rows of the identity: (N,) integers -> (N, classes)."""
    xp = namespace(labels)
    return xp.astype(xp.expand_dims(xp.astype(labels, xp.int64), axis=-1) == arange(classes, labels), dtype)


def gather(x: Array, index: tuple[Any, ...]) -> Array:
    """x[index] for advanced indices: masks, or integer arrays of any number of axes."""
    if type(x) is np.ndarray or backend_name(x) != "array_api_strict":
        return x[index]
    xp = namespace(x)
    places = positions(tuple(x.shape), index, x)
    return xp.reshape(xp.take(xp.reshape(x, (-1,)), xp.reshape(places, (-1,))), places.shape)


def scatter_add(shape: tuple[int, ...], index: tuple[Any, ...], values: Array) -> Array:
    """Zeros of `shape` with values added at `index`; repeated indices add up. The gradient of `gather`."""
    if carries_gradients(values):
        return of_tensors.scatter(values, shape, index)
    xp = namespace(values)
    out = xp.zeros(shape, dtype=values.dtype, device=device(values))
    if type(values) in HOST_TYPES and len(index) == 1 and _are_rows(index[0], values):
        return _add_rows(out, index[0] % shape[0], values)
    name = backend_name(values)
    if name in _NUMPY_LIKE:
        xp.add.at(out, index, values)
        return out
    flat = xp.reshape(positions(shape, index, values), (-1,))
    if name == "torch":
        out.view(-1).index_add_(0, flat, values.reshape(-1))
        return out
    there = xp.expand_dims(flat, axis=1) == arange(math.prod(shape), flat)
    return xp.reshape(xp.sum(keep(xp.reshape(values, (-1, 1)), there), axis=0, dtype=values.dtype), shape)


def _are_rows(index: Any, values: np.ndarray) -> bool:
    """Whether values are whole rows, and enough of them, at places given by one array of integers."""
    return (
        type(index) in HOST_TYPES
        and index.dtype == np.int64
        and index.ndim == 1 < values.ndim
        and index.size > 8
    )


@by_values
def _add_rows(out: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """out[places[i]] += values[i], whole rows, sorted by place: a quarter of the time of `add.at`."""
    order = places.argsort(kind="stable")
    places = places[order]
    starts = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1])))
    out[places[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


def positions(shape: tuple[int, ...], index: tuple[Any, ...], like: Array) -> Array:
    """The elements that `index` selects, as offsets into the flattened array."""
    if backend_name(like) == "torch":
        return namespace(like).reshape(arange(math.prod(shape), like), shape)[index]
    host = tuple(to_numpy(i) if hasattr(i, "dtype") else i for i in index)
    return asarray(np.arange(math.prod(shape)).reshape(shape)[host], backend=backend_of(like))


def pad(x: Array, widths: list[tuple[int, int]], value: float = 0.0) -> Array:
    """x with `before, after` elements of `value` added on each axis."""
    if carries_gradients(x):
        return of_tensors.pad(x, widths, value)
    xp = namespace(x)
    shape = tuple(b + n + a for n, (b, a) in zip(x.shape, widths, strict=True))
    out = xp.full(shape, value, dtype=x.dtype, device=device(x))
    out[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, widths, strict=True))] = x
    return out


def unpad(x: Array, widths: list[tuple[int, int]]) -> Array:
    """The inside of `pad(x, widths)`."""
    return x[tuple(slice(b, n - a) for n, (b, a) in zip(x.shape, widths, strict=True))]


Pair = tuple[int, int]


def windows(
    kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], size: tuple[int, ...]
) -> list[tuple[Any, ...]]:
    """For each element (i, j) of a window, the index of the (N, C, *size) image values that it meets."""
    return [
        (
            slice(None),
            slice(None),
            *(
                slice(d * k, d * k + s * (n - 1) + 1, s)
                for d, k, s, n in zip(dilation, place, stride, size, strict=True)
            ),
        )
        for place in itertools.product(*map(range, kernel))
    ]


def im2col(x: Array, places: list[tuple[Any, ...]], size: Pair, groups: int = 1) -> Array:
    """Windows as columns: (N, C, H, W) -> (groups, C / groups * len(places), N * prod(size)).

    Args:
        x: padded images.
        places: from `windows`.
        size: output height and width.
        groups: parts the channels are split into.
    """
    if carries_gradients(x):
        return of_tensors.im2col(x, places, size, groups)
    xp = namespace(x)
    n, c = x.shape[:2]
    columns = xp.empty((c, len(places), n, *size), dtype=x.dtype, device=device(x))
    for i, place in enumerate(places):
        columns[:, i, ...] = xp.permute_dims(x[place], (1, 0, 2, 3))
    return xp.reshape(columns, (groups, c // groups * len(places), n * math.prod(size)))


def col2im(columns: Array, places: list[tuple[Any, ...]], size: Pair, shape: tuple[int, ...]) -> Array:
    """The transpose of `im2col`: adds every column element where it came from, in (N, C, H, W) = `shape`."""
    if carries_gradients(columns):
        return of_tensors.col2im(columns, places, size, shape)
    xp = namespace(columns)
    n, c = shape[:2]
    columns = xp.reshape(columns, (c, len(places), n, *size))
    x = xp.zeros(shape, dtype=columns.dtype, device=device(columns))
    for i, place in enumerate(places):
        x[place] += xp.permute_dims(columns[:, i, ...], (1, 0, 2, 3))
    return x


def einsum(subscripts: str, *operands: Array) -> Array:
    """The sum of products over the indices that are not in the output, as "ij,jk->ik"."""
    xp = namespace(*operands)
    if any(map(carries_gradients, operands)):
        return of_tensors.einsum(*operands, subscripts=subscripts)
    if hasattr(xp, "einsum"):
        return xp.einsum(subscripts, *operands)
    inputs, output = subscripts.split("->")
    names = inputs.split(",")
    order = [*output, *sorted({c for n in names for c in n} - set(output))]
    product: Any = None
    for n, x in zip(names, operands, strict=True):
        x = xp.permute_dims(x, tuple(n.index(c) for c in order if c in n))
        sizes = iter(x.shape)
        x = xp.reshape(x, tuple(next(sizes) if c in n else 1 for c in order))
        product = x if product is None else product * x
    axes = tuple(range(len(output), len(order)))
    return xp.sum(product, axis=axes, dtype=product.dtype) if axes else product


def erf(x: Array) -> Array:
    """The error function, elementwise, to within a few ulp of float64, or of float32 on NumPy."""
    if carries_gradients(x):
        return of_tensors.erf(x)
    name = backend_name(x)
    if name == "torch":
        return namespace(x).special.erf(x)
    if name == "cupy":
        import cupyx.scipy.special

        return cupyx.scipy.special.erf(x)
    from xpnet.core.error_function import by_polynomials, of_numpy

    return of_numpy(x) if name == "numpy" else by_polynomials(x)
