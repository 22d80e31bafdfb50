"""Batch norm makes the loss landscape nicer: the loss along the gradient, with and without it."""

import numpy as np

from xpnet import asarray, init, manual_seed, nn
from xpnet import functional as F
from xpnet.data import load_digits
from xpnet.lab import Check, Picture, Result, Table, experiment

DEPTH, WIDTH, SCALE = 6, 32, 2.0
STEPS = np.linspace(0, 0.5, 26)


def along_gradient(norm, x, y):
    """The loss at w - t g / |g|, with t in units of |w|, g the gradient at the start."""
    manual_seed(0)
    large = lambda shape, dtype: init.normal(shape, std=SCALE * (2 / shape[1]) ** 0.5, dtype=dtype)
    layers, size = [], 64
    for _ in range(DEPTH):
        layers += [nn.Linear(size, WIDTH, weight_init=large)]
        layers += [nn.BatchNorm1d(WIDTH), nn.ReLU()] if norm else [nn.ReLU()]
        size = WIDTH
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10, weight_init=large))
    model.train()
    # core
    F.cross_entropy(model(x), y).backward()
    parameters = [p for p in model.parameters() if p.ndim == 2]
    start, gradient = [p.data for p in parameters], [p.grad for p in parameters]
    length = lambda arrays: float(sum(float((a * a).sum()) for a in arrays)) ** 0.5
    scale, losses = length(start) / length(gradient), []
    for t in STEPS:
        for p, w, g in zip(parameters, start, gradient, strict=True):
            p.data = w - float(t * scale) * g
        losses.append(F.cross_entropy(model(x), y).item())
    # end of core
    return np.array(losses)


@experiment("S4", "batch norm: make the loss landscape nicer")
def run() -> Result:
    digits = load_digits()
    x, y = asarray((digits.x[:256] - 4.9) / 6, "float32"), digits.y[:256]
    losses = {name: along_gradient(norm, x, y) for name, norm in (("without", False), ("batch norm", True))}
    roughness = {name: np.abs(np.diff(v)).max() for name, v in losses.items()}

    def draw(figure):
        axis = figure.subplots()
        for name, values in losses.items():
            axis.semilogy(STEPS, values, "o-", ms=3, label=name)
        axis.set(xlabel="step against the gradient, in units of |w|", ylabel="loss")
        axis.legend()

    return Result(
        "One step against the gradient, longer and longer, from large weights: with batch norm the "
        "loss changes "
        "little and evenly, without it by orders of magnitude, so that no step is right for long. It is one "
        "direction of a landscape of thousands; the claim is about all.",
        [
            Check(
                "largest change of the loss between two points: without / batch norm",
                roughness["without"] / roughness["batch norm"],
                at_least=10,
            ),
            Check("batch norm: largest loss on the way", losses["batch norm"].max(), at_most=20),
            Check("without: largest loss on the way", losses["without"].max(), at_least=20),
        ],
        [
            Table(
                "Loss",
                ("", "at the start", "smallest", "largest"),
                [[n, v[0], v.min(), v.max()] for n, v in losses.items()],
            )
        ],
        [Picture("The loss along the gradient", draw, (6, 3.2))],
    )
