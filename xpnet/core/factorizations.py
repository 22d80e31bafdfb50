"""Ops of linear algebra: what the backend factorises, and the derivative of each factorisation.

Giles, 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation";
Murray, 2016, "Differentiation of the Cholesky decomposition"; Townsend, 2016, "Differentiating the singular
value decomposition"; Golub & Pereyra, 1973 (pseudo-inverse). An op has one result: factors come as the rows
of one array, and `xpnet.array_api.linalg` cuts them apart.
"""

from __future__ import annotations

from typing import Any

from xpnet.core.arrays import COMPLEX, arange, carries_gradients, kind, scatter_add
from xpnet.core.backend import Array
from xpnet.core.elementwise import numbers
from xpnet.core.node import Pullback
from xpnet.core.op import differentiable
from xpnet.core.places import device, namespace
from xpnet.core.shapes import conj, unbroadcast

Result = tuple[Array, Pullback]


def adjoint(x: Array) -> Array:
    """The conjugate transpose of the last two axes."""
    return conj(namespace(x).matrix_transpose(x))


def _diagonal(x: Array, d: Array) -> Array:
    """x with its columns multiplied by the rows of d: x diag(d)."""
    return x * namespace(d).expand_dims(d, axis=-2)


def _eye(x: Array, n: int) -> Array:
    return namespace(x).eye(n, dtype=x.dtype, device=device(x))


@differentiable(forward="linear", views=True)
def diagonal(x: Array, offset: int = 0) -> Result:
    """The diagonal `offset` of the last two axes; its transpose puts it back among zeros."""
    xp = namespace(x)
    y = xp.linalg.diagonal(x, offset=offset)

    def pullback(dy: Array) -> Array:
        places = arange(dy.shape[-1], dy.data if carries_gradients(dy) else dy)
        index = (*(slice(None),) * (x.ndim - 2), places + max(-offset, 0), places + max(offset, 0))
        return scatter_add(tuple(x.shape), index, dy)

    return y, pullback


@differentiable(forward="transposed")
def inv(x: Array) -> Result:
    """X^-1; dX = -Y^H dY Y^H."""
    y = namespace(numbers("inv", x)).linalg.inv(x)
    return y, lambda dy: -(adjoint(y) @ dy @ adjoint(y))


@differentiable(forward="transposed")
def det(x: Array) -> Result:
    """The determinant; dX = dy adj(X)^H, of singular matrices, too."""
    xp = namespace(numbers("det", x))
    return xp.linalg.det(x), lambda dy: xp.reshape(dy, (*dy.shape, 1, 1)) * adjoint(adjugate(x))


@differentiable(forward="transposed")
def adjugate(x: Array) -> Result:
    """adj(X) = det(X) X^-1; with X = U diag(s) V^H it is det(U V^H) V diag(prod of the other s) U^H."""
    xp = namespace(numbers("det", x))
    pullback = lambda dy: adjoint(adjugate_along(x, adjoint(dy)))  # tr(d adj(X)[A] B) is symmetric in A, B
    if carries_gradients(x):
        return adjugate(x), pullback
    u, s, v, sign = _turned_to_diagonal(x)
    others = xp.where(_eye(s, s.shape[-1]) == 1, xp.ones_like(x), xp.expand_dims(s, axis=-2))
    return sign * _diagonal(v, xp.prod(others, axis=-1, dtype=x.dtype)) @ adjoint(u), pullback


@differentiable(forward="transposed")
def adjugate_along(x: Array, d: Array) -> Result:
    """The derivative of adj(X) along D, tr(X^-1 D) adj(X) - X^-1 D adj(X), of singular matrices, too.

    Of X = U diag(s) V^H and E = U^H D V it is that of adj(diag(s)) along E, turned back: -E_ij times the
    product of all s but s_i and s_j, and on the diagonal the sum of E_jj times these products. Its own
    derivative by X, the third of the determinant, is made with X^-1.
    """

    def by_x(dy: Array) -> Array:  # of det X (tr YA tr YB - tr YAYB) with Y = X^-1, A = D, B = dy^H
        xp = namespace(x, d, dy)
        y = xp.linalg.inv(x)
        ya, yb = y @ d, y @ adjoint(dy)
        trace = lambda z: xp.sum(z * _eye(z, z.shape[-1]), axis=(-2, -1), keepdims=True)
        inner = (trace(ya) * trace(yb) - trace(ya @ yb)) * y
        outer = (trace(yb) * ya + trace(ya) * yb - ya @ yb - yb @ ya) @ y
        return adjoint(xp.reshape(det(x), (*x.shape[:-2], 1, 1)) * (inner - outer))

    def pullback(dy: Array) -> tuple[Any, Any]:
        return lambda out: by_x(dy), lambda out: adjoint(adjugate_along(x, adjoint(dy)))

    if carries_gradients(x) or carries_gradients(d):
        return adjugate_along(x, d), pullback
    xp = namespace(x, d)
    u, s, v, sign = _turned_to_diagonal(x)
    e = adjoint(u) @ d @ v
    products = _without_two(s)
    along = xp.expand_dims(xp.linalg.diagonal(e), axis=-1)
    return sign * v @ (_diagonal(_eye(e, s.shape[-1]), (products @ along)[..., 0]) - products * e) @ adjoint(
        u
    ), pullback


