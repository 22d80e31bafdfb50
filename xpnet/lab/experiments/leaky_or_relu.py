"""Is the leaky ReLU better than ReLU? In some runs."""

import numpy as np

from xpnet import functional as F
from xpnet import manual_seed, nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

UNITS = {"ReLU": nn.ReLU, "leaky ReLU": nn.LeakyReLU}
DEPTHS, SEEDS, EPOCHS = (1, 2), range(5), 8


# core
def accuracy(unit, depth, seed, train, validation):
    manual_seed(seed)
    layers = [layer for k in range(depth) for layer in (nn.Linear(32 if k else 64, 32), unit())]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    optimizer = optim.SGD(model, lr=0.05, momentum=0.9)
    trainer = Trainer(model, F.cross_entropy, optimizer, capture=True)
    trainer.fit(DataLoader(train, 32), epochs=EPOCHS)
    return trainer.evaluate(validation)["accuracy"]


# end of core


@experiment("S1", "leaky ReLU: not consistently better than ReLU")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.3, 0.7))
    train, validation = train.to_backend(), validation.to_backend()
    found = {
        name: np.array([[accuracy(u, d, s, train, validation) for s in SEEDS] for d in DEPTHS])
        for name, u in UNITS.items()
    }
    gain = found["leaky ReLU"] - found["ReLU"]

    def draw(figure):
        axis = figure.subplots()
        for depth, row in zip(DEPTHS, gain, strict=True):
            axis.plot(list(SEEDS), 100 * row, "o", label=f"{depth} hidden layers")
        axis.axhline(0, c="k", lw=0.7)
        axis.set(xlabel="seed", ylabel="leaky - ReLU, % accuracy", xticks=list(SEEDS))
        axis.legend()

    return Result(
        f"Ten pairs of networks with the same weights and batches: the leaky one is better in "
        f"{(gain > 0).sum()}, worse in {(gain < 0).sum()}, and on average by {100 * gain.mean():.2f} %, less "
        "than the seeds differ. Where units die (dead-relu) it is another matter.",
        [
            Check("mean gain in validation accuracy", gain.mean(), exact=0.0, atol=0.02),
            Check("runs in which leaky is better", (gain > 0).sum(), at_least=1),
            Check("runs in which it is worse", (gain < 0).sum(), at_least=1),
            Check("worst accuracy of all runs", min(a.min() for a in found.values()), at_least=0.85),
        ],
        [
            Table(
                "Validation accuracy, mean of 5 seeds",
                ("hidden layers", *UNITS),
                [[d, *(a[k].mean() for a in found.values())] for k, d in enumerate(DEPTHS)],
            )
        ],
        [Picture("Gain of the leaky ReLU, run by run", draw, (6, 3))],
    )
