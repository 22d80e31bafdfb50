"""Each dimension for itself, or decorrelated: how fast gradient descent gets with each preprocessing."""

import numpy as np

from xpnet import asarray, optim, to_numpy
from xpnet import functional as F
from xpnet.data import PCAWhiten, Standardize
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import descend

STEPS, RHO = 200, 0.8


def samples():
    """256 inputs of exactly these statistics: deviations 10 and 1, correlation 0.8, mean 0."""
    t = 2 * np.pi * np.arange(256) / 256
    a, b = np.cos(t) * 2**0.5, np.sin(t) * 2**0.5  # mean 0, variance 1, uncorrelated
    return np.stack([10 * a, RHO * a + (1 - RHO**2) ** 0.5 * b], axis=1)


def train(x, target):
    """Distances from the best weights, with the best constant step for these inputs."""
    gram = x.T @ x / len(x)
    best = np.linalg.solve(gram, x.T @ target / len(x))
    error = lambda w: F.mse_loss(F.linear(asarray(x), w.reshape(1, 2)), asarray(target[:, None]))
    rate = 1 / np.trace(gram)  # 2 / (lambda_1 + lambda_2), of 2 gram
    path = descend(error, np.zeros(2), lambda w: optim.SGD(w, lr=rate), STEPS)
    return np.linalg.norm(path[:-1] - best, axis=1)


@experiment("S3, S5", "treat dimensions separately? convergence is fastest if inputs are uncorrelated")
def run() -> Result:
    x = samples()
    target = x @ np.array([0.3, -2.0])
    # core
    inputs = {
        "as they are": x,
        "standardised": to_numpy(Standardize().fit(x).transform(x)),
        "whitened": to_numpy(PCAWhiten().fit(x).transform(x)),
    }
    curves = {name: train(values, target) for name, values in inputs.items()}
    # end of core
    condition = {name: np.linalg.cond(v.T @ v) for name, v in inputs.items()}
    raw = np.linalg.eigvalsh([[100, 10 * RHO], [10 * RHO, 1]])

    def draw(figure):
        axis = figure.subplots()
        for name, curve in curves.items():
            axis.semilogy(
                np.maximum(curve / curve[0], 1e-16), label=f"{name}, condition {condition[name]:.3g}"
            )
        axis.set(xlabel="step", ylabel="distance / first")
        axis.legend()

    return Result(
        "Standardising each dimension for itself brings the condition number from 286 to (1 + "
        "rho)/(1 - rho) = 9, so "
        "descent is faster although the inputs stay correlated, as S5 says; decorrelated as well it "
        "is 1 and one "
        "step arrives, which is S3's 'fastest'.",
        [
            Check(
                "condition number, as they are", condition["as they are"], exact=raw[1] / raw[0], rtol=1e-9
            ),
            Check(
                "condition number, standardised",
                condition["standardised"],
                exact=(1 + RHO) / (1 - RHO),
                rtol=1e-6,
            ),
            Check("condition number, whitened", condition["whitened"], exact=1.0, rtol=1e-6),
            Check(
                "whitened: distance after 1 step / before",
                curves["whitened"][1] / curves["whitened"][0],
                exact=0.0,
                atol=1e-6,
            ),
            Check(
                "standardised: factor of 40 steps",
                curves["standardised"][40] / curves["standardised"][0],
                at_most=0.8**40 * 2,
            ),
            Check(
                "as they are: distance after 40 steps / before",
                curves["as they are"][40] / curves["as they are"][0],
                at_least=0.5,
            ),
        ],
        [Table("Condition number", ("inputs", "condition"), list(condition.items()))],
        [Picture("Gradient descent on three versions of the same inputs", draw, (7, 3.2))],
    )
