"""In many dimensions nearly all points of zero gradient are saddles."""

import itertools

import numpy as np

from xpnet import hessian, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment

DIMENSIONS = (1, 2, 3, 4)


def valleys(x):
    """sum x_i^4/4 - x_i^2/2: each coordinate is flat at -1 and 1 (valleys) and at 0 (a hill)."""
    return (x**4 / 4 - x**2 / 2).sum()


def count(n):
    """Minima, saddles and maxima among the 3^n points of zero gradient, by the signs of the Hessian."""
    # core
    found = np.zeros(3, dtype=int)
    curvature = hessian(valleys)
    for point in itertools.product((-1.0, 0.0, 1.0), repeat=n):
        positive = (np.linalg.eigvalsh(to_numpy(curvature(np.array(point)))) > 0).sum()
        found[0 if positive == n else 2 if positive == 0 else 1] += 1
    return found
    # end of core


@experiment("S4", "local optimum is not a major concern, but there are many saddle points")
def run() -> Result:
    counts = {n: count(n) for n in DIMENSIONS}
    shares = [counts[n][1] / 3**n for n in DIMENSIONS]

    def draw(figure):
        axis, n = figure.subplots(), np.arange(1, 31)
        axis.plot(n, 1 - (2.0**n + 1) / 3.0**n, label="1 - (2^n + 1) / 3^n")
        axis.plot(DIMENSIONS, shares, "o", label="counted")
        axis.set(xlabel="dimensions", ylabel="share of saddles")
        axis.legend()

    return Result(
        "A minimum must curve upwards in every direction at once. Of a function with two valleys and "
        "a hill a "
        "coordinate, 2^n of the 3^n points of zero gradient are minima and one is a maximum; all "
        "others, soon "
        "nearly all, are saddles.",
        [
            Check(
                "minima in 1 to 4 dimensions",
                [counts[n][0] for n in DIMENSIONS],
                exact=[2**n for n in DIMENSIONS],
            ),
            Check("maxima", [counts[n][2] for n in DIMENSIONS], exact=[1] * len(DIMENSIONS)),
            Check("share of saddles", shares, exact=[1 - (2**n + 1) / 3**n for n in DIMENSIONS], atol=1e-12),
        ],
        [
            Table(
                "Points of zero gradient",
                ("n", "minima", "saddles", "maxima"),
                [[n, *c] for n, c in counts.items()],
            )
        ],
        [Picture("Saddles by dimension", draw, (6, 3))],
    )
