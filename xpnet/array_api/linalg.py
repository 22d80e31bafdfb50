"""Linear algebra: of the main namespace, and the extension. Derivatives: `core.factorizations`."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from xpnet.array_api.elementwise import promoted
from xpnet.array_api.function import Function, constant, derived
from xpnet.array_api.statistical import axes_of, flat_at_zero
from xpnet.core import factorizations as ops
from xpnet.core import operators
from xpnet.core.elementwise import absolute
from xpnet.core.operators import getitem, matmul, reshape, transpose
from xpnet.core.places import device, namespace
from xpnet.core.shapes import conj
from xpnet.core.structure import concat, roll

CHAPTER = "linear algebra"
EighResult = namedtuple("EighResult", ("eigenvalues", "eigenvectors"))
QRResult = namedtuple("QRResult", ("Q", "R"))
SlogdetResult = namedtuple("SlogdetResult", ("sign", "logabsdet"))
SVDResult = namedtuple("SVDResult", ("U", "S", "Vh"))


@derived("matmul", CHAPTER, "The matrix product.", "dy x2^H and x1^H dy")
def _matmul(x1: Any, x2: Any, /) -> Any:
    """Product."""
    return matmul(*promoted(x1, x2))


@derived("matrix_transpose", CHAPTER, "The last two axes exchanged.", "dy, transposed", views=True)
def matrix_transpose(x: Any, /) -> Any:
    """Transpose."""
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@derived(
    "tensordot", CHAPTER, "The sum of products over `axes` of both.", "the contraction of dy with the other"
)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """A matrix product of the axes that stay by those that are summed."""
    x1, x2 = promoted(x1, x2)
    if isinstance(axes, int):
        left, right = tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    else:
        left, right = (tuple(a % x.ndim for a in ax) for ax, x in zip(axes, (x1, x2), strict=True))
    rows = tuple(i for i in range(x1.ndim) if i not in left)
    columns = tuple(i for i in range(x2.ndim) if i not in right)
    n = math.prod(x1.shape[i] for i in left)
    a = reshape(transpose(x1, rows + left), (math.prod(x1.shape[i] for i in rows), n))
    b = reshape(transpose(x2, right + columns), (n, math.prod(x2.shape[i] for i in columns)))
    shape = (*(x1.shape[i] for i in rows), *(x2.shape[i] for i in columns))
    return reshape(matmul(a, b), shape)


@derived("vecdot", CHAPTER, "The sum of conj(x1) x2 along `axis`.", "conj(dy) x2 and dy x1")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Inner products."""
    x1, x2 = promoted(x1, x2)
    return operators.sum(operators.multiply(conj(x1), x2), axis)


@derived("linalg.cholesky", CHAPTER, "The factor L of X = L L^H, or its transpose.", "Murray, 2016")
def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """Cholesky."""
    y = ops.cholesky(x)
    return conj(matrix_transpose(y)) if upper else y


