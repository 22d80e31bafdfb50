"""A hidden layer turns a problem that no line solves into one that a perceptron solves."""

import numpy as np

from xpnet import asarray, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.classic import mistakes, perceptron, with_bias
from xpnet.lab import Check, Picture, Result, experiment


def rings(n=120):
    """One class inside, the other around it."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    radius, angle = 1.0 + 1.5 * labels + 0.2 * rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), labels


def train(model, x, labels):
    optimizer = optim.Adam(model, lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return float(np.mean(to_numpy(model(x).data).argmax(axis=1) == labels))


@experiment("S2", "capacity: not linearly separable, unless the input is transformed")
def run() -> Result:
    points, labels = rings()
    x, target = asarray(points), asarray(2.0 * labels - 1)
    # core
    linear = train(nn.Linear(2, 2), x, labels)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    network = train(model, x, labels)
    hidden = model[:2](x).data

    raw = perceptron(with_bias(x), target, max_updates=300)
    transformed = perceptron(with_bias(hidden), target, max_updates=3000)
    # end of core
    # the rings lie around each other: the centre of the outer one is inside, so no line separates them
    wrong = to_numpy(mistakes(with_bias(x), target, raw.weights)).min()

    side = np.linspace(-3, 3, 120, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    scores = to_numpy(model(asarray(grid)).data)
    features = to_numpy(hidden)

    def draw(figure):
        left = figure.add_subplot(1, 2, 1)
        left.contourf(side, side, (scores[:, 1] > scores[:, 0]).reshape(120, 120), alpha=0.3, cmap="coolwarm")
        left.scatter(*points.T, c=labels, cmap="coolwarm", s=12, edgecolors="k", linewidths=0.4)
        left.set(title="input", xlabel="x1", ylabel="x2")
        right = figure.add_subplot(1, 2, 2, projection="3d")
        right.set_box_aspect(None, zoom=0.8)  # room for the labels
        right.scatter(*features.T, c=labels, cmap="coolwarm", s=12)
        right.set(title="hidden layer", xlabel="h1", ylabel="h2", zlabel="h3")

    return Result(
        "No line separates a ring from what it surrounds, so a linear classifier cannot learn it. Three "
        "hidden units draw three lines; in the space of their outputs a plane separates the classes, and "
        "even the perceptron, which fails on the input, finds one.",
        [
            Check("linear classifier: accuracy", linear, at_most=0.75),
            Check("3 hidden tanh units: accuracy", network, exact=1.0),
            Check("perceptron on the input converges", raw.converged, exact=False),
            Check("fewest mistakes of its weights", wrong, at_least=1),
            Check("perceptron on the hidden layer converges", transformed.converged, exact=True),
        ],
        pictures=[Picture("Input, and the hidden layer: a plane separates it", draw, (8, 3.8))],
    )
