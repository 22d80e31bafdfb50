"""Decision boundaries of a small network at three strengths of L2."""

import numpy as np

from xpnet import asarray, init, manual_seed, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import evaluate, predict

STRENGTHS = (1e-3, 1e-2, 1e-1)
N, STEPS = 100, 300


def two_classes(n):
    """Two Gaussian clouds that overlap."""
    noise = to_numpy(init.normal((n, 2), std=1.0))
    labels = np.arange(n) % 2
    return noise + np.where(labels[:, None] == 1, 0.9, -0.9).astype(np.float32), labels


# core
def train_with(strength, x, y):
    manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Linear(30, 2))
    optimizer = optim.Adam(model, lr=0.03)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + F.l2(model, strength)
        loss.backward()
        optimizer.step()
    return model


# end of core


def probability(model, x):
    return to_numpy(F.softmax(predict(model, asarray(x, "float32"))))[:, 1]


@experiment("S2", "decision boundaries at lambda = 0.001, 0.01, 0.1")
def run() -> Result:
    (x, y), (new_x, new_y) = two_classes(N), two_classes(20 * N)
    side = np.linspace(-4, 4, 81)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    norms, losses, errors, steepness, maps = [], [], [], [], {}
    for strength in STRENGTHS:
        model = train_with(strength, asarray(x), asarray(y))
        norms.append(sum(float((p.numpy() ** 2).sum()) for p in model.parameters() if p.ndim == 2))
        results = [
            evaluate(model, (asarray(a), asarray(b)), F.cross_entropy) for a, b in ((x, y), (new_x, new_y))
        ]
        losses.append([r["loss"] for r in results])
        errors.append([1 - r["accuracy"] for r in results])
        maps[strength] = probability(model, grid).reshape(81, 81)
        steepness.append(np.hypot(*np.gradient(maps[strength], side, side)).max())

    def draw(figure):
        for axis, (strength, p) in zip(figure.subplots(1, 3, sharey=True), maps.items(), strict=True):
            axis.imshow(p, cmap="RdBu", vmin=0, vmax=1, origin="lower", extent=(-4, 4, -4, 4))
            axis.contour(side, side, p, [0.5], colors="k")
            axis.scatter(*x.T, c=np.where(y == 1, "#56b4e9", "#ffb060"), edgecolors="k", linewidths=0.7, s=26)
            axis.set(title=f"lambda = {strength:g}", xlabel="x1", ylabel="x2")

    decreasing = lambda values: float(np.max(np.diff(values) / np.abs(values[:-1])))
    return Result(
        "The stronger L2 is, the smaller the weights and the smoother the boundary; with lambda = 0.001 the "
        "network bends it around single samples, with 0.1 it is a straight line and the probabilities "
        "change slowly. The training loss rises with lambda, its gap to the loss on new samples shrinks.",
        [
            Check("sum W^2 from one lambda to the next: largest change", decreasing(norms), at_most=-0.3),
            Check("steepest slope of the probability: largest change", decreasing(steepness), at_most=-0.3),
            Check(
                "training loss from one lambda to the next: smallest change",
                min(np.diff([a for a, _ in losses])),
                at_least=0.01,
            ),
            Check(
                "gap between new and training loss, lambda = 0.001 - 0.1",
                (losses[0][1] - losses[0][0]) - (losses[2][1] - losses[2][0]),
                at_least=0.01,
            ),
        ],
        [
            Table(
                "By lambda",
                ["lambda", "sum W^2", "training loss, error", "on new samples", "steepest slope"],
                [
                    [s, n, [a, e], [b, f], t]
                    for s, n, (a, b), (e, f), t in zip(
                        STRENGTHS, norms, losses, errors, steepness, strict=True
                    )
                ],
            )
        ],
        [Picture("Probability of class 1 (colour), boundary (line) and training samples", draw, (10, 3.5))],
    )
