"""The error function, elementwise, where a backend has none."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.core.backend import Array
from xpnet.core.places import namespace
from xpnet.core.recording import by_values

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): numerator and
# denominator, highest power first, on |x| <= 0.46875 and above.
_ERF = (
    (
        1.85777706184603153e-1,
        3.16112374387056560,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_ERFC = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    y = coefficients[0] * x
    for c in coefficients[1:-1]:
        y = (y + c) * x
    return y + coefficients[-1]


# Eigen's for float32: x P(x^2) / Q(x^2), up to where erf is 1
_SINGLE = (
    (
        -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
        -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
    ),
    (
        -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
        -1.42647390514189e-02,
    ),
)  # fmt: skip
_END = 4.0
_PIECE = 1 << 14  # elements whose temporaries stay in the cache


def by_polynomials(x: Array) -> Array:
    """erf to within a few ulp of float64 (Cody, 1969)."""
    xp = namespace(x)
    a = xp.abs(x)
    small = xp.where(a <= 0.46875, x, xp.zeros_like(x))
    large = xp.clip(a, 0.46875, 6.0)
    near = small * (_horner(_ERF[0], small * small) / _horner(_ERF[1], small * small))
    # Cody's range for 0.46875 to 4 serves up to 6, where erf is 1 in float64
    far = xp.sign(x) * (1 - xp.exp(-large * large) * (_horner(_ERFC[0], large) / _horner(_ERFC[1], large)))
    return xp.where(a <= 0.46875, near, far)


@by_values
def of_numpy(x: Any) -> Any:
    """erf piece by piece; of float32 to within a few ulp of that."""
    y = np.empty(x.shape, x.dtype)
    flat, out = np.ascontiguousarray(x).reshape(-1), y.reshape(-1)
    of_piece = _single if x.dtype == np.float32 else by_polynomials
    for start in range(0, flat.size, _PIECE):
        out[start : start + _PIECE] = of_piece(flat[start : start + _PIECE])
    return y


def _single(x: Any) -> Any:
    z = np.clip(x, -_END, _END)
    square = z * z
    above, below = (_in_place(coefficients, square) for coefficients in _SINGLE)
    above *= z
    above /= below
    return np.clip(above, -1, 1, out=above)


def _in_place(coefficients: tuple[float, ...], x: Any) -> Any:
    """The polynomial, highest power first."""
    y = x * np.float32(coefficients[0])
    for c in coefficients[1:-1]:
        y += np.float32(c)
        y *= x
    y += np.float32(coefficients[-1])
    return y
