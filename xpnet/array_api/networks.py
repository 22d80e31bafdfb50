"""What the standard lacks and networks need, each with its transpose; and some names of PyTorch's."""

from __future__ import annotations

from typing import Any

from xpnet.array_api import elementwise, manipulation
from xpnet.array_api.function import Function
from xpnet.array_api.linalg import diagonal
from xpnet.array_api.values import backend_for, on, wrapped
from xpnet.core import arrays, structure
from xpnet.core.arrays import einsum as _einsum
from xpnet.core.methods import Methods
from xpnet.core.operators import reshape, transpose

CHAPTER = "networks"


def scatter_add(shape: tuple[int, ...], index: Any, values: Any) -> Any:
    """Zeros of `shape` with `values` added at `index`; values at one place add up.

    Args:
        shape: of the result.
        index: as in x[index]: integers, slices, masks and integer arrays; several in a tuple.
        values: of the shape of x[index].

    Returns:
        An array of `shape`; a Tensor if values is one.

    Raises:
        IndexError: an integer is out of range.

    Derivative: dy[index]. It is the transpose of x[index].

    >>> import xpnet
    >>> values = xpnet.tensor([1.0, 2.0, 4.0])
    >>> xpnet.array_api.scatter_add((3,), xpnet.asarray([0, 2, 0]), values)
    tensor([5. 0. 2.])
    """
    index = index if isinstance(index, tuple) else (index,)
    index = tuple(i.data if isinstance(i, Methods) else i for i in index)
    return structure.scatter(values, tuple(shape), index)


def pad(x: Any, widths: Any, value: float = 0.0) -> Any:
    """x with `before, after` elements of `value` added on each axis.

    Args:
        x: an array or a Tensor of n axes.
        widths: a pair (before, after) for each axis.
        value: of the new elements.

    Returns:
        Of the shape of x, plus both widths on each axis.

    Raises:
        ValueError: not a pair for each axis.

    Derivative: dy without what was added.

    >>> import xpnet
    >>> xpnet.array_api.pad(xpnet.tensor([1.0, 2.0]), [(1, 2)])
    tensor([0. 1. 2. 0. 0.])
    """
    return structure.pad(x, [tuple(w) for w in widths], value)


