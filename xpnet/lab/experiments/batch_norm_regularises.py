"""Batch norm as regularisation: its noise is that of the batch, and it replaces some dropout."""

import numpy as np

from xpnet import asarray, manual_seed, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

EPOCHS, WIDTH, WRONG = 20, 128, 0.15
SIZES, DRAWS = (32, 128, 512), 300
SETTINGS = {  # batch norm, dropout, batch size
    "plain": (False, 0.0, 10),
    "batch norm, batches of 10": (True, 0.0, 10),
    "batch norm, batches of 120": (True, 0.0, 120),
    "dropout 0.5": (False, 0.5, 10),
    "both": (True, 0.5, 10),
}


def train_with(norm, dropout, batch, train, validation):
    manual_seed(0)
    layers = [
        nn.Linear(64, WIDTH),
        *([nn.BatchNorm1d(WIDTH)] if norm else []),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.003), capture=True)
    trainer.fit(DataLoader(train, batch), epochs=EPOCHS)
    return [trainer.evaluate(d)["accuracy"] for d in (train, validation)]


# core
def noise(pool, size, training=True):
    """Deviation of a value of 0 behind batch norm, over the others that happen to be in its batch."""
    norm = nn.BatchNorm1d(pool.shape[1]).train(training)
    draws = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        others = pool[draws.choice(len(pool), size - 1, replace=False)]
        found.append(to_numpy(norm(asarray(np.concatenate([np.zeros_like(pool[:1]), others]))))[0])
    return float(np.std(found, axis=0).mean())


# end of core


@experiment("S2", "batch norm: 'acts as a form of regularisation in a funny way', less need for dropout")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.2, 0.8))
    labels = train.y.copy()
    labels[: round(WRONG * len(labels))] += 1  # the order is random
    train, validation = Dataset(train.x, labels % 10).to_backend(), validation.to_backend()
    found = {name: train_with(*s, train, validation) for name, s in SETTINGS.items()}
    pool = np.random.default_rng(1).normal(size=(4000, 20)).astype(np.float32)
    jitter = [noise(pool, size) for size in SIZES]

    def draw(figure):
        axis = figure.subplots()
        where = np.arange(len(found))
        axis.barh(where + 0.2, [a for a, _ in found.values()], 0.4, label="training, 15 % wrong labels")
        axis.barh(where - 0.2, [b for _, b in found.values()], 0.4, label="validation")
        axis.set(yticks=where, yticklabels=list(found), xlim=(0.4, 1), xlabel="accuracy")
        axis.legend(fontsize="small")

    return Result(
        "The funny way: behind batch norm a sample's value depends on who else is in its batch, a noise that "
        "falls as 1/sqrt(batch size) and is gone at test time, like dropout's. Whether it helps is another "
        "question: with 15 % wrong labels batch norm in small batches gains nothing here, dropout does, and "
        "dropout gains as much with batch norm as without. The slide's 'maybe' is right.",
        [
            *(
                Check(
                    f"batches of {size}: deviation of a value that is 0, by the batch's mean",
                    value,
                    exact=(size - 1) ** 0.5
                    / size,  # of the mean of size - 1 values of deviation 1, and of a 0
                    rtol=0.08,
                )
                for size, value in zip(SIZES, jitter, strict=True)
            ),
            Check("the same in evaluation", noise(pool, SIZES[0], training=False), exact=0.0, atol=0),
            Check(
                "training accuracy on wrong labels, dropout - plain (it cannot learn them by heart)",
                found["dropout 0.5"][0] - found["plain"][0],
                at_most=-0.01,
            ),
            Check(
                "validation accuracy: dropout 0.5 - plain",
                found["dropout 0.5"][1] - found["plain"][1],
                at_least=0.01,
            ),
        ],
        [
            Table(
                "15 % of the labels are wrong",
                ("", "training accuracy", "validation accuracy"),
                [[name, *accuracies] for name, accuracies in found.items()],
            )
        ],
        [Picture("Accuracy with 15 % wrong labels", draw, (8, 3))],
    )
