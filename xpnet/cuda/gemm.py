"""Matrix products on CUDA, by cuBLASLt; of what it cannot take, by CuPy.

Arrays here are row-major, cuBLAS' matrices column-major: the memory of a row-major X is that of X^T. So
C = A B is computed as C^T = B^T A^T, and a bias for each column of C is one for each row of C^T.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from xpnet.core import arrays
from xpnet.core.backend import Array
from xpnet.core.node import Gate, Joint, Room
from xpnet.core.places import namespace
from xpnet.core.precision import get_matmul_precision as _precision
from xpnet.cuda import cublaslt, loader
from xpnet.cuda.cublaslt import AUX, BIAS, DRELU, NONE, RELU, SUMS, Matrix, Product, described, mask_bytes
from xpnet.cuda.element import element
from xpnet.functional.linear import linear as linear_op

_COMPUTE = {"float32": cublaslt.FLOAT32, "tf32": cublaslt.TF32, "bf16": cublaslt.BF16}
_workspaces: dict[tuple[int, int], Array] = {}


def instances(arch: int) -> dict[str, list[str]]:
    """No kernels of ours."""
    return {}


@functools.cache
def _is_available() -> bool:
    return cublaslt.library() is not None


class _Way(NamedTuple):
    """How a product of such arrays is made."""

    copied: tuple[bool, bool]  # whether a and b have neither contiguous rows nor contiguous columns
    shape: tuple[int, ...]
    product: Product


def product(
    a: Array,
    b: Array,
    out: Array | None = None,
    bias: Array | None = None,
    activation: int = 0,
    aux: Array | None = None,
    sums: Array | None = None,
    total: Array | None = None,
) -> Any:
    """a @ b (+ bias) in one launch: (..., m, k), (..., k, n) -> (..., m, n), with at most one batch axis.

    Args:
        a: of a floating-point dtype; a transposed view is taken as it is.
        b: likewise.
        out: where the result goes, if it is contiguous.
        bias: (n,), added to each row.
        activation: RELU or GELU (by tanh) of cublaslt, at the end.
        aux: what that leaves for backward, to be written: of RELU a mask, `mask_bytes(n)` a row, of GELU its
            input (m, n). Without an activation it is such a mask, and what it holds back is 0.
        sums: (m,), contiguous, instead of the last three: the sums of the rows of `a` are written there.
        total: contiguous, instead of `out`: the product is added to it.

    Returns:
        The product, or what it was added to; or NotImplemented.
    """
    dtype = a.dtype
    if dtype != b.dtype or loader.is_replaced():  # the emulator has kernels alone
        return NotImplemented
    epilogue = (BIAS if bias is not None else 0) + activation or (NONE if sums is None else SUMS)
    if aux is not None:
        epilogue = epilogue | AUX if activation else DRELU
    adds = total is not None
    if adds:
        out = total
    way = _way(dtype, a.shape, a.strides, b.shape, b.strides, epilogue, _precision(), adds)
    if way is None:
        return NotImplemented
    if way.copied[0]:
        a = namespace(a).ascontiguousarray(a)
    if way.copied[1]:
        b = namespace(b).ascontiguousarray(b)
    if out is None or out.shape != way.shape or out.dtype != dtype or not loader.is_contiguous(out):
        if adds:
            return NotImplemented
        out = loader.empty(a, way.shape, dtype)
    pa, pb, pc, pbias, paux = a.data.ptr, b.data.ptr, out.data.ptr, 0, 0
    if aux is not None:
        paux = aux.data.ptr
    if bias is not None:
        bias = loader.contiguous(bias)
        pbias = bias.data.ptr
    elif sums is not None:
        pbias = sums.data.ptr
    bits = (pa | pb | pc | pbias) & 255 or 256
    device = a.data.device_id
    plan = cublaslt.plan(device, way.product, bits & -bits, pbias, paux)
    if plan is None:
        return NotImplemented
    stream = loader.stream()
    room = _workspace(a, device, stream, plan.workspace) if plan.workspace else 0
    plan.launch(pb, pa, pc, pbias, paux, room, stream)
    return out


@functools.lru_cache(1024)
def _way(
    dtype: Any,
    shape_a: tuple[int, ...],
    strides_a: tuple[int, ...],
    shape_b: tuple[int, ...],
    strides_b: tuple[int, ...],
    epilogue: int,
    precision: str,
    adds: bool,
) -> _Way | None:
    """The way for arrays of these shapes and strides; None if it is CuPy's."""
    t = element(dtype)
    axes = len(shape_a), len(shape_b)
    if t is None or not _is_available() or min(axes) < 2 or max(axes) > 3 or shape_a[-1] != shape_b[-2]:
        return None
    batches = {shape[0] for shape in (shape_a, shape_b) if len(shape) == 3}
    batch = max(batches, default=1)
    (m, k), n = shape_a[-2:], shape_b[-1]
    if len(batches - {1}) > 1 or 0 in (m, n, k) or 0 in batches:
        return None
    compute = {"float64": cublaslt.FLOAT64, "float32": _COMPUTE[precision]}.get(t.dtype, cublaslt.FLOAT32)
    a, ta, copy_a = _matrix(shape_a, strides_a, dtype.itemsize)
    b, tb, copy_b = _matrix(shape_b, strides_b, dtype.itemsize)
    out = Matrix(n, m, n, m * n)
    made = described(t.dtype, compute, tb, ta, b, a, out, batch, epilogue, adds)
    return _Way((copy_a, copy_b), (m, n) if max(axes) == 2 else (batch, m, n), made)


