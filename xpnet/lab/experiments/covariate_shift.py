"""Covariate shift: the inputs of a layer wander while the layers before it learn; batch norm holds them."""

import numpy as np

from xpnet import functional as F
from xpnet import manual_seed, nn, optim, to_numpy
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Callback, Trainer

EPOCHS = 15
KINDS = {"without": (), "batch norm": (nn.BatchNorm1d,)}


class Watch(Callback):
    """The inputs of the last nonlinearity on the same 256 pictures, and the last hidden layer's weights."""

    def __init__(self, before, weights, x):
        self.before, self.weights, self.x = before, weights, x
        self.means, self.weight_means = [], []

    def on_fit_begin(self, trainer):
        """Measure what the first weights make of it."""
        self.on_epoch_end(trainer)

    def on_epoch_end(self, trainer):
        """Measure."""
        # core
        z = to_numpy(self.before(self.x)).astype(np.float64)  # on the batch's own statistics, as in training
        self.means.append([z.mean(axis=0), z.var(axis=0)])
        w = to_numpy(self.weights.data)
        self.weight_means.append([w.mean(), w.std()])
        # end of core


def train_with(norm, data):
    manual_seed(0)
    layers = []
    for inputs in (64, 50):
        layers += [nn.Linear(inputs, 50), *(n(50) for n in norm), nn.ReLU()]
    layers += [nn.Linear(50, 50), *(n(50) for n in norm)]
    before = nn.Sequential(*layers)
    model = nn.Sequential(before, nn.ReLU(), nn.Linear(50, 10))
    watch = Watch(before, layers[-1 - len(norm)].weight, data.x[:256])
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), [watch], capture=True)
    trainer.fit(DataLoader(data, 50), epochs=EPOCHS)
    return np.array(watch.means), np.array(watch.weight_means)


@experiment("S1", "covariate shift: 'the mean and variance of the weights will change'")
def run() -> Result:
    data = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))[0].to_backend()
    inputs, weights = {}, {}
    for name, norm in KINDS.items():
        inputs[name], weights[name] = train_with(norm, data)
    moved = {name: np.abs(z[-1, 0] - z[0, 0]).mean() for name, z in inputs.items()}
    grown = {name: z[-1, 1].mean() / z[0, 1].mean() for name, z in inputs.items()}
    w = weights["without"]

    def draw(figure):
        for axis, (name, z) in zip(figure.subplots(1, 2, sharey=True), inputs.items(), strict=True):
            axis.plot(z[:, 0, :12])
            axis.set(title=name, xlabel="epoch")
        figure.axes[0].set_ylabel("mean input of 12 units")

    return Result(
        "S1 says that the mean and variance of the weights change; what Ioffe and Szegedy call covariate "
        "shift is that those of a layer's inputs do. The weights' mean stays and their deviation grows by a "
        f"factor of {w[-1, 1] / w[0, 1]:.1f}, while the variance of the third nonlinearity's inputs grows by "
        f"one of {grown['without']:.0f}. Behind batch norm they move only as gamma and "
        "beta let them.",
        [
            Check("variance of the inputs, last / first epoch, without", grown["without"], at_least=5),
            Check("the same behind batch norm", grown["batch norm"], at_least=0.5, at_most=2),
            Check(
                "move of the inputs' means: without / batch norm",
                moved["without"] / moved["batch norm"],
                at_least=2,
            ),
            Check("deviation of the weights, last / first, without", w[-1, 1] / w[0, 1], at_most=2),
            Check("move of the weights' mean, without", abs(w[-1, 0] - w[0, 0]), at_most=0.02),
            Check(
                "batch norm before training: largest mean and variance - 1",
                [np.abs(inputs["batch norm"][0, 0]).max(), np.abs(inputs["batch norm"][0, 1] - 1).max()],
                exact=[0.0, 0.0],
                atol=2e-3,
            ),
        ],
        [
            Table(
                "Inputs of the third nonlinearity, on the same 256 digits",
                ("", "mean moves by", "variance, first", "variance, last"),
                [[n, moved[n], z[0, 1].mean(), z[-1, 1].mean()] for n, z in inputs.items()],
            )
        ],
        [Picture("Mean input of twelve units, epoch by epoch", draw, (9, 3))],
    )