def _turned_to_diagonal(x: Array) -> tuple[Array, Array, Array, Array]:
    """U, s, V and det(U V^H) of X = U diag(s) V^H."""
    xp = namespace(x)
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    sign = xp.reshape(xp.linalg.det(u @ vh), (*x.shape[:-2], 1, 1))
    return u, xp.astype(s, x.dtype, copy=False), adjoint(vh), sign


def _without_two(s: Array) -> Array:
    """(..., n, n): the product of all singular values but those of row and column; 0 on the diagonal."""
    xp, n = namespace(s), s.shape[-1]
    if n < 2:
        return xp.zeros_like(xp.expand_dims(s, axis=-1))
    large, last = s[..., : n - 2], s[..., n - 2 :]  # they fall: where a large one is 0, both of the last are
    by = 1 / xp.where(large == 0, xp.ones_like(large), large)
    row, column = xp.expand_dims(by, axis=-2), xp.expand_dims(by, axis=-1)
    other = xp.flip(last, axis=-1)
    of_two = (column * last[..., :1, None]) * (row * last[..., 1:, None])
    above = xp.concat([of_two, column * xp.expand_dims(other, axis=-2)], axis=-1)
    ones = xp.ones_like(xp.expand_dims(last, axis=-1) * xp.expand_dims(last, axis=-2))
    below = xp.concat([xp.expand_dims(other, axis=-1) * row, ones], axis=-1)
    product = xp.prod(large, axis=-1, keepdims=True, dtype=s.dtype)
    return xp.expand_dims(product, axis=-1) * xp.concat([above, below], axis=-2) * (1 - _eye(s, n))


@differentiable(forward="transposed")
def logabsdet(x: Array) -> Result:
    """log |det X|; dX = dy X^-H."""
    xp = namespace(numbers("slogdet", x))
    y = xp.linalg.slogdet(x)[1]
    each = lambda dy: xp.astype(xp.reshape(dy, (*dy.shape, 1, 1)), x.dtype, copy=False)
    return y, lambda dy: each(dy) * adjoint(xp.linalg.inv(x))


@differentiable(forward="transposed")
def sign_of_det(x: Array) -> Result:
    """det X / |det X|: of real matrices -1 or 1, flat; of complex ones it turns, d arg = Im tr(X^-1 dX)."""
    xp = namespace(numbers("slogdet", x))
    y = xp.linalg.slogdet(x)[0]
    if kind(x) != COMPLEX:
        return y, lambda dy: xp.zeros_like(x)

    def pullback(dy: Array) -> Array:
        turn = xp.imag(conj(y) * dy)
        return 1j * xp.reshape(xp.astype(turn, x.dtype), (*turn.shape, 1, 1)) * adjoint(xp.linalg.inv(x))

    return y, pullback


@differentiable(forward="transposed")
def solve(a: Array, b: Array) -> Result:
    """A^-1 B; dB = A^-H dY, dA = -dB Y^H."""
    xp = namespace(numbers("solve", a), b)
    y = xp.linalg.solve(a, b)
    vector = b.ndim == 1
    # dY for a vector looks like a matrix where A is a stack
    column = lambda z: xp.expand_dims(z, axis=-1) if vector else z

    def pullback(dy: Array) -> tuple[Array, Array]:
        db = xp.linalg.solve(adjoint(a), column(dy))
        da = -(db @ adjoint(column(y)))
        db = xp.squeeze(db, axis=-1) if vector else db
        return unbroadcast(da, a), unbroadcast(db, b)

    return y, pullback


@differentiable(forward="transposed")
def cholesky(x: Array) -> Result:
    """The lower factor L of X = L L^H; dX = sym(L^-H phi(L^H dL) L^-1), phi: lower half, diagonal halved."""
    xp = namespace(numbers("cholesky", x))
    y = xp.linalg.cholesky(x)

    def pullback(dy: Array) -> Array:
        p = xp.tril(adjoint(y) @ dy)
        p = p - 0.5 * p * _eye(p, p.shape[-1])
        inverse = xp.linalg.inv(y)
        s = adjoint(inverse) @ p @ inverse
        return 0.5 * (s + adjoint(s))

    return y, pullback


def _off_diagonal_inverse(difference: Array) -> Array:
    """1 / d off the diagonal, 0 on it."""
    eye = _eye(difference, difference.shape[-1])
    return (1 - eye) / (difference + eye)


