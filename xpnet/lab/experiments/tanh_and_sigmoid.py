"""Which activation learns fastest: the same network with sigmoid, tanh and ReLU."""

import numpy as np

from xpnet import functional as F
from xpnet import init, manual_seed, nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

UNITS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}
EPOCHS, DEPTH = 10, 4


# core
def train(unit, data):
    manual_seed(0)
    layers = []
    for _ in range(DEPTH):
        layers += [nn.Linear(64, 64, weight_init=init.xavier_fan_in, bias_init=init.zeros), unit()]
    model = nn.Sequential(*layers, nn.Linear(64, 10, weight_init=init.xavier_fan_in))
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1))
    return trainer.fit(DataLoader(data, 32), epochs=EPOCHS)["train_loss"]


# end of core


@experiment("S1, S3", "tanh converges faster than the sigmoid; ReLU converges fast")
def run() -> Result:
    data = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))[0].to_backend()
    losses = {name: train(unit, data) for name, unit in UNITS.items()}

    def draw(figure):
        axis = figure.subplots()
        for name, values in losses.items():
            axis.semilogy(range(1, EPOCHS + 1), values, "o-", ms=3, label=name)
        axis.set(xlabel="epoch", ylabel="training loss")
        axis.legend()

    return Result(
        "Four hidden layers, the same weights and rate: sigmoids pass on a quarter of a gradient at most and "
        "have positive outputs, so the network does not get off the ground, while tanh, of mean 0 "
        "and slope 1 at "
        "0, learns at once, and so does ReLU.",
        [
            Check(f"sigmoid: loss after {EPOCHS} epochs", losses["sigmoid"][-1], at_least=2.0),
            Check(f"tanh: loss after {EPOCHS} epochs", losses["tanh"][-1], at_most=0.1),
            Check(f"ReLU: loss after {EPOCHS} epochs", losses["ReLU"][-1], at_most=0.1),
            Check(
                "sigmoid: loss of the first epoch, ln 10", losses["sigmoid"][0], exact=np.log(10), atol=0.08
            ),
        ],
        [
            Table(
                "Training loss",
                ("unit", "epoch 1", "epoch 5", f"epoch {EPOCHS}"),
                [[n, v[0], v[4], v[-1]] for n, v in losses.items()],
            )
        ],
        [Picture("Training loss with three activations", draw, (6, 3.5))],
    )
