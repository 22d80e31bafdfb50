"""The quadratic of S2 with constant steps: best at 0.2, divergence above 2 / lambda_max."""

import numpy as np

from xpnet import hessian, optim, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import contours, descend

START = np.array([3.0, 3.0])
STEPS = (0.01, 0.1, 0.2, 0.24)


def f(x):
    return x[0] ** 2 + x[0] * x[1] + 4 * x[1] ** 2


@experiment("S2", "influence of the step size: f = x1^2 + x1 x2 + 4 x2^2 from (3, 3)")
def run() -> Result:
    def descent(rate, steps):
        return descend(f, START, lambda p: optim.SGD(p, lr=rate), steps)

    values, vectors = np.linalg.eigh([[2.0, 1], [1, 8]])  # the Hessian, by hand
    found = np.linalg.eigvalsh(to_numpy(hessian(f)(START)))
    along = vectors.T @ START

    def exact(rate, steps):
        """In the axes of the Hessian each coordinate shrinks by 1 - rate lambda."""
        k = np.arange(steps + 1)[:, None]
        return (along * (1 - rate * values) ** k) @ vectors.T

    # core
    paths = {rate: descent(rate, 600 if rate < 0.1 else 300) for rate in STEPS}
    needed = {rate: int(np.argmax(f(path.T) < 1e-8)) for rate, path in paths.items()}
    limit = 2 / found[-1]
    inside, beyond = (f(descent(share * limit, 150).T) for share in (0.99, 1.01))
    best = 2 / found.sum()  # both coordinates shrink equally fast
    # end of core

    def draw(figure):
        for axis, rate in zip(figure.subplots(1, 4, sharey=True), STEPS, strict=True):
            contours(axis, f, (-4, 4), (-4, 4))
            axis.plot(*paths[rate][:40].T, "o-", ms=2)
            axis.set(title=f"step {rate}: {needed[rate]}", xlabel="x1")

    return Result(
        "A constant step must be small enough for the steepest direction, where it diverges above "
        "2/lambda_max, and is then slow in the flattest one. The best is 2/(lambda_min + lambda_max) = 0.2: "
        "no constant step gets this bowl of condition number 4.5 down faster.",
        [
            *(
                Check(
                    f"step {rate}: iterations until f < 1e-8",
                    needed[rate],
                    exact=int(np.argmax(f(exact(rate, 600).T) < 1e-8)),
                )
                for rate in STEPS
            ),
            Check("step 0.1: the whole path", paths[0.1], exact=exact(0.1, 300), atol=1e-10),
            Check("2 / lambda_max", limit, exact=2 / (5 + 10**0.5), atol=1e-12),
            Check(
                "0.99 of it: factor of f in the last step", inside[-1] / inside[-2], exact=0.98**2, rtol=1e-3
            ),
            Check(
                "1.01 of it: factor of f in the last step", beyond[-1] / beyond[-2], exact=1.02**2, rtol=1e-3
            ),
            Check("step 0.25: f after 200 steps", f(descent(0.25, 200)[-1]), at_least=1e6),
            Check("best constant step 2 / (lambda_min + lambda_max)", best, exact=2 / (2 + 8), atol=1e-12),
        ],
        [Table("Iterations until f < 1e-8", ("step", "iterations"), [*needed.items(), [0.25, "diverges"]])],
        [Picture("The first 40 steps; the number in the title is how many it takes", draw, (10, 3))],
    )
