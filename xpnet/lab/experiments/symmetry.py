"""Weights that start equal stay equal: a wide layer that is one unit."""

import numpy as np

from xpnet import functional as F
from xpnet import init, nn, optim, to_numpy
from xpnet.data import load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer, predict

UNITS, EPOCHS = 20, 5
STARTS = {
    "zero": init.zeros,
    "constant 0.1": lambda shape, dtype="float32": init.constant(shape, 0.1, dtype),
    "random": init.xavier_fan_in,
}


@experiment("S1, S2, S5", "zero and constant weights: symmetry is never broken")
def run() -> Result:
    # float64 and few epochs: some BLAS round the columns of a product differently, which training blows up
    digits = load_digits().map(lambda x: x.astype(np.float64) / 16)
    options = {"bias_init": init.zeros, "dtype": "float64"}
    train, test = split(digits, (0.8, 0.2))
    spread, accuracy, distinct, hidden = {}, {}, {}, {}
    # core
    for name, start in STARTS.items():
        layer = nn.Linear(64, UNITS, weight_init=start, **options)
        model = nn.Sequential(layer, nn.Tanh(), nn.Linear(UNITS, 10, weight_init=start, **options))
        Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.5)).fit(train, epochs=EPOCHS)
        w = layer.weight.numpy()
        spread[name] = float(np.abs(w - w[0]).max())
        distinct[name] = len(np.unique(w.round(3), axis=0))
        accuracy[name] = float(np.mean(to_numpy(predict(model, test)).argmax(1) == test.y))
        # end of core
        hidden[name] = w
    moved = float(np.abs(hidden["constant 0.1"] - 0.1).max())

    def draw(figure):
        for axis, (name, w) in zip(figure.subplots(1, 3), hidden.items(), strict=True):
            axis.imshow(w, aspect="auto", cmap="RdBu", vmin=-0.5, vmax=0.5)
            axis.set(title=f"{name}: {accuracy[name]:.0%} right", xlabel="pixel", ylabel="hidden unit")

    return Result(
        "Hidden units with equal weights compute the same and get the same gradient, so 5 epochs later "
        "they are still one unit, and from zero nothing but the output biases ever moves. Random weights "
        "break the symmetry.",
        [
            Check(
                "zero: largest hidden weight after training", np.abs(hidden["zero"]).max(), exact=0.0, atol=0
            ),
            Check(
                "constant: largest difference between two units' weights",
                spread["constant 0.1"],
                exact=0.0,
                atol=1e-4,
            ),
            Check("constant: the weights have moved", moved, at_least=0.1),
            Check("different units: zero, constant, random", list(distinct.values()), exact=[1, 1, UNITS]),
            Check("accuracy, zero: one class only", accuracy["zero"], at_most=0.12),
            Check("accuracy, constant: what one unit can do", accuracy["constant 0.1"], at_most=0.5),
            Check("accuracy, random", accuracy["random"], at_least=0.9),
        ],
        [
            Table(
                "After 5 epochs",
                ["start", "different units", "test accuracy"],
                [[name, distinct[name], accuracy[name]] for name in STARTS],
            )
        ],
        [Picture("Weights of the 20 hidden units after training", draw)],
    )
