"""cuSOLVER and the factorizations of cuBLAS: SciPy's LAPACK, on column-major matrices in device memory.

A function has the name that device/lapack.h calls, and its words as arguments: sizes and addresses.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .blas import dtype_of, matrices

LAUNCH_FAILED = 719
UPPER = 1  # of cublasFillMode_t


@functools.cache
def _routine(name: str, dtype: np.dtype) -> Callable[..., Any]:
    """LAPACK's routine for the dtype; `name` is "real/complex" where the two are called differently."""
    import scipy.linalg  # the extra `test` has it; only who factorizes needs it

    name = name.split("/")[-1 if dtype.kind == "c" else 0]
    find = scipy.linalg.get_blas_funcs if name == "trsm" else scipy.linalg.get_lapack_funcs
    return find(name, dtype=dtype)


def _matrix(address: int, dtype: np.dtype, rows: int, columns: int, ld: int) -> np.ndarray:
    return matrices(address, dtype, 1, rows, columns, ld, 0)[0]


def _vector(address: int, dtype: Any, n: int) -> np.ndarray:
    return matrices(address, np.dtype(dtype), 1, n, 1, max(n, 1), 0)[0, :, 0]


def _ints(address: int, n: int) -> np.ndarray:
    return _vector(address, np.int32, n)


def _addresses(table: int, batch: int) -> list[int]:
    return _vector(table, np.uint64, batch).tolist()


def _real(dtype: np.dtype) -> np.dtype:
    return np.zeros(0, dtype).real.dtype


def _lu(a: np.ndarray, pivots: np.ndarray) -> int:
    if not a.size:
        return 0
    a[...], found, error = _routine("getrf", a.dtype)(a)
    pivots[...] = found + 1
    return error


def getrf(dtype: np.dtype, m: int, n: int, a: int, lda: int, pivots: int, info: int) -> None:
    """P A = L U in place."""
    _ints(info, 1)[0] = _lu(_matrix(a, dtype, m, n, lda), _ints(pivots, min(m, n)))


def getrfBatched(dtype: np.dtype, n: int, a: int, lda: int, pivots: int, info: int, batch: int) -> None:
    p, errors = _ints(pivots, batch * n).reshape(batch, n), _ints(info, batch)
    for i, address in enumerate(_addresses(a, batch)):
        errors[i] = _lu(_matrix(address, dtype, n, n, lda), p[i])


def _lu_solve(a: np.ndarray, pivots: np.ndarray, b: np.ndarray, op: int) -> None:
    if b.size:
        b[...] = _routine("getrs", a.dtype)(a, pivots - 1, b, trans=op)[0]


def getrs(
    dtype: np.dtype, op: int, n: int, columns: int, a: int, lda: int, pivots: int, b: int, ldb: int, info: int
) -> None:
    """op(A) X = B in place, from A's LU."""
    _lu_solve(_matrix(a, dtype, n, n, lda), _ints(pivots, n), _matrix(b, dtype, n, columns, ldb), op)
    _ints(info, 1)[0] = 0


def getrsBatched(
    dtype: np.dtype,
    op: int,
    n: int,
    columns: int,
    a: int,
    lda: int,
    pivots: int,
    b: int,
    ldb: int,
    batch: int,
) -> None:
    p = _ints(pivots, batch * n).reshape(batch, n)
    for i, (x, y) in enumerate(zip(_addresses(a, batch), _addresses(b, batch), strict=True)):
        _lu_solve(_matrix(x, dtype, n, n, lda), p[i], _matrix(y, dtype, n, columns, ldb), op)


def getriBatched(
    dtype: np.dtype, n: int, a: int, lda: int, pivots: int, c: int, ldc: int, info: int, batch: int
) -> None:
    """C = A^-1 from A's LU; info tells the first zero of U's diagonal."""
    p, errors = _ints(pivots, batch * n).reshape(batch, n), _ints(info, batch)
    for i, (x, y) in enumerate(zip(_addresses(a, batch), _addresses(c, batch), strict=True)):
        if n:
            inverse, errors[i] = _routine("getri", dtype)(_matrix(x, dtype, n, n, lda), p[i] - 1)
            _matrix(y, dtype, n, n, ldc)[...] = inverse
        else:
            errors[i] = 0


def _cholesky(a: np.ndarray, part: int) -> int:
    if not a.size:
        return 0
    a[...], error = _routine("potrf", a.dtype)(a, lower=part != UPPER, clean=0)
    return error


def potrf(dtype: np.dtype, part: int, n: int, a: int, lda: int, info: int) -> None:
    """A = L L^H or U^H U in the named triangle; the other one is left as it is."""
    _ints(info, 1)[0] = _cholesky(_matrix(a, dtype, n, n, lda), part)