def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products that `subscripts` says, as in NumPy; without "->" the indices that occur once.

    Args:
        subscripts: letters for the axes of each operand, between commas; "..." for those in front; "->" and
            the letters of the result.
        *operands: arrays or Tensors; axes of length 1 are broadcast.

    Returns:
        An array, or a Tensor, with the axes after "->".

    Raises:
        ValueError: subscripts that do not fit the operands.

    Derivative: another such sum, of dy and the other operands.

    >>> import xpnet
    >>> a, b = xpnet.tensor([[1.0, 2.0]]), xpnet.tensor([[3.0], [4.0]])
    >>> xpnet.array_api.einsum("ij,jk->ik", a, b)
    tensor([[11.]])
    """
    subscripts = subscripts.replace(" ", "")
    inputs, arrow, output = subscripts.partition("->")
    names = inputs.split(",")
    if len(names) != len(operands):
        raise ValueError(f"einsum: {len(names)} operands in {subscripts!r}, got {len(operands)}")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts]
    widest = max((x.ndim - len(n) + 3 for n, x in zip(names, operands, strict=True) if "..." in n), default=0)
    spread = "".join(free[:widest])
    names = [
        n.replace("...", spread[widest - (x.ndim - len(n) + 3) :] if "..." in n else "")
        for n, x in zip(names, operands, strict=True)
    ]
    if not arrow:
        every = "".join(names)
        once = sorted(c for c in set(every) if every.count(c) == 1 and c not in spread)
        output = ("..." if spread else "") + "".join(once)
    output = output.replace("...", spread)
    for n, x in zip(names, operands, strict=True):
        if len(n) != x.ndim:
            raise ValueError(f"einsum: {n!r} names {len(n)} axes of an operand of shape {tuple(x.shape)}")
    sizes: dict[str, int] = {}
    for n, x in zip(names, operands, strict=True):
        sizes |= {c: k for c, k in zip(n, x.shape, strict=True) if k != 1 or c not in sizes}
    pairs = [_without_repeats(*_without_ones(n, x, sizes)) for n, x in zip(names, operands, strict=True)]
    return _einsum(",".join(n for n, _ in pairs) + "->" + output, *(x for _, x in pairs))


def _without_ones(name: str, x: Any, sizes: dict[str, int]) -> tuple[str, Any]:
    """An operand without the axes of length 1 that are broadcast: another one has the index, too."""
    kept = [(c, k) for c, k in zip(name, x.shape, strict=True) if k == sizes[c]]
    if len(kept) == len(name) or any(k != 1 for c, k in zip(name, x.shape, strict=True) if k != sizes[c]):
        return name, x
    return "".join(c for c, _ in kept), reshape(x, tuple(k for _, k in kept))


def _without_repeats(name: str, x: Any) -> tuple[str, Any]:
    """An operand without an index that it has twice: its diagonal."""
    for c in name:
        if name.count(c) > 1:
            i = name.index(c)
            j = name.index(c, i + 1)
            rest = tuple(k for k in range(x.ndim) if k not in (i, j))
            shorter = "".join(name[k] for k in rest) + c
            return _without_repeats(shorter, diagonal(transpose(x, (*rest, i, j))))
    return name, x


def one_hot(labels: Any, classes: int, *, dtype: Any = None) -> Any:
    """Rows of the identity: integers (...,) become (..., classes).

    Args:
        labels: integers, an array or a Tensor; another one than 0, ..., classes - 1 gives a row of zeros.
        classes: how many.
        dtype: of the result; default: float32.

    Returns:
        A Tensor (..., classes).

    Raises:
        TypeError: labels is no array.

    Derivative: none; the result is a constant.

    >>> import xpnet
    >>> xpnet.array_api.one_hot(xpnet.asarray([1, 0]), 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    array = labels.data if isinstance(labels, Methods) else labels
    found = arrays.one_hot(array, classes, on(backend_for((array,)), dtype or "float32"))
    return wrapped(found)


def im2col(x: Any, kernel: Any, stride: Any = 1, dilation: Any = 1) -> Any:
    """The windows of images as columns, channels slowest: a convolution is a product with them.

    Args:
        x: (N, C, H, W).
        kernel: (kH, kW), or one number for both.
        stride: between windows, a pair or a number.
        dilation: between the elements of a window, a pair or a number.

    Returns:
        (C kH kW, N H' W'), H' = (H - dilation (kH - 1) - 1) // stride + 1.

    Raises:
        ValueError: x has no four axes.

    Derivative: dy added where each element came from.

    >>> import xpnet
    >>> xpnet.array_api.im2col(xpnet.tensor([[[[1.0, 2.0, 3.0]]]]), (1, 2)).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    both = lambda v: (v, v) if isinstance(v, int) else tuple(v)
    k, s, d = both(kernel), both(stride), both(dilation)
    size = tuple((n - e * (m - 1) - 1) // t + 1 for n, m, t, e in zip(x.shape[2:], k, s, d, strict=True))
    columns = structure.im2col(x, arrays.windows(k, s, d, size), size)
    return reshape(columns, tuple(columns.shape[1:]))


def cat(tensors: Any, dim: int = 0) -> Any:
    """PyTorch's name for `concat`.

    Derivative: dy, cut at the same places.
    """
    return manipulation.concat(tensors, axis=dim)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """PyTorch's name for `clip`.

    Derivative: 1 inside; a bound has the gradient where it is the result.
    """
    return elementwise.clip(x, min, max)


FUNCTIONS: dict[str, Function] = {}
for _function in (scatter_add, pad, einsum, one_hot, im2col, cat, clamp, elementwise.erf):
    _made: Any = _function
    _made.chapter = CHAPTER
    FUNCTIONS[_function.__name__] = _function
