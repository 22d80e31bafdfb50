"""Polynomials of order 1, 3 and 5 fitted to many noisy samples of one function: bias and variance."""

import numpy as np

from xpnet import asarray, init, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

ORDERS, POINTS, SETS, SIGMA = (1, 3, 5), 12, 500, 0.4
X = np.linspace(-1, 1, POINTS)
GRID = np.linspace(-1, 1, 101)


def truth(x):
    return np.sin(np.pi * x) + 0.5 * x  # odd: no polynomial of finite order is exact


def features(x, order):
    """Legendre polynomials: the powers of x span the same space but are badly conditioned."""
    return np.polynomial.legendre.legvander(x, order)


def fit_all(y, order):
    """Least squares for all data sets at once, by gradient descent: (sets, order + 1) coefficients."""
    phi = features(X, order)
    largest = float(np.linalg.eigvalsh(phi.T @ phi * 2 / POINTS).max())
    x, w = asarray(phi, "float32"), tensor(init.zeros((SETS, order + 1)), requires_grad=True)
    for _ in range(600):
        w.grad = None
        (F.mse_loss(F.linear(x, w), y) * SETS).backward()  # the mean is over all sets
        w.data = w.data - 1 / largest * w.grad
    return to_numpy(w).astype(np.float64)


@experiment("S2", "bias and variance of polynomials of order 1, 3 and 5")
def run() -> Result:
    noise = to_numpy(init.normal((POINTS, SETS), std=SIGMA))
    y = asarray(truth(X)[:, None] + noise, "float32")
    rows, fits, checks = [], {}, []
    for order in ORDERS:
        # core
        fits[order] = fit_all(y, order) @ features(GRID, order).T  # (sets, grid)
        bias2 = np.mean((fits[order].mean(axis=0) - truth(GRID)) ** 2)
        variance = fits[order].var(axis=0).mean()
        test = truth(GRID) + to_numpy(init.normal((SETS, len(GRID)), std=SIGMA))
        error = np.mean((fits[order] - test) ** 2)
        # end of core
        # the fit is linear in y: its mean is the fit to the truth, its covariance sigma^2 (P^T P)^-1
        phi, at_grid = features(X, order), features(GRID, order)
        inverse = np.linalg.inv(phi.T @ phi)
        exact_bias2 = np.mean((at_grid @ inverse @ phi.T @ truth(X) - truth(GRID)) ** 2)
        exact_variance = SIGMA**2 * np.mean(((at_grid @ inverse) * at_grid).sum(axis=1))
        rows.append([order, bias2, variance, bias2 + variance + SIGMA**2, error])
        checks += [
            # the mean of 500 fits still has 1/500 of their variance
            Check(
                f"squared bias, order {order}",
                bias2,
                exact=exact_bias2 + exact_variance / SETS,
                atol=1e-4,
                rtol=0.05,
            ),
            Check(f"variance, order {order}", variance, exact=exact_variance, rtol=0.1),
            Check(
                f"error on new data, order {order}: bias^2 + variance + noise",
                error,
                deck=exact_bias2 + exact_variance,
                exact=exact_bias2 + exact_variance + SIGMA**2,
                rtol=0.05,
                kind="reading",
                slip=f"the noise of the new data, {SIGMA**2:.2g}, is left out: the sum is the error against "
                "the true function",
            ),
        ]

    def draw(figure):
        for axis, order in zip(figure.subplots(1, 3, sharey=True), ORDERS, strict=True):
            axis.plot(GRID, fits[order][:30].T, color="C0", alpha=0.25)
            axis.plot(GRID, fits[order].mean(axis=0), color="C3", label="mean fit")
            axis.plot(GRID, truth(GRID), "k--", label="truth")
            axis.set(title=f"order {order}", ylim=(-2.5, 2.5), xlabel="x")
        figure.axes[0].set_ylabel("y")
        axis.legend(fontsize="small")

    return Result(
        "Order 1 cannot follow the function (bias), order 5 follows the noise of each data set (variance), "
        "order 3 is best: the error on new data is squared bias plus variance plus the noise itself, which "
        "the slide leaves out. Both are known exactly here, because a least-squares fit is linear in the "
        "data.",
        [
            *checks,
            Check(
                "the order with the smallest error",
                ORDERS[int(np.argmin([row[-1] for row in rows]))],
                exact=3,
            ),
        ],
        [
            Table(
                "500 data sets of 12 points",
                ["order", "bias^2", "variance", "sum with noise", "error on new data"],
                rows,
            )
        ],
        [Picture("30 fits (blue), the mean of 500 (red) and the truth (dashed)", draw, (10, 3.5))],
    )
