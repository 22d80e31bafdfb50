"""Curriculum learning: easy samples first, then progressively harder ones."""

import numpy as np

from xpnet import asarray, manual_seed, nn, no_grad, optim, to_numpy
from xpnet import functional as F
from xpnet.data import Curriculum, DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.pictures import show
from xpnet.train import Trainer

START, GROWTH, EPOCHS = 0.2, 5, 10


def network():
    manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@experiment("S4", "curriculum learning: solve progressively harder problems")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))
    # core
    easy_model = nn.Linear(64, 10)  # its losses say what is hard
    Trainer(easy_model, F.cross_entropy, optim.SGD(easy_model, lr=0.1)).fit(train, epochs=3)
    with no_grad():
        difficulty = to_numpy(
            F.cross_entropy(easy_model(asarray(train.x)), asarray(train.y), reduction="none")
        )
    sampler = Curriculum(difficulty, START, GROWTH)
    # end of core
    orders = [sampler.order(epoch) for epoch in range(EPOCHS)]
    presented = [len(order) for order in orders]
    hardest = [float(difficulty[order].max()) for order in orders]

    curves = {}
    for name, loader in {
        "shuffled": DataLoader(train, 16),
        "curriculum": DataLoader(train, 16, sampler=sampler),
    }.items():
        model = network()
        trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.05))
        curves[name] = trainer.fit(loader, validation, epochs=EPOCHS)["val_accuracy"]

    def draw(figure):
        axes = figure.subplots(2, 8)
        for k, i in enumerate([*difficulty.argsort()[:8], *difficulty.argsort()[-8:]]):
            show(
                axes.flat[k],
                1 - (train.x[i].reshape(1, 8, 8) * 6 + 4.9) / 16,
                f"{train.y[i]}: loss {difficulty[i]:.2g}",
            )

    shares = [min(1.0, START + (1 - START) * k / GROWTH) for k in range(EPOCHS)]
    steps = {"shuffled": EPOCHS * len(train), "curriculum": sum(presented)}
    return Result(
        "The first epoch presents the easiest fifth of the digits, as a small model's loss ranks them, each "
        "later one more, until all are in. On a task this easy the result is the same, from a quarter "
        "fewer samples presented.",
        [
            Check(
                "share of the samples in each epoch",
                np.array(presented) / len(train),
                exact=shares,
                atol=1 / len(train),
            ),
            Check(
                "first epoch: the easiest ones",
                np.sort(difficulty[orders[0]]),
                exact=np.sort(difficulty)[: presented[0]],
            ),
            Check(
                "hardest sample from one epoch to the next: smallest growth",
                min(np.diff(hardest)),
                at_least=0.0,
            ),
            Check("last epoch: every sample once", np.sort(orders[-1]), exact=np.arange(len(train))),
            Check(
                "final accuracy: curriculum - shuffled",
                curves["curriculum"][-1] - curves["shuffled"][-1],
                exact=0.0,
                atol=0.03,
            ),
            Check("final accuracy, curriculum", curves["curriculum"][-1], at_least=0.93),
        ],
        [
            Table(
                "Validation accuracy",
                ["", *(f"epoch {k}" for k in (1, 2, 5, 10)), "samples presented"],
                [
                    [name, *(curve[k - 1] for k in (1, 2, 5, 10)), steps[name]]
                    for name, curve in curves.items()
                ],
            )
        ],
        [Picture("The eight easiest and the eight hardest digits", draw, (9, 2.8))],
    )
