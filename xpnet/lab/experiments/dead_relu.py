"""Dead units: a ReLU that is 0 for the whole training set never learns again."""

import numpy as np

from xpnet import asarray, init, manual_seed, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.data import DataLoader, Dataset, load_digits
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

RATES = (0.05, 0.5, 5.0)


def dead_share(layer, x) -> float:
    """Units whose pre-activation is at most 0 for every sample."""
    return float(np.mean(np.all(to_numpy(layer(x).data) <= 0, axis=0)))


def train(data, rate, activation):
    manual_seed(0)
    # core
    hidden = nn.Linear(64, 64, weight_init=init.he_normal, bias_init=init.zeros)
    model = nn.Sequential(hidden, activation, nn.Linear(64, 10))
    x = asarray(data.x)
    before = dead_share(hidden, x)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=rate))
    trainer.fit(DataLoader(data, 50), epochs=3)
    return before, dead_share(hidden, x)
    # end of core


@experiment("S1, S3", "dead ReLUs: the fraction of units stuck at zero")
def run() -> Result:
    # random units on n orthogonal samples: each pre-activation has either sign, so a share 2^-n is dead
    units = nn.Linear(4, 20000, bias=False, weight_init=init.he_normal)
    orthogonal = np.eye(4, dtype=np.float32)
    found = [dead_share(units, asarray(orthogonal[:n])) for n in (1, 2, 3, 4)]

    # a unit far below zero gets no gradient; a leaky one does
    digits = load_digits()
    data = Dataset((digits.x[:500] / 16).astype(np.float32), digits.y[:500])
    x = asarray(data.x)
    gradients = {}
    for name, activation in {"ReLU": F.relu, "leaky ReLU": F.leaky_relu}.items():
        manual_seed(0)
        layer = nn.Linear(64, 20)
        layer.bias.data = init.constant((20,), -10.0)
        (activation(layer(x)) ** 2).sum().backward()
        gradients[name] = np.abs(to_numpy(layer.weight.grad)).max(axis=1)
    stuck = dead_share(layer, x)

    shares = {rate: train(data, rate, nn.ReLU()) for rate in RATES}
    leaky = train(data, RATES[-1], nn.LeakyReLU())

    def draw(figure):
        axis = figure.subplots()
        axis.bar(np.arange(3) - 0.2, [shares[r][0] for r in RATES], 0.4, label="before training")
        axis.bar(np.arange(3) + 0.2, [shares[r][1] for r in RATES], 0.4, label="after 3 epochs")
        axis.set(ylabel="share of dead units", xticks=range(3), xticklabels=[f"rate {r:g}" for r in RATES])
        axis.legend()

    return Result(
        "A ReLU that is 0 for every sample has gradient 0 and stays as it is; a leaky one still learns. "
        "With He's weights nearly none start dead, but steps that are too large push many below zero for "
        "good: watch the share.",
        [
            Check(
                "dead among random units, 1 to 4 orthogonal samples",
                found,
                exact=[0.5, 0.25, 0.125, 0.0625],
                atol=0.01,
            ),
            Check("bias -10: share of dead units", stuck, exact=1.0),
            Check(
                "bias -10, ReLU: largest gradient of each unit", gradients["ReLU"], exact=np.zeros(20), atol=0
            ),
            Check(
                "bias -10, leaky ReLU: largest gradient of each unit", gradients["leaky ReLU"], at_least=1e-4
            ),
            Check("He's weights: share of dead units before training", shares[RATES[0]][0], at_most=0.05),
            Check("rate 0.05: share after 3 epochs", shares[0.05][1], at_most=0.1),
            Check("rate 5: share after 3 epochs", shares[5.0][1], at_least=0.3),
        ],
        [
            Table(
                "Share of units at most 0 for every sample",
                ("network", "before", "after"),
                [
                    *([f"ReLU, rate {r:g}", *shares[r]] for r in RATES),
                    [f"leaky ReLU, rate {RATES[-1]:g}", *leaky],
                ],
            )
        ],
        [Picture("Dead units at three learning rates", draw, (6, 3))],
    )