def _matrix(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[Matrix, bool, bool]:
    """What lies there, as cuBLAS sees it; whether that is the transpose; whether it takes a copy."""
    rows, columns = shape[-2:]
    several = len(shape) == 3 and shape[0] > 1
    outer, inner = (s // itemsize for s in strides[-2:])
    between = strides[0] // itemsize if several else 0
    copied = between < 0
    if not copied and (inner == 1 or columns == 1) and (outer >= columns or rows == 1):
        return Matrix(columns, rows, outer if rows > 1 else columns, between), False, False
    if not copied and (outer == 1 or rows == 1) and (inner >= rows or columns == 1):
        return Matrix(rows, columns, inner if columns > 1 else rows, between), True, False
    return Matrix(columns, rows, columns, rows * columns if several else 0), False, True


def _workspace(like: Array, device: int, stream: int, size: int) -> int:
    """The address of scratch memory that this stream's products use one after the other."""
    found = _workspaces.get((device, stream))
    if found is None or found.size < size:
        found = _workspaces[device, stream] = namespace(like).empty(size, dtype="uint8")
        loader.when_stream_ends(_workspaces.pop, (device, stream), None)  # a graph's ends with it
    return loader.address(found)


@arrays.matmul.kernel("cupy")
def matmul(a: Array, b: Array, out: Array | None = None) -> Any:
    """See `xpnet.core.arrays.matmul`."""
    return product(a, b, out)


@linear_op.kernel("cupy")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Any:
    """See `xpnet.functional.linear`: one product adds the bias, that for dW sums its gradient up."""
    if bias is None or x.ndim < 2 or bias.dtype != x.dtype or bias.shape != weight.shape[:1]:
        return NotImplemented
    rows = rows_of(x)
    y = product(rows, weight.T, None, bias) if weight.ndim == 2 else NotImplemented
    if y is NotImplemented:
        return y

    into = lambda dy, room: gradients(shaped(dy, y.shape), rows, weight, bias, x.shape, room)
    return shaped(y, (*x.shape[:-1], y.shape[1])), Joint(into)


def gradients(
    dy: Array, rows: Array, weight: Array, bias: Array, shape: tuple[int, ...], room: Room
) -> tuple[Any, ...]:
    """Those of rows W^T + b, the first in `shape`: the product for dW sums up that of the bias."""
    summed: list[Array] = []

    def by_weight(out: Array | None) -> Array:
        sums = loader.room(room.get(2), bias)
        made = product(dy.T, rows, out, sums=sums, total=room.sums.get(1))
        if made is NotImplemented:
            return gradient_of_weight(dy, rows, out, room.sums.get(1))
        summed.append(sums)
        return made

    return (
        lambda out: gradient_of_input(dy, weight, shape, room),
        by_weight,
        lambda out: summed.pop() if summed else arrays.sum_rows(dy, out),
    )


def gradient_of_input(dy: Array, weight: Array, shape: tuple[int, ...], room: Room) -> Array:
    """dy W, through the gate of the input where it has one."""
    gate = room.gates.get(0)
    if gate is not None:
        made = product(dy, weight, aux=gate.mask)
        if made is not NotImplemented:
            gate.passed = shaped(made, shape)
            return gate.passed
    return shaped(multiplied(dy, weight), shape)


def with_relu(rows: Array, weight: Array, bias: Array, recorded: bool) -> tuple[Any, Gate | None]:
    """max(0, rows W^T + b), or NotImplemented; the gate of its gradient, if one is wanted and can be had."""
    if recorded and rows.dtype.itemsize < 8:
        mask = loader.empty(rows, (rows.shape[0], mask_bytes(weight.shape[0])), "uint8")
        y = product(rows, weight.T, None, bias, RELU, mask)
        if y is not NotImplemented:
            return y, Gate(mask)
    return product(rows, weight.T, None, bias, RELU), None


def gradient_of_weight(dy: Array, rows: Array, out: Array | None, total: Array | None) -> Array:
    """dy^T x of rows, added to `total` where there is one and cuBLASLt can."""
    added = NotImplemented if total is None else product(dy.T, rows, total=total)
    return multiplied(dy.T, rows, out) if added is NotImplemented else added


def multiplied(a: Array, b: Array, out: Array | None = None) -> Array:
    """`arrays.matmul` inside of an op, which has looked at its arguments."""
    made: Any = product(a, b, out)
    return arrays.matmul(a, b, out) if made is NotImplemented else made


def shaped(a: Array, shape: tuple[int, ...]) -> Array:
    """a in another shape; a itself, no view of it, where it has that: a leaf adopts a gradient of its own."""
    return a if a.shape == shape else namespace(a).reshape(a, shape)


def rows_of(x: Array) -> Array:
    """x, and every axis but the last as one."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
