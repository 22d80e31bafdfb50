"""H2O's example of regularisation: hidden dropout ratios of 0.2 and 0.3 with L1 and L2 of 1e-4."""

import numpy as np

from xpnet import functional as F
from xpnet import manual_seed, nn, optim
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

EPOCHS = 32
MARGIN = 0.02  # over six seeds the differences were 0.046 to 0.126; chance alone makes about 0.01
CASES = {"Rectifier": ((0.0, 0.0), 0.0), "RectifierWithDropout, L1, L2": ((0.2, 0.3), 1e-4)}


def train(ratios, strength, data, validation):
    manual_seed(0)
    first, second = ratios
    # core
    model = nn.Sequential(
        nn.Linear(64, 50),
        nn.ReLU(),
        nn.Dropout(first),
        nn.Linear(50, 50),
        nn.ReLU(),
        nn.Dropout(second),
        nn.Linear(50, 10),
    )
    loss = lambda output, y: F.cross_entropy(output, y) + F.l1(model, strength) + F.l2(model, strength)
    # end of core
    trainer = Trainer(model, loss, optim.Adam(model, lr=0.003), capture=True)
    history = trainer.fit(DataLoader(data, 32), validation, epochs=EPOCHS)
    return history["val_accuracy"], trainer.evaluate(data)["accuracy"]


@experiment("S2, S5", "regularisation: hidden=[50, 50], hidden_dropout_ratio=[0.2, 0.3], l1 = l2 = 1e-4")
def run() -> Result:
    train_set, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.3, 0.7))
    labels = train_set.y.copy()
    labels[: len(labels) // 4] = (
        labels[: len(labels) // 4] + 1
    ) % 10  # a quarter is wrong; the order is random
    noisy = Dataset(train_set.x, labels)
    found = {name: train(*case, noisy, validation) for name, case in CASES.items()}
    plain, regularised = CASES

    def draw(figure):
        axis = figure.subplots()
        for name, (curve, _) in found.items():
            axis.plot(np.arange(1, EPOCHS + 1), curve, label=name)
        axis.set(xlabel="epoch", ylabel="validation accuracy")
        axis.legend()

    return Result(
        "On digits of which a quarter have wrong labels the plain network learns them by heart and "
        "forgets what "
        "it knew; with H2O's ratios and both penalties the training accuracy is lower and the validation "
        "accuracy higher, which is what S5 defines regularisation by.",
        [
            Check(
                "validation accuracy: regularised - plain",
                found[regularised][0][-1] - found[plain][0][-1],
                at_least=0.03,
            ),
            Check(
                "training accuracy: plain - regularised",
                found[plain][1] - found[regularised][1],
                at_least=MARGIN,
            ),
            Check(
                "plain: accuracy lost since its best epoch",
                max(found[plain][0]) - found[plain][0][-1],
                at_least=MARGIN,
            ),
        ],
        [
            Table(
                f"After {EPOCHS} epochs",
                ("network", "training accuracy", "validation accuracy"),
                [[n, t, c[-1]] for n, (c, t) in found.items()],
            )
        ],
        [Picture("Validation accuracy", draw, (7, 3))],
    )