@derived("linalg.cross", CHAPTER, "The cross product of vectors of 3 elements.", "x2 x dy and dy x x1")
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Cross product."""
    x1, x2 = promoted(x1, x2)
    turn = lambda x, k: roll(x, -k, axis)
    return turn(x1, 1) * turn(x2, 2) - turn(x1, 2) * turn(x2, 1)


@derived("linalg.det", CHAPTER, "The determinant.", "dy det(X) X^-H")
def det(x: Any, /) -> Any:
    """Determinant."""
    return ops.det(x)


@derived(
    "linalg.diagonal",
    CHAPTER,
    "The diagonal `offset` of the last two axes.",
    "dy on that diagonal",
    views=True,
)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """Diagonal."""
    return ops.diagonal(x, offset)


@derived("linalg.eigh", CHAPTER, "Eigenvalues and eigenvectors of a symmetric matrix.", "Giles, 2008")
def eigh(x: Any, /) -> Any:
    """Eigenvalues and vectors."""
    both = ops.eigh(x)
    w = getitem(both, (..., 0, slice(None)))
    if "complex" in str(w.dtype):
        w = namespace(w).real(w)
    return EighResult(w, getitem(both, (..., slice(1, None), slice(None))))


@derived("linalg.eigvalsh", CHAPTER, "Eigenvalues of a symmetric matrix.", "V diag(dw) V^H")
def eigvalsh(x: Any, /) -> Any:
    """Eigenvalues."""
    return ops.eigvalsh(x)


@derived("linalg.inv", CHAPTER, "The inverse.", "-Y^H dY Y^H")
def inv(x: Any, /) -> Any:
    """Inverse."""
    return ops.inv(x)


@derived(
    "linalg.matrix_power", CHAPTER, "The product of n times x; negative n: of its inverse.", "of the product"
)
def matrix_power(x: Any, n: int, /) -> Any:
    """By squaring."""
    if n < 0:
        x, n = ops.inv(x), -n
    if n == 0:
        return x * 0 + namespace(x.data).eye(x.shape[-1], dtype=x.dtype, device=device(x.data))
    y: Any = None
    while n:
        if n % 2:
            y = x if y is None else matmul(y, x)
        n //= 2
        x = matmul(x, x) if n else x
    return y


@derived("linalg.outer", CHAPTER, "All products of elements of two vectors.", "dy x2 and x1 dy")
def outer(x1: Any, x2: Any, /) -> Any:
    """Outer product."""
    x1, x2 = promoted(x1, x2)
    return operators.multiply(reshape(x1, (-1, 1)), reshape(x2, (1, -1)))


@derived("linalg.pinv", CHAPTER, "The pseudo-inverse.", "Golub & Pereyra, 1973; for constant rank")
def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """Pseudo-inverse."""
    return ops.pinv(x, rtol)


@derived("linalg.qr", CHAPTER, "X = Q R.", "Q and R are cut from one op; mode 'reduced' only")
def qr(x: Any, /, *, mode: str = "reduced") -> Any:
    """QR."""
    m, n = x.shape[-2:]
    if mode != "reduced" and m > n:
        raise ValueError(
            "qr: the derivative needs mode='reduced': other columns of Q are not determined by x"
        )
    if m >= n:
        both = ops.qr(x)
        q = conj(matrix_transpose(getitem(both, (..., slice(0, m)))))
        return QRResult(q, getitem(both, (..., slice(m, None))))
    q, r = qr(getitem(x, (..., slice(0, m))))
    rest = matmul(conj(matrix_transpose(q)), getitem(x, (..., slice(m, None))))
    return QRResult(q, concat(r, rest, axis=-1))


@derived(
    "linalg.slogdet",
    CHAPTER,
    "The sign of the determinant, and the log of its size.",
    "0 (complex: i Im(dy) X^-H) and dy X^-H",
)
def slogdet(x: Any, /) -> Any:
    """Sign and logarithm."""
    return SlogdetResult(ops.sign_of_det(x), ops.logabsdet(x))


@derived(
    "linalg.solve", CHAPTER, "The solution of x1 y = x2.", "x1^-H dy for x2, and minus its product with y^H"
)
def solve(x1: Any, x2: Any, /) -> Any:
    """Solve."""
    return ops.solve(*promoted(x1, x2))


@derived(
    "linalg.svd",
    CHAPTER,
    "X = U diag(S) Vh.",
    "Townsend, 2016 (complex: Wan & Zhang, 2019); with full_matrices=False",
)
def svd(x: Any, /, *, full_matrices: bool = True) -> Any:
    """Singular values and vectors."""
    m, n = x.shape[-2:]
    if full_matrices and m != n:
        raise ValueError(
            "svd: the derivative needs full_matrices=False: the other vectors are not determined by x"
        )
    parts = ops.svd(x)
    u, s = getitem(parts, (..., slice(0, m), slice(None))), getitem(parts, (..., m, slice(None)))
    s = namespace(s).real(s) if "complex" in str(s.dtype) else s
    return SVDResult(u, s, conj(matrix_transpose(getitem(parts, (..., slice(m + 1, None), slice(None))))))


@derived("linalg.svdvals", CHAPTER, "The singular values, largest first.", "U diag(ds) Vh")
def svdvals(x: Any, /) -> Any:
    """Singular values."""
    return ops.svdvals(x)


@derived("linalg.trace", CHAPTER, "The sum of the diagonal `offset`.", "dy on that diagonal")
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Trace."""
    d = diagonal(x, offset=offset)
    return operators.sum(d if dtype is None else operators.astype(d, dtype), -1)


@derived(
    "linalg.vector_norm",
    CHAPTER,
    "The norm of order `ord` over `axis`.",
    "x |x|^(ord - 2) / y^(ord - 1), 0 at 0",
)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Vector norm."""
    axes = axes_of(x, axis)
    a = absolute(x)
    if ord == 2:
        return flat_at_zero(operators.sqrt, operators.sum(a * a, axes, keepdims))
    if ord == 1:
        return operators.sum(a, axes, keepdims)
    if ord in (math.inf, -math.inf):
        return (operators.max if ord > 0 else operators.min)(a, axes, keepdims)
    if ord == 0:
        return operators.sum(operators.astype(a.detach() != 0, x.dtype), axes, keepdims)
    if ord < 0:
        return operators.sum(a**ord, axes, keepdims) ** (1 / ord)
    powers = flat_at_zero(lambda v: v**ord, a)
    return flat_at_zero(lambda v: v ** (1 / ord), operators.sum(powers, axes, keepdims))


@derived(
    "linalg.matrix_norm", CHAPTER, "The norm of order `ord` of the last two axes.", "that of its formula"
)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Matrix norm."""
    axes = (x.ndim - 2, x.ndim - 1)
    if ord == "fro":
        return vector_norm(x, axis=axes, keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        s = ops.svdvals(x)
        y = (operators.sum if ord == "nuc" else operators.max if ord == 2 else operators.min)(s, -1)
    else:
        sums = operators.sum(absolute(x), axes[0] if abs(ord) == 1 else axes[1])
        y = (operators.max if ord > 0 else operators.min)(sums, -1)
    return reshape(y, (*y.shape, 1, 1)) if keepdims else y


MAIN: dict[str, Function] = {f.__name__: f for f in (_matmul, matrix_transpose, tensordot, vecdot)}
EXTENSION: dict[str, Function] = {
    **MAIN,
    **{
        f.__name__: f
        for f in (
            cholesky, cross, det, diagonal, eigh, eigvalsh, inv, matrix_norm, matrix_power, outer, pinv, qr,
            slogdet, solve, svd, svdvals, trace, vector_norm,
        )
    },
    "matrix_rank": constant(
        "linalg.matrix_rank", CHAPTER, "How many singular values are above `rtol` of the largest.",
        "x, /, *, rtol=None",
    ),
}  # fmt: skip