@differentiable(forward="transposed")
def eigh(x: Array) -> Result:
    """The eigenvalues, in the first row, and under them the eigenvectors, as columns, of a symmetric matrix.

    dX = V (diag(dw) + (V^H dV) / (w_j - w_i)) V^H: equal eigenvalues leave the vectors undetermined.
    """
    xp = namespace(numbers("eigh", x))
    w, v = xp.linalg.eigh(x)
    w = xp.astype(w, v.dtype, copy=False)

    def pullback(dy: Array) -> Array:
        dw, dv = dy[..., 0, :], dy[..., 1:, :]
        gap = xp.expand_dims(w, axis=-2) - xp.expand_dims(w, axis=-1)
        inner = (adjoint(v) @ dv) * _off_diagonal_inverse(gap)
        found = (_diagonal(v, dw) + v @ inner) @ adjoint(v)
        return 0.5 * (found + adjoint(found))

    return xp.concat([xp.expand_dims(w, axis=-2), v], axis=-2), pullback


@differentiable(forward="transposed")
def eigvalsh(x: Array) -> Result:
    """The eigenvalues of a symmetric matrix; dX = V diag(dw) V^H, whether they differ or not."""
    xp = namespace(numbers("eigvalsh", x))

    def pullback(dy: Array) -> Array:
        v = xp.linalg.eigh(x)[1]
        return _diagonal(v, xp.astype(dy, v.dtype, copy=False)) @ adjoint(v)

    return xp.linalg.eigvalsh(x), pullback


@differentiable(forward="transposed")
def svd(x: Array) -> Result:
    """U, below it the singular values, below them V: (..., m + 1 + n, k), of X = U diag(s) V^H.

    Of complex X the vectors are determined up to a factor e^(i phi), the same for both of a pair: the
    gradient is that of functions which do not depend on it.
    """
    xp = namespace(numbers("svd", x))
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    m, v, s = x.shape[-2], adjoint(vh), xp.astype(s, u.dtype, copy=False)

    def pullback(dy: Array) -> Array:
        du, ds, dv = dy[..., :m, :], dy[..., m, :], dy[..., m + 1 :, :]
        row, column = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
        f = _off_diagonal_inverse((row - column) * (row + column))
        skew = lambda a, da: (lambda p: f * (p - adjoint(p)))(adjoint(a) @ da)
        rest = lambda a, da: da - a @ (adjoint(a) @ da)  # what is orthogonal to the columns of a
        inner = skew(u, du) * row + column * skew(v, dv)
        if kind(x) == COMPLEX:
            own = adjoint(u) @ du
            inner = inner + 0.5 * (own - adjoint(own)) * _eye(own, own.shape[-1]) / row
        found = (u @ inner + _diagonal(u, ds)) @ vh
        found = found + rest(u, du) / row @ vh
        return found + u @ adjoint(rest(v, dv) / row)

    return xp.concat([u, xp.expand_dims(s, axis=-2), v], axis=-2), pullback


@differentiable(forward="transposed")
def svdvals(x: Array) -> Result:
    """The singular values; dX = U diag(ds) V^H."""
    xp = namespace(numbers("svdvals", x))

    def pullback(dy: Array) -> Array:
        u, _, vh = xp.linalg.svd(x, full_matrices=False)
        return _diagonal(u, xp.astype(dy, u.dtype, copy=False)) @ vh

    return xp.linalg.svdvals(x), pullback


@differentiable(forward="transposed")
def qr(x: Array) -> Result:
    """Q^H and R side by side: (..., n, m + n), of X = Q R with at least as many rows as columns."""
    xp = namespace(numbers("qr", x))
    q, r = xp.linalg.qr(x)
    m = x.shape[-2]

    def pullback(dy: Array) -> Array:
        dq, dr = adjoint(dy[..., :m]), dy[..., m:]
        inner = xp.triu(r) @ adjoint(xp.triu(dr)) - adjoint(dq) @ q
        symmetric = xp.tril(inner) + adjoint(xp.tril(inner, k=-1))
        return adjoint(xp.linalg.solve(r, adjoint(dq + q @ symmetric)))

    return xp.concat([adjoint(q), r], axis=-1), pullback


@differentiable(forward="transposed")
def pinv(x: Array, rtol: Any = None) -> Result:
    """The pseudo-inverse P of a matrix whose rank does not change nearby."""
    xp = namespace(numbers("pinv", x))
    p = xp.linalg.pinv(x) if rtol is None else xp.linalg.pinv(x, rtol=rtol)

    def pullback(dy: Array) -> Array:
        h, g = adjoint(p), adjoint(dy)
        left = lambda z: z - x @ (p @ z)
        right = lambda z: z - (z @ p) @ x
        return -(h @ dy @ h) + left(g) @ p @ h + right(h @ p @ g)

    return p, pullback


@differentiable(forward="linear")
def dft(x: Array, inverse: bool = False, axis: int = -1, norm: str = "backward") -> Result:
    """The discrete Fourier transform of complex numbers; its transpose is the inverse without its factor."""
    xp = namespace(numbers("fft", x))
    run = lambda z, back, scale: getattr(xp.fft, "ifft" if back else "fft")(z, axis=axis, norm=scale)
    other = {"backward": "forward", "forward": "backward", "ortho": "ortho"}[norm]
    return run(x, inverse, norm), lambda dy: run(dy, not inverse, other)
