"""The order of the samples: sorted by class, shuffled, or with the classes taking turns."""

import numpy as np

from xpnet import functional as F
from xpnet import manual_seed, nn, optim, to_numpy
from xpnet.data import DataLoader, Interleaved, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer, predict

BATCH, EPOCHS = 10, 2


@experiment("S3, S4", "shuffling: do not present all samples of class A, then all of class B")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))
    # core
    by_class = train.subset(np.argsort(train.y, kind="stable"))
    loaders = {
        "sorted by class": DataLoader(by_class, BATCH, shuffle=False),
        "shuffled": DataLoader(train, BATCH),
        "interleaved": DataLoader(train, BATCH, sampler=Interleaved(train.y)),
    }
    # end of core
    classes, accuracy, last = {}, {}, {}
    for name, loader in loaders.items():
        classes[name] = [len(np.unique(to_numpy(y))) for _, y in loader if y.shape[0] == BATCH]
        manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1))
        accuracy[name] = trainer.fit(loader, validation, epochs=EPOCHS)["val_accuracy"]
        predicted = to_numpy(predict(model, validation)).argmax(axis=1)
        last[name] = np.bincount(predicted, minlength=10) / len(predicted)

    orders = [loaders["shuffled"].order(epoch) for epoch in (0, 1)]
    interleaved = loaders["interleaved"].order(0)
    counts = np.array([np.bincount(train.y[interleaved[:n]], minlength=10) for n in range(1, len(train))])
    share = np.bincount(train.y) / len(train)
    drift = np.abs(counts - np.arange(1, len(train))[:, None] * share).max()

    def draw(figure):
        for axis, (name, shares) in zip(figure.subplots(1, 3, sharey=True), last.items(), strict=True):
            axis.bar(range(10), shares)
            axis.set(
                title=f"{name}: accuracy {accuracy[name][-1]:.0%}", xlabel="predicted class", xticks=range(10)
            )
        figure.axes[0].set_ylabel("share of the predictions")

    return Result(
        "Presented class by class, the network forgets what it saw first and calls most samples by the last "
        "classes; shuffled, or with classes taking turns, it learns all. Interleaving keeps every stretch "
        "of an epoch at the classes' shares to within a sample or so, the surest form of S3's advice to "
        "follow a sample by one of another class.",
        [
            Check("classes in a batch of 10, sorted: mean", np.mean(classes["sorted by class"]), at_most=1.1),
            Check(
                "shuffled", np.mean(classes["shuffled"]), exact=10 * (1 - 0.9**10), atol=0.3
            ),  # of 10 draws
            Check("interleaved", np.mean(classes["interleaved"]), at_least=9.0),
            Check(
                "interleaved: largest deviation of a prefix from the classes' shares, samples",
                drift,
                at_most=1.0,
            ),
            Check("accuracy, sorted", accuracy["sorted by class"][-1], at_most=0.6),
            Check("accuracy, shuffled", accuracy["shuffled"][-1], at_least=0.9),
            Check("accuracy, interleaved", accuracy["interleaved"][-1], at_least=0.9),
            Check("shuffled: every sample once an epoch", np.sort(orders[0]), exact=np.arange(len(train))),
            Check(
                "shuffled: share of places that keep their sample in the next epoch",
                np.mean(orders[0] == orders[1]),
                at_most=0.01,
            ),
        ],
        [
            Table(
                "Validation accuracy by epoch",
                ["order", *map(str, range(1, EPOCHS + 1))],
                [[k, *v] for k, v in accuracy.items()],
            )
        ],
        [Picture("What is predicted on the validation set after two epochs", draw, (10, 3))],
    )
