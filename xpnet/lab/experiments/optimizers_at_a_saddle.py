"""All optimizers at a saddle point."""

import math
from functools import partial

import numpy as np

from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import RULES, descend, progress, race

RATES = {
    "SGD": 0.05,
    "momentum": 0.05,
    "Nesterov": 0.05,
    "AdaGrad": 0.1,
    "AdaDelta": 1.0,
    "RMSProp": 0.05,
    "Adam": 0.05,
}
STEPS, OFFSET = 120, 1e-4


def saddle(x):
    """A saddle at (0, 0), value 0; minima at (0, +-sqrt 2), value -1."""
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4


@experiment("S2, S3, S4", "optimizers at a saddle point: figure and animation")
def run() -> Result:
    # core
    paths = {
        name: descend(saddle, [1.5, OFFSET], partial(RULES[name], lr=lr), STEPS) for name, lr in RATES.items()
    }
    ridge = {
        name: descend(saddle, [1.5, 0.0], partial(RULES[name], lr=lr), STEPS) for name, lr in RATES.items()
    }
    left = {name: int(np.argmax(np.abs(path[:, 1]) > 0.5)) for name, path in paths.items()}
    # end of core

    # while x2 is small the descent is linear: x2 grows by a constant factor, the larger root of its recursion
    lr, rho = RATES["SGD"], 0.9
    growth = {
        "SGD": 1 + 2 * lr,
        "momentum": max(np.roots([1, -(1 + rho + 2 * lr), rho])),
        "Nesterov": max(np.roots([1, -(1 + rho) * (1 + 2 * lr), rho * (1 + 2 * lr)])),
    }
    measured = {name: paths[name][16, 1] / paths[name][15, 1] for name in growth}

    return Result(
        "On the ridge the gradient points to the saddle and every optimizer stops there. A hair beside it x2 "
        "grows by a factor a step, which momentum raises; RMSProp, AdaDelta, AdaGrad and Adam scale the tiny "
        "gradient up and leave within a few steps.",
        [
            *(
                Check(f"{name}: x2 after a start on the ridge", path[-1, 1], exact=0.0, atol=0)
                for name, path in ridge.items()
            ),
            Check("SGD on the ridge: where it stops, x1", ridge["SGD"][-1, 0], exact=1.5 * 0.9**STEPS),
            *(
                Check(f"{name}: growth of x2 a step", measured[name], exact=factor, rtol=2e-3)
                for name, factor in growth.items()
            ),
            Check(
                "SGD: steps until x2 > 0.5",
                left["SGD"],
                exact=math.ceil(math.log(0.5 / OFFSET) / math.log(growth["SGD"])),
                atol=1,
            ),
            *(
                Check(f"{name}: steps until x2 > 0.5", left[name], at_least=1, at_most=left["SGD"] / 2)
                for name in RATES
                if name != "SGD"
            ),
        ],
        [
            Table(
                "Steps until x2 > 0.5, and the value reached",
                ("optimizer", "rate", "steps", "value"),
                [[n, RATES[n], left[n], saddle(paths[n][-1])] for n in RATES],
            )
        ],
        [
            race(
                "All optimizers from a point beside the ridge",
                saddle,
                paths,
                (-1, 1.8),
                (-0.6, 1.8),
                legend="upper right",
            ),
            Picture(
                "Height above the minimum",
                lambda figure: progress(
                    figure.subplots(), {n: saddle(p.T) + 1 for n, p in paths.items()}, "f + 1"
                ),
                (7, 3.5),
            ),
        ],
    )
