"""Positive inputs: all weights of a unit can only rise or fall together."""

import numpy as np

from xpnet import asarray, hessian, optim, tensor, to_numpy
from xpnet.data import Standardize
from xpnet.functional import mse_loss
from xpnet.lab import Check, Picture, Result, experiment
from xpnet.lab.surfaces import descend


@experiment("S1, S3, S5", "the problem of positive inputs: gradients of one sign, zig-zag descent")
def run() -> Result:
    rng = np.random.default_rng(0)
    positive = rng.uniform(0.5, 1.5, (64, 2))  # like the outputs of sigmoids
    wanted = np.array([1.5, -0.5])
    centred = to_numpy(Standardize().fit(positive).transform(positive))

    def gradient_signs(x):
        """For each sample: do all weights get the same sign?"""
        w = tensor(np.zeros((64, 2)), requires_grad=True)  # one copy of the weights for each sample
        target = asarray(x @ wanted)
        mse_loss((w * asarray(x)).sum(axis=1), target, reduction="sum").backward()
        signs = np.sign(to_numpy(w.grad))
        return float(np.mean(signs[:, 0] == signs[:, 1]))

    # core
    def best_descent(x):
        error = lambda w: mse_loss((w * asarray(x)).sum(axis=1), asarray(x @ wanted))
        curvature = to_numpy(hessian(error)(np.zeros(2)))
        best_rate = 2 / np.linalg.eigvalsh(curvature).sum()  # 2 / (lambda_min + lambda_max)
        path = descend(error, np.zeros(2), lambda w: optim.SGD(w, lr=best_rate), 30)
        return path, np.linalg.cond(x.T @ x)  # the Hessian is 2/64 of it

    # end of core

    paths = {"positive": best_descent(positive), "standardised": best_descent(centred)}

    def draw(figure):
        axis = figure.subplots()
        for name, (path, _) in paths.items():
            axis.plot(*path.T, "o-", ms=3, label=name)
        axis.plot(*wanted, "k*", ms=12)
        axis.set(xlabel="w1", ylabel="w2")
        axis.legend()

    return Result(
        "A weight's gradient is its input times the unit's error, so inputs that are all positive give all "
        "weights the same sign: to raise one and lower the other, descent must zig-zag. "
        "Inputs of zero mean and unit variance make the error surface round.",
        [
            Check(
                "positive inputs: share of samples with gradients of one sign",
                gradient_signs(positive),
                exact=1.0,
            ),
            Check(
                "standardised inputs: share of samples with gradients of one sign",
                gradient_signs(centred),
                at_most=0.75,
            ),
            Check("positive inputs: condition number of the Hessian", paths["positive"][1], at_least=10),
            Check("standardised inputs: condition number", paths["standardised"][1], at_most=2),
            *(
                Check(
                    f"{name} inputs: distance to the solution after 30 steps",
                    np.linalg.norm(path[-1] - wanted),
                    exact=np.linalg.norm(wanted) * ((cond - 1) / (cond + 1)) ** 30,
                    atol=1e-12,
                )
                for name, (path, cond) in paths.items()
            ),
            Check(
                "positive inputs: first ten changes of w1 + w2",
                np.sign(np.diff(paths["positive"][0].sum(axis=1))[:10]),
                exact=[1.0, -1.0] * 5,
            ),
        ],
        pictures=[Picture("30 steps of gradient descent towards the star", draw, (6, 4))],
    )
