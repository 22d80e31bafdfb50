"""All optimizers in a long, curved valley."""

from functools import partial

import numpy as np

from xpnet import hessian, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import RULES, descend, progress, race

RATES = {
    "SGD": 0.01,
    "momentum": 0.005,
    "Nesterov": 0.005,
    "AdaGrad": 0.3,
    "AdaDelta": 1.0,
    "RMSProp": 0.05,
    "Adam": 0.2,
}
STEPS = 200


def valley(x):
    """Rosenbrock's valley along x2 = x1^2, with the minimum 0 at (1, 1)."""
    return (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2


@experiment("S2, S3", "optimizers in a long valley: figure and animation")
def run() -> Result:
    # core
    paths = {
        name: descend(valley, [-1.2, 1.0], partial(RULES[name], lr=lr), STEPS) for name, lr in RATES.items()
    }
    distance = {name: np.linalg.norm(path - 1, axis=1) for name, path in paths.items()}
    # end of core
    curvatures = np.linalg.eigvalsh(to_numpy(hessian(valley)(np.ones(2))))  # at the minimum

    # near the minimum SGD is linear: it settles below 2 / lambda_max, and not above
    near = np.array([1.001, 1.001])
    below, above = (
        np.linalg.norm(
            descend(valley, near, partial(RULES["SGD"], lr=share * 2 / curvatures[-1]), 150)[-1] - 1
        )
        for share in (0.9, 1.1)
    )
    return Result(
        "The floor of the valley falls 250 times less steeply than its walls rise. The walls limit SGD's "
        "rate, so that it crawls along the floor; momentum and Adam gather speed there.",
        [
            Check(
                "condition number at the minimum",
                curvatures[-1] / curvatures[0],
                exact=np.linalg.cond([[82.0, -40], [-40, 20]]),
                rtol=1e-9,
            ),
            *(
                Check(
                    f"{name}: distance from the minimum after {STEPS} steps, to SGD's",
                    distance[name][-1] / distance["SGD"][-1],
                    at_most=0.1,
                )
                for name in ("momentum", "Nesterov", "Adam")
            ),
            *(
                Check(f"{name}: distance after {STEPS} steps, to the start", d[-1] / d[0], at_most=0.5)
                for name, d in distance.items()
            ),
            Check("SGD from nearby, rate 0.9 * 2/lambda_max: distance", below, at_most=0.0015),
            Check("SGD from nearby, rate 1.1 * 2/lambda_max: distance", above, at_least=0.02),
        ],
        [
            Table(
                "Distance from the minimum",
                ("optimizer", "rate", "after 50", "after 100", "after 200"),
                [[n, RATES[n], *d[[50, 100, 200]]] for n, d in distance.items()],
            )
        ],
        [
            race("All optimizers in the valley", valley, paths, (-2, 2), (-1, 2.5), legend="upper center"),
            Picture(
                "Distance from the minimum",
                lambda figure: progress(figure.subplots(), distance, "distance"),
                (7, 3.5),
            ),
        ],
    )