def potrfBatched(dtype: np.dtype, part: int, n: int, a: int, lda: int, info: int, batch: int) -> None:
    errors = _ints(info, batch)
    for i, address in enumerate(_addresses(a, batch)):
        errors[i] = _cholesky(_matrix(address, dtype, n, n, lda), part)


def potrs(
    dtype: np.dtype, part: int, n: int, columns: int, a: int, lda: int, b: int, ldb: int, info: int
) -> None:
    """A X = B in place, from A's Cholesky factor."""
    x = _matrix(b, dtype, n, columns, ldb)
    if x.size:
        x[...] = _routine("potrs", dtype)(_matrix(a, dtype, n, n, lda), x, lower=part != UPPER)[0]
    _ints(info, 1)[0] = 0


def potrsBatched(
    dtype: np.dtype, part: int, n: int, a: int, lda: int, b: int, ldb: int, info: int, batch: int
) -> None:
    _ints(info, 1)[0] = 0
    for x, y in zip(_addresses(a, batch), _addresses(b, batch), strict=True):
        potrs(dtype, part, n, 1, x, lda, y, ldb, info)


def geqrf(dtype: np.dtype, m: int, n: int, a: int, lda: int, tau: int, info: int) -> None:
    """A = Q R in place: R above, below the reflections whose scales are tau."""
    x = _matrix(a, dtype, m, n, lda)
    _ints(info, 1)[0] = 0
    if x.size:
        x[...], _vector(tau, dtype, min(m, n))[...], _, _ints(info, 1)[0] = _routine("geqrf", dtype)(x)


def orgqr(dtype: np.dtype, m: int, n: int, k: int, a: int, lda: int, tau: int, info: int) -> None:
    """The first n columns of Q in place of its k reflections."""
    x = _matrix(a, dtype, m, n, lda)
    _ints(info, 1)[0] = 0
    if x.size and k:
        x[...], _, _ints(info, 1)[0] = _routine("orgqr/ungqr", dtype)(x, _vector(tau, dtype, k))
    elif x.size:
        x[...] = np.eye(m, n)


def ormqr(
    dtype: np.dtype,
    side: int,
    op: int,
    m: int,
    n: int,
    k: int,
    a: int,
    lda: int,
    tau: int,
    c: int,
    ldc: int,
    info: int,
) -> None:
    """C = op(Q) C or C op(Q)."""
    y = _matrix(c, dtype, m, n, ldc)
    _ints(info, 1)[0] = 0
    if y.size and k:
        reflections = _matrix(a, dtype, n if side else m, k, lda)
        y[...], _, _ints(info, 1)[0] = _routine("ormqr/unmqr", dtype)(
            b"LR"[side : side + 1],
            b"NTC"[op : op + 1],
            reflections,
            _vector(tau, dtype, k),
            y,
            64 * max(m, n),
        )


def trsm(
    dtype: np.dtype,
    side: int,
    part: int,
    op: int,
    unit: int,
    m: int,
    n: int,
    alpha_low: int,
    alpha_high: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
) -> None:
    """op(A) X = alpha B or X op(A) = alpha B in place, A a triangle; alpha comes as its 16 bytes."""
    x = _matrix(b, dtype, m, n, ldb)
    alpha = np.array([alpha_low, alpha_high]).view(dtype)[0]
    if x.size:
        triangle = _matrix(a, dtype, n if side else m, n if side else m, lda)
        x[...] = _routine("trsm", dtype)(
            alpha, triangle, x, side=side, lower=part != UPPER, trans_a=op, diag=unit
        )


