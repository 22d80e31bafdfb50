"""Noisy gradients: how far from the minimum SGD and momentum keep wandering."""

import numpy as np

from xpnet import optim, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import RULES

CURVATURE, PARTICLES, SIGMA = 2.0, 4000, 1.0  # many independent copies show the distribution
RATES = {"SGD": 0.1, "momentum": 0.02, "Nesterov": 0.02, "RMSProp": 0.05, "Adam": 0.05}


def f(x):
    return x * x


def wander(optimizer, steps=150, start=3.0, reduce_at=None):
    """Mean square distance from the minimum at each step; the gradient is f' plus N(0, SIGMA^2)."""
    # core
    x = tensor(np.full(PARTICLES, start), requires_grad=True)
    rule, history = optimizer([x]), []
    noise = optim.GradientNoise([x], eta=SIGMA**2, gamma=0)  # gamma 0: it does not fall
    for k in range(steps):
        if k == reduce_at:
            rule.param_groups[0]["lr"] /= 10
        rule.zero_grad()
        f(x).sum().backward()
        noise()
        rule.step()
        history.append(float(to_numpy(x.data * x.data).mean()))
    # end of core
    return np.array(history)


def sgd_variance(lr):
    """x <- (1 - lr c) x - lr noise: variance v = (1 - lr c)^2 v + lr^2 sigma^2."""
    return lr * SIGMA**2 / (CURVATURE * (2 - lr * CURVATURE))


def momentum_variance(lr, rho=0.9):
    """The variance of x_{k+1} = (1 + rho - lr c) x_k - rho x_{k-1} - lr noise, an AR(2) process."""
    return lr * SIGMA**2 * (1 + rho) / (CURVATURE * (1 - rho) * (2 * (1 + rho) - lr * CURVATURE))


@experiment("S2, S3", "optimizers with gradient noise, and what a smaller rate at the end does")
def run() -> Result:
    curves = {name: wander(lambda p, name=name, lr=lr: RULES[name](p, lr)) for name, lr in RATES.items()}
    reduced = wander(lambda p: optim.SGD(p, lr=RATES["SGD"]), 300, reduce_at=150)
    too_soon = wander(lambda p: optim.SGD(p, lr=RATES["SGD"]), 60, reduce_at=3)
    settled = {name: curve[-50:].mean() for name, curve in curves.items()}

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for name, curve in curves.items():
            left.semilogy(curve, label=name)
        left.set(xlabel="step", ylabel="mean square distance")
        left.legend(fontsize="small")
        right.semilogy(reduced)
        right.axhline(sgd_variance(0.1), ls=":", c="k")
        right.axhline(sgd_variance(0.01), ls=":", c="k")
        right.set(xlabel="step; the rate falls to a tenth at 150")

    return Result(
        "With noisy gradients no constant rate arrives: SGD keeps a variance of about rate/(2 curvature) "
        "times the noise, momentum that of a rate 1/(1 - rho) times as large. Dividing the rate by ten at "
        "the end divides the variance by ten, S3's final improvement; too early it only slows the way.",
        [
            Check("SGD: mean square distance in the end", settled["SGD"], exact=sgd_variance(0.1), rtol=0.03),
            Check(
                "momentum: mean square distance in the end",
                settled["momentum"],
                exact=momentum_variance(0.02),
                rtol=0.05,
            ),
            Check(
                "SGD, rate divided by 10: mean square distance in the end",
                reduced[-20:].mean(),
                exact=sgd_variance(0.01),
                rtol=0.05,
            ),
            Check(
                "the reduction's gain",
                reduced[100:150].mean() / reduced[-20:].mean(),
                exact=sgd_variance(0.1) / sgd_variance(0.01),
                rtol=0.07,
            ),
            Check(
                "reduced too soon, at step 3: mean square distance at step 50, to that without",
                too_soon[50] / reduced[50],
                at_least=5,
            ),
            *(
                Check(f"{name}: mean square distance in the end", value, at_least=1e-4, at_most=0.3)
                for name, value in settled.items()
            ),
        ],
        [
            Table(
                "Mean square distance from the minimum",
                ("optimizer", "rate", "in the end"),
                [[n, RATES[n], v] for n, v in settled.items()],
            )
        ],
        [Picture("All optimizers with gradient noise; and SGD with a reduction", draw, (9, 3.5))],
    )
