"""Gradient noise as a strategy: it leaves saddles and breaks the symmetry of equal weights."""

import math

import numpy as np

from xpnet import asarray, init, nn, optim, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.experiments.optimizers_at_a_saddle import saddle
from xpnet.lab.surfaces import contours, descend

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32) * 2 - 1
XOR_Y = np.array([0, 1, 1, 0])


def from_the_ridge(eta):
    """300 steps from (1.5, 0), where the gradient points straight at the saddle."""
    noise = []

    def add(x, k):
        noise.append(optim.GradientNoise([x], eta=eta, gamma=0.55)) if not noise else None
        noise[0]()

    return descend(saddle, [1.5, 0.0], lambda p: optim.SGD(p, lr=0.05), 300, add)


def train_xor(eta):
    """A network whose weights are all equal: without noise its hidden units stay equal for ever."""
    half = lambda shape, dtype: init.constant(shape, 0.5, dtype)
    model = nn.Sequential(
        nn.Linear(2, 8, weight_init=half, bias_init=half),
        nn.Tanh(),
        nn.Linear(8, 2, weight_init=half, bias_init=half),
    )
    # core
    optimizer, noise, losses = optim.SGD(model, lr=0.3, momentum=0.9), optim.GradientNoise(model, eta=eta), []
    for _ in range(300):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(asarray(XOR_X)), XOR_Y)
        loss.backward()
        noise()
        optimizer.step()
        losses.append(loss.item())
    # end of core
    hidden = to_numpy(model[0].weight.data)
    answers = to_numpy(model(asarray(XOR_X)).data).argmax(axis=1)
    return losses, np.abs(hidden - hidden[0]).max(), np.mean(answers == XOR_Y)


@experiment("S4", "gradient noise: robust to poor initialisation")
def run() -> Result:
    # the strength of the noise falls as (1 + t)^-0.55
    x = tensor(np.zeros(20000), requires_grad=True)
    noise, stds = optim.GradientNoise([x], eta=0.3, gamma=0.55), []
    for _ in range(5):
        x.grad = asarray(np.zeros(20000))
        noise()
        stds.append(to_numpy(x.grad).std())

    plain, noisy = from_the_ridge(0.0), from_the_ridge(0.01)
    (loss0, spread0, right0), (loss1, spread1, right1) = train_xor(0.0), train_xor(0.05)

    def draw(figure):
        left, right = figure.subplots(1, 2)
        contours(left, saddle, (-1, 1.8), (-1.8, 1.8))
        left.plot(*plain.T, label="no noise")
        left.plot(*noisy.T, label="noise")
        left.legend()
        right.semilogy(loss0, label="no noise")
        right.semilogy(loss1, label="noise")
        right.axhline(math.log(2), ls=":", c="k")
        right.set(xlabel="step", ylabel="loss on XOR, all weights 0.5 at first")
        right.legend()

    return Result(
        "Noise of variance eta/(1 + t)^0.55 on every gradient pushes descent off a ridge that it would "
        "follow into a saddle, and makes hidden units differ that started with equal weights and would have "
        "stayed equal. Random initial weights do the same at no cost: the noise helps where the start is "
        "poor.",
        [
            Check(
                "standard deviation of the noise, steps 0 to 4",
                stds,
                exact=[math.sqrt(0.3 / (1 + t) ** 0.55) for t in range(5)],
                rtol=0.02,
            ),
            Check("from the ridge without noise: value in the end", saddle(plain[-1]), exact=0.0),
            Check("from the ridge with noise: value in the end", saddle(noisy[-1]), at_most=-0.99),
            Check(
                "equal weights without noise: largest difference of hidden units", spread0, exact=0.0, atol=0
            ),
            Check("equal weights without noise: loss in the end", loss0[-1], at_least=0.4),
            Check("equal weights without noise: share right on XOR", right0, at_most=0.75),
            Check("equal weights with noise: largest difference of hidden units", spread1, at_least=0.1),
            Check("equal weights with noise: loss in the end", loss1[-1], at_most=0.1),
            Check("equal weights with noise: share right on XOR", right1, exact=1.0),
        ],
        [
            Table(
                "XOR from equal weights, 300 steps",
                ("noise eta", "loss", "share right"),
                [[0, loss0[-1], right0], [0.05, loss1[-1], right1]],
            )
        ],
        [Picture("Leaving the ridge of a saddle; and XOR from equal weights", draw, (9, 3.5))],
    )