def _svd(a: np.ndarray, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """A = U diag(S) V^H; A's memory is scratch, so that who reads it afterwards finds NaN."""
    m, n = a.shape
    if not a.size:
        k = min(m, n)
        u, v = (np.eye(s, s if full else k, dtype=a.dtype) for s in (m, n))
        return u, np.zeros(k, _real(a.dtype)), v.T, 0
    result = _routine("gesvd", a.dtype)(a, compute_uv=1, full_matrices=int(full))
    a[...] = np.nan
    return result


def gesvd(
    dtype: np.dtype,
    left: int,
    right: int,
    m: int,
    n: int,
    a: int,
    lda: int,
    s: int,
    u: int,
    ldu: int,
    v: int,
    ldv: int,
    info: int,
) -> None:
    """What is asked for is a letter each: All, the first min(m, n), those Over A, None."""
    x = _matrix(a, dtype, m, n, lda)
    k = min(m, n)
    left, right = chr(left), chr(right)
    U, _vector(s, _real(dtype), k)[...], V, _ints(info, 1)[0] = _svd(x, "A" in (left, right))
    if left in "AS":
        _matrix(u, dtype, m, m if left == "A" else k, ldu)[...] = U if left == "A" else U[:, :k]
    elif left == "O":
        x[:, :k] = U[:, :k]
    if right in "AS":
        _matrix(v, dtype, n if right == "A" else k, n, ldv)[...] = V if right == "A" else V[:k]
    elif right == "O":
        x[:k] = V[:k]


def gesvdj(
    dtype: np.dtype,
    vectors: int,
    thin: int,
    m: int,
    n: int,
    a: int,
    lda: int,
    s: int,
    u: int,
    ldu: int,
    v: int,
    ldv: int,
    info: int,
) -> None:
    """V is not transposed."""
    k = min(m, n)
    U, _vector(s, _real(dtype), k)[...], V, _ints(info, 1)[0] = _svd(_matrix(a, dtype, m, n, lda), not thin)
    if vectors:
        _matrix(u, dtype, *U.shape, ldu)[...] = U
        _matrix(v, dtype, *V.T.shape, ldv)[...] = V.conj().T


def gesvdjBatched(
    dtype: np.dtype,
    vectors: int,
    m: int,
    n: int,
    a: int,
    lda: int,
    s: int,
    u: int,
    ldu: int,
    v: int,
    ldv: int,
    info: int,
    batch: int,
) -> None:
    size, real = dtype.itemsize, _real(dtype).itemsize
    for i in range(batch):
        gesvdj(
            dtype,
            vectors,
            0,
            m,
            n,
            a + i * lda * n * size,
            lda,
            s + i * min(m, n) * real,
            u + i * ldu * m * size,
            ldu,
            v + i * ldv * n * size,
            ldv,
            info + 4 * i,
        )


def gesvda(
    dtype: np.dtype,
    vectors: int,
    rank: int,
    m: int,
    n: int,
    a: int,
    lda: int,
    stride_a: int,
    s: int,
    stride_s: int,
    u: int,
    ldu: int,
    stride_u: int,
    v: int,
    ldv: int,
    stride_v: int,
    info: int,
    residuals: int,
    batch: int,
) -> None:
    """The first `rank` singular values and vectors, and ||A - U S V^H|| of each of the batch."""
    x = matrices(a, dtype, batch, m, n, lda, stride_a)
    S = matrices(s, _real(dtype), batch, rank, 1, max(rank, 1), stride_s)
    left = np.zeros(batch) if not residuals else _vector(residuals, np.float64, batch)
    for i in range(batch):
        before = x[i].copy()
        U, values, V, _ints(info, batch)[i] = _svd(x[i], False)
        S[i, :, 0] = values[:rank]
        left[i] = np.linalg.norm(before - (U[:, :rank] * values[:rank]) @ V[:rank])
        if vectors:
            matrices(u, dtype, batch, m, rank, ldu, stride_u)[i] = U[:, :rank]
            matrices(v, dtype, batch, n, rank, ldv, stride_v)[i] = V[:rank].conj().T


def syevd(
    dtype: np.dtype, vectors: int, part: int, n: int, a: int, lda: int, w: int, info: int, batch: int
) -> None:
    """Eigenvalues in ascending order, eigenvectors in place of A; of A only the named triangle is read."""
    x = matrices(a, dtype, batch, n, n, lda, lda * n)
    values, errors = _vector(w, _real(dtype), batch * n).reshape(batch, n), _ints(info, batch)
    errors[...] = 0
    if n:
        for i in range(batch):
            values[i], found, errors[i] = _routine("syevd/heevd", dtype)(x[i], vectors, part != UPPER)
            x[i] = found if vectors else np.nan


def geev(
    dtype: np.dtype, vectors: int, n: int, a: int, lda: int, w: int, v: int, ldv: int, info: int
) -> None:
    """Eigenvalues; the eigenvectors of a real matrix are real pairs, as in LAPACK."""
    _ints(info, 1)[0] = 0
    if not n:
        return
    x = _matrix(a, dtype, n, n, lda)
    *values, _, found, error = _routine("geev", dtype)(x, 0, int(vectors))
    x[...] = np.nan
    w_dtype = np.result_type(dtype, np.complex64)
    _vector(w, w_dtype, n)[...] = values[0] if len(values) == 1 else values[0] + 1j * values[1]
    if vectors:
        _matrix(v, dtype, n, n, ldv)[...] = found
    _ints(info, 1)[0] = error


def install(library: ctypes.CDLL) -> None:
    """Let the library's cuSOLVER call these functions."""

    @ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int
    )
    def callback(name: bytes, code: int, words: Any, count: int) -> int:
        try:
            with np.errstate(all="ignore"):
                globals()[name.decode()](dtype_of(code), *words[:count])
            return 0
        except Exception as error:
            print(f"cpucuda: {name.decode()}: {error!r}", file=sys.stderr)
            return LAUNCH_FAILED

    install.keep = callback
    library.cpucuda_set_lapack(callback)
