"""Batch norm against initial scale and learning rate: a deep network with and without it."""

import numpy as np

from xpnet import functional as F
from xpnet import init, manual_seed, nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer, TrainingDivergedError

SCALES = (0.01, 0.1, 1.0, 3.0)  # times He's standard deviation
RATES = (0.01, 0.1, 1.0)
EPOCHS, DEPTH, WIDTH = 6, 5, 32


# core
def network(norm, scale):
    layers, size = [], 64
    for _ in range(DEPTH):
        he = lambda shape, dtype="float32": scale * init.he_normal(shape, dtype)
        layers += [nn.Linear(size, WIDTH, bias=not norm, weight_init=he, bias_init=init.zeros)]
        layers += [nn.BatchNorm1d(WIDTH), nn.ReLU()] if norm else [nn.ReLU()]
        size = WIDTH
    return nn.Sequential(*layers, nn.Linear(size, 10, weight_init=init.xavier_fan_in, bias_init=init.zeros))


# end of core


def final_accuracy(train, validation, norm, scale, rate):
    manual_seed(0)
    model = network(norm, scale)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=rate), capture=True)
    try:
        with np.errstate(all="ignore"):  # some are meant to overflow
            history = trainer.fit(DataLoader(train, batch_size=64), epochs=EPOCHS)
            accuracy = trainer.evaluate(validation)["accuracy"]
    except TrainingDivergedError:
        return 0.0, trainer.history["train_loss"] if len(trainer.history) else []
    return accuracy, history["train_loss"]


@experiment("S1, S2, S4, S5", "batch norm: insensitivity to the initial scale, larger learning rates")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))
    train, validation = train.to_backend(), validation.to_backend()
    scales, rates, curves = {}, {}, {}
    for norm in (False, True):
        scales[norm] = []
        for scale in SCALES:
            accuracy, curves[norm, scale] = final_accuracy(train, validation, norm, scale, 0.2)
            scales[norm].append(accuracy)
        rates[norm] = [final_accuracy(train, validation, norm, 1.0, rate)[0] for rate in RATES]

    def draw(figure):
        axes = figure.subplots(1, 3)
        for axis, norm in zip(axes, (False, True), strict=False):
            for scale in SCALES:
                axis.plot(
                    np.arange(1, len(curves[norm, scale]) + 1),
                    curves[norm, scale],
                    "o-",
                    label=f"{scale:g} x He",
                )
            axis.set(xlabel="epoch", ylim=(0, 3), title="batch norm" if norm else "without")
            axis.legend(fontsize="small")
        for norm in (False, True):
            axes[2].semilogx(RATES, rates[norm], "o-", label="batch norm" if norm else "without")
        axes[2].set(xlabel="learning rate", ylabel="validation accuracy")
        axes[0].set_ylabel("training loss")
        axes[2].legend(fontsize="small")

    name = {False: "without", True: "batch norm"}
    return Result(
        "With batch norm a network of five hidden layers learns well from initial weights over a range of "
        "300, and at a learning rate 10 times as large; without it, only near He's scale and below the rate "
        "at which it diverges. The range has an end: gradients shrink like 1/scale, so very large weights "
        "are learnt slowly. Accuracy 0 in the table means that the loss became infinite.",
        [
            Check("batch norm: validation accuracy at 0.01, 0.1, 1, 3 x He", scales[True], at_least=0.85),
            Check("batch norm: spread of that accuracy", max(scales[True]) - min(scales[True]), at_most=0.12),
            Check("without: accuracy at 0.01 x He", scales[False][0], at_most=0.3),
            Check("without: accuracy at 1 x He", scales[False][2], at_least=0.8),
            Check("batch norm: accuracy at rates 0.1 and 1", rates[True][1:], at_least=0.85),
            Check("without: accuracy at rate 1", rates[False][2], at_most=0.3),
        ],
        [
            Table(
                "Validation accuracy by initial scale, learning rate 0.2",
                ["times He", *map(str, SCALES)],
                [[name[norm], *scales[norm]] for norm in name],
            ),
            Table(
                "Validation accuracy by learning rate, He's scale",
                ["rate", *map(str, RATES)],
                [[name[norm], *rates[norm]] for norm in name],
            ),
        ],
        [Picture("Training loss from several initial scales; accuracy by learning rate", draw, (10, 3.5))],
    )
