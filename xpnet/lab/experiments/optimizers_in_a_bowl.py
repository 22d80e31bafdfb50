"""All optimizers in an ill-conditioned bowl, where SGD and momentum have formulas."""

from functools import partial

import numpy as np

from xpnet import hessian, optim, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import RULES, contours, descend, progress

KAPPA = 100.0  # the condition number
START = np.array([10.0, 1.0])
STEPS = 300
RATES = {"AdaGrad": 1.0, "AdaDelta": 1.0, "RMSProp": 0.05, "Adam": 0.3}


def bowl(x):
    return (x[0] ** 2 + KAPPA * x[1] ** 2) / 2


@experiment("S1, S2", "optimizers in an ill-conditioned bowl: zig-zag, and what momentum gains")
def run() -> Result:
    curvatures = np.array([1.0, KAPPA])
    found = np.linalg.eigvalsh(to_numpy(hessian(bowl)(START)))
    # core
    best_sgd = 2 / curvatures.sum()
    root = KAPPA**0.5
    best_momentum, factor = 4 / (1 + root) ** 2, (root - 1) / (root + 1)
    nesterov = lambda p: optim.SGD(p, lr=1 / KAPPA, momentum=factor, nesterov=True)
    paths = {
        "SGD": descend(bowl, START, partial(RULES["SGD"], lr=best_sgd), STEPS),
        "momentum": descend(bowl, START, lambda p: optim.SGD(p, lr=best_momentum, momentum=factor**2), STEPS),
        "Nesterov": descend(bowl, START, nesterov, STEPS),
        **{name: descend(bowl, START, partial(RULES[name], lr=lr), STEPS) for name, lr in RATES.items()},
    }
    # end of core
    steps = np.arange(STEPS + 1)[:, None]

    def heavy_ball(lr, rho):
        """x_{k+1} = (1 - lr lambda + rho) x_k - rho x_{k-1}, each coordinate for itself."""
        states = [START, START * (1 - lr * curvatures)]
        for _ in range(STEPS - 1):
            states.append((1 - lr * curvatures + rho) * states[-1] - rho * states[-2])
        return np.array(states)

    values = {name: bowl(path.T) for name, path in paths.items()}
    needed = {name: int(np.argmax(v < 1e-6)) if v.min() < 1e-6 else None for name, v in values.items()}
    rate = {
        name: np.linalg.norm(paths[name][-1]) / np.linalg.norm(paths[name][-101])
        for name in ("SGD", "momentum")
    }

    def draw(figure):
        left, right = figure.subplots(1, 2)
        contours(left, bowl, (-2, 11), (-2.6, 2.6))
        for name in ("SGD", "momentum", "Adam"):
            left.plot(*paths[name][:40].T, "o-", ms=2, lw=1, label=name)
        left.legend(fontsize="small")
        progress(right, values, "f")

    return Result(
        "The steep direction limits the rate, so SGD zig-zags across the bowl and crawls along it: at best "
        "it shrinks the distance by (K-1)/(K+1) a step. Momentum at its best shrinks it by (sqrt K - "
        "1)/(sqrt K + 1), which for K = 100 saves nine steps in ten.",
        [
            Check("curvatures of the bowl", found, exact=curvatures),
            Check(
                "SGD: the whole path",
                paths["SGD"],
                exact=START * (1 - best_sgd * curvatures) ** steps,
                atol=1e-9,
            ),
            Check(
                "SGD: signs of x2 in the first 50 steps, zig-zag",
                np.sign(paths["SGD"][:50, 1]),
                exact=(-1.0) ** np.arange(50),
            ),
            Check(
                "SGD: factor of 100 steps", rate["SGD"], exact=((KAPPA - 1) / (KAPPA + 1)) ** 100, rtol=1e-6
            ),
            Check(
                "momentum: the whole path",
                paths["momentum"],
                exact=heavy_ball(best_momentum, factor**2),
                atol=1e-9,
            ),
            Check(
                "momentum: mean factor a step",
                rate["momentum"] ** 0.01,
                exact=factor,
                rtol=0.01,
            ),
            Check(
                "steps until f < 1e-6, momentum to SGD",
                needed["momentum"]
                / (np.log(1e-6 / values["SGD"][0]) / np.log(((KAPPA - 1) / (KAPPA + 1)) ** 2)),
                at_most=0.2,
            ),
            *(
                Check(f"{name}: f after {STEPS} steps, to the start", v[-1] / v[0], at_most=0.05)
                for name, v in values.items()
            ),
        ],
        [
            Table(
                "Steps until f < 1e-6",
                ("optimizer", "steps"),
                [[n, f"more than {STEPS}" if k is None else k] for n, k in needed.items()],
            )
        ],
        [Picture("The first 40 steps; and f against the step", draw, (10, 3.5))],
    )
