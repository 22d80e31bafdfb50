"""Two samples, one linear neuron: how shifting and scaling the inputs changes the error surface."""

import numpy as np

from xpnet import asarray, hessian, optim, to_numpy
from xpnet import functional as F
from xpnet.data import Standardize
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import descend

TARGETS = [[2.0], [0.0]]
CASES = {  # S1's samples before and after
    "101, 101 and 101, 99": [[101.0, 101.0], [101.0, 99.0]],
    "1, 1 and 1, -1": [[1.0, 1.0], [1.0, -1.0]],
    "0.2, 10 and 0.2, -10": [[0.2, 10.0], [0.2, -10.0]],
}
STEPS = 100


def best_descent(x):
    """Gradient descent on the squared error with the best constant step; weights after 100 steps."""
    # core
    inputs, targets = asarray(np.array(x)), asarray(np.array(TARGETS))
    error = lambda w: F.mse_loss(F.linear(inputs, w.reshape(1, 2)), targets, reduction="sum") * 0.5
    eigenvalues = np.linalg.eigvalsh(to_numpy(hessian(error)(np.zeros(2))))
    rate = float(2 / eigenvalues.sum())
    path = descend(error, np.zeros(2), lambda w: optim.SGD(w, lr=rate), STEPS)
    return path[-1], eigenvalues
    # end of core


@experiment("S1, S3", "scaling of the features matters: the error surfaces of two samples")
def run() -> Result:
    found, exact, condition = {}, {}, {}
    for name, x in CASES.items():
        found[name], eigenvalues = best_descent(x)
        gram, best = np.array(x).T @ np.array(x), np.linalg.solve(x, TARGETS)[:, 0]
        exact[name] = best - np.linalg.matrix_power(np.eye(2) - 2 / np.trace(gram) * gram, STEPS) @ best
        condition[name] = eigenvalues[1] / eigenvalues[0]
    first, second, third = CASES
    centred = to_numpy(
        Standardize().fit(np.array(CASES[first], "f4")).transform(np.array(CASES[first], "f4"))
    )

    def draw(figure):
        for axis, (name, x) in zip(figure.subplots(1, 3), CASES.items(), strict=True):
            best = np.linalg.solve(x, TARGETS)[:, 0]
            a, b = np.meshgrid(*(np.linspace(v - 2, v + 2, 80) for v in best))
            error = sum((a * u + b * v - t[0]) ** 2 / 2 for (u, v), t in zip(x, TARGETS, strict=True))
            axis.contour(a, b, np.log10(error + 1e-6), 15)
            axis.set(title=f"{name}\ncondition {condition[name]:.3g}", aspect="equal")
            axis.title.set_fontsize(9)
            axis.set(xlabel="w1", ylabel="w2")

    # eigenvalues of [[a, b], [b, c]] from trace and determinant
    trace, root = 101**2 * 3 + 99**2, (101 * 99 - 101**2) ** 2
    largest = trace / 2 + (trace**2 / 4 - root) ** 0.5
    return Result(
        "With inputs around 100 the error surface is a trough of condition 40000 and 100 steps of gradient "
        "descent get nowhere along it; shifted to 1 and -1 it is round, and one step is enough. S1's "
        "headings are loose: it subtracts 100, not the mean (which would make the constant first feature "
        "0), and a constant feature has no unit variance to scale to.",
        [
            Check(
                "condition number, 101, 101 and 101, 99", condition[first], exact=largest**2 / root, rtol=1e-6
            ),
            Check("condition number, 1, 1 and 1, -1", condition[second], exact=1.0, rtol=1e-9),
            Check("condition number, 0.2, 10 and 0.2, -10", condition[third], exact=200 / 0.08, rtol=1e-9),
            *(
                Check(
                    f"weights after {STEPS} steps, {name}",
                    found[name],
                    exact=exact[name],
                    atol=1e-6,
                    rtol=0.01,
                )
                for name in CASES
            ),
            Check(
                "'scale to zero mean': the first sample",
                centred[0],
                deck="1 1",
                exact=[0.0, 1.0],
                atol=1e-6,
                kind="reading",
                slip="the slide subtracts 100 from both; minus its own mean the constant feature would be 0",
            ),
        ],
        [
            Table(
                f"Gradient descent, best constant step, {STEPS} steps",
                ["samples", "condition", "w", "solution"],
                [
                    [name, condition[name], found[name], np.linalg.solve(x, TARGETS)[:, 0]]
                    for name, x in CASES.items()
                ],
            )
        ],
        [Picture("Contours of the log error around the minimum", draw, (10, 3.8))],
    )
