"""Descent on a line: the learning rate, when to stop, the sign of the gradient, Newton's step."""

import math

import numpy as np

from xpnet import hessian, optim, tensor
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import descend

RATES = {"too small": 0.05, "1/f''": 0.5, "oscillates": 0.95, "diverges": 1.05}


def parabola(x):
    return x[0] * x[0]


def exponential(x):
    """exp(x) - 2x: smallest at ln 2; f' = exp(x) - 2, f'' = exp(x)."""
    return x[0].exp() - 2 * x[0]


@experiment("S2, S3", "gradient descent in 1-D: stop at step < 1e-8, sign-of-gradient step, best rate 1/f''")
def run() -> Result:
    curvature = 2.0  # f'', by hand; the best rate is 1 / f''
    found = float(hessian(parabola)(np.array([1.0])))
    paths = {
        name: descend(parabola, [1.0], lambda p, lr=lr: optim.SGD(p, lr=lr), 30)[:, 0]
        for name, lr in RATES.items()
    }

    def until_small_step(rate, delta=1e-8):
        """S2's algorithm: descend until a step is at most delta."""
        # core
        x = tensor(np.array([1.0]), requires_grad=True)
        optimizer, count, moved = optim.SGD([x], lr=rate), 0, math.inf
        while moved > delta:
            optimizer.zero_grad()
            parabola(x).backward()
            before = x.item()
            optimizer.step()
            moved, count = abs(x.item() - before), count + 1
        return count
        # end of core

    # |step k| = rate f''(1 - rate f'')^(k-1) for x^2 from 1: solve for the first at most 1e-8
    def predicted(rate):
        q = rate * curvature
        return 1 + math.ceil((math.log(1e-8) - math.log(q)) / math.log(1 - q))

    def sign_of_gradient(x, k):
        x.grad = x.grad / abs(x.grad)

    signs = descend(parabola, [1.0], lambda p: optim.SGD(p, lr=0.3), 30, sign_of_gradient)[:, 0]

    def newton(x, k):
        x.grad = x.grad / hessian(exponential)(x.detach()).data[0]

    errors = abs(descend(exponential, [1.5], lambda p: optim.SGD(p, lr=1.0), 5, newton)[:, 0] - math.log(2))
    # which point of a path is x - rate f'(x) of the point tau
    oscillates, tau = paths["oscillates"], 5
    after = oscillates[tau] - RATES["oscillates"] * curvature * oscillates[tau]
    index = int(np.argmin(abs(oscillates - after))) - tau
    newton_parabola = descend(parabola, [1.0], lambda p: optim.SGD(p, lr=1 / found), 1)[-1, 0]
    k = np.arange(31)

    def draw(figure):
        line = np.linspace(-2, 2, 100)
        for axis, (name, path) in zip(figure.subplots(1, 4, sharey=True), paths.items(), strict=True):
            axis.plot(line, line**2, "0.7")
            axis.plot(path[:12], path[:12] ** 2, "o-", ms=3)
            axis.set(
                title=f"rate {RATES[name]:g}: {name}", xlim=(-2, 2), ylim=(-0.2, 3), xlabel="x", ylabel="f(x)"
            )

    return Result(
        "On a parabola each step multiplies the distance by 1 - rate f'': the rate 1/f'' is Newton's step "
        "and arrives at once, up to 2/f'' the path oscillates, beyond it diverges. The sign of the gradient "
        "alone never arrives: it ends up jumping to and fro over the minimum. S3's update has the index of "
        "the old weight on the left, tau - 1, where the new one, tau + 1, belongs.",
        [
            *(
                Check(
                    f"rate {lr:g}: distance after 30 steps",
                    abs(paths[name][-1]),
                    exact=abs(1 - lr * curvature) ** 30,
                    atol=1e-300,
                    rtol=1e-9,
                )
                for name, lr in RATES.items()
            ),
            Check(
                "rate 0.95: the whole path is (1 - 0.95 f'')^k",
                paths["oscillates"],
                exact=(1 - 0.95 * curvature) ** k,
                atol=1e-12,
            ),
            *(
                Check(
                    f"rate {rate:g}: steps until one is below 1e-8",
                    until_small_step(rate),
                    exact=predicted(rate),
                )
                for rate in (0.05, 0.1, 0.3)
            ),
            Check(
                "index of the weights after a step, less tau",
                index,
                deck=-1,
                exact=1,
                atol=0,
                slip="W^(tau - 1) are the weights before: the step leads from tau to tau + 1",
            ),
            Check("Newton's step on the parabola arrives at", newton_parabola, exact=0.0, atol=0),
            Check("Newton on exp(x) - 2x: error after 5 steps", errors[-1], at_most=1e-8),
            Check(
                "Newton: 4th error to the square of the one before (f'''/2f'')",
                errors[4] / errors[3] ** 2,
                exact=0.5,
                atol=0.05,
            ),
            Check(
                "sign of the gradient, step 0.3: distances of the last two points together",
                abs(signs[-1]) + abs(signs[-2]),
                exact=0.3,
                atol=1e-9,
            ),
        ],
        [
            Table(
                "Steps until one is below 1e-8, f = x^2 from 1",
                ("rate", "steps"),
                [[r, until_small_step(r)] for r in (0.05, 0.1, 0.3)],
            )
        ],
        [Picture("Four learning rates on a parabola", draw, (10, 3))],
    )
