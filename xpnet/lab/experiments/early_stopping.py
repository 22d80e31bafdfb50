"""Early stopping: with patience, and with H2O's moving average."""

import numpy as np

from xpnet import manual_seed, nn, optim
from xpnet.data import DataLoader, Dataset, load_digits
from xpnet.functional import cross_entropy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import EarlyStopping, MovingAverageStopping, Trainer

EPOCHS = 60


def data():
    """Few samples, a third of them with a wrong label: a network can only learn those by heart."""
    digits = load_digits()
    x, y = (digits.x / 16).astype(np.float32), digits.y.copy()
    y[:200:3] = (y[:200:3] + 1) % 10
    return Dataset(x[:200], y[:200]), Dataset(x[1000:1400], digits.y[1000:1400])


def train(callbacks=()):
    manual_seed(1)
    training, validation = data()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    trainer = Trainer(model, cross_entropy, optim.Adam(model, lr=0.005), callbacks)
    history = trainer.fit(DataLoader(training, 50), validation, EPOCHS)
    return history, trainer.evaluate(validation)["loss"]


def patience_by_hand(losses, patience):
    """The number of epochs until the smallest loss is `patience` epochs old."""
    for n in range(1, len(losses) + 1):
        if n - 1 - int(np.argmin(losses[:n])) >= patience:
            return n
    return len(losses)


def h2o_by_hand(losses, rounds, tolerance):
    """Epochs until the moving average has not improved by the tolerance for `rounds` epochs."""
    reference, last = np.mean(losses[:rounds]), rounds
    for n in range(rounds + 1, len(losses) + 1):
        average = np.mean(losses[n - rounds : n])
        if average < reference * (1 - tolerance):
            reference, last = average, n
        elif n - last >= rounds:
            return n
    return len(losses)


@experiment("S2, S4, S5", "early stopping: patience, and H2O's moving average over 5 scoring events")
def run() -> Result:
    # core
    full, end = train()
    patient, patient_loss = train([EarlyStopping(patience=8)])
    h2o, h2o_loss = train([MovingAverageStopping(rounds=5, tolerance=1e-3)])
    coarse, _ = train([MovingAverageStopping(rounds=5, tolerance=0.1)])
    # end of core
    losses = np.array(full["val_loss"])
    average = np.convolve(losses, np.ones(5) / 5, "valid")

    def draw(figure):
        axis = figure.subplots()
        axis.plot(full["train_loss"], label="training loss")
        axis.plot(losses, label="validation loss")
        axis.plot(np.arange(4, EPOCHS), average, ":", label="moving average of 5")
        axis.axvline(int(losses.argmin()), c="k", lw=0.5, label="best")
        axis.axvline(patient.epochs - 1, c="C2", ls="--", label="patience 8 stops")
        axis.axvline(h2o.epochs - 1, c="C3", ls="--", label="H2O's rule stops")
        axis.set(xlabel="epoch", ylabel="loss")
        axis.legend(fontsize="small")

    return Result(
        "The training loss falls on while the validation loss turns: from there on the network learns the "
        "wrong labels by heart. Both rules stop soon after the turn and put the best weights back; without "
        "them the last ones stay.",
        [
            Check(
                "training loss, last to first", full["train_loss"][-1] / full["train_loss"][0], at_most=0.25
            ),
            Check("validation loss, last to best", losses[-1] / losses.min(), at_least=1.2),
            Check("patience 8: epochs", patient.epochs, exact=patience_by_hand(losses, 8)),
            Check(
                "patience 8: loss of the weights put back",
                patient_loss,
                exact=min(patient["val_loss"]),
                atol=1e-6,
            ),
            Check("H2O's rule: epochs", h2o.epochs, exact=h2o_by_hand(losses, 5, 1e-3)),
            Check(
                "H2O's rule: loss of the weights put back", h2o_loss, exact=min(h2o["val_loss"]), atol=1e-6
            ),
            Check("H2O's rule, tolerance 10 %: epochs", coarse.epochs, exact=h2o_by_hand(losses, 5, 0.1)),
            Check("no stopping: loss of the last weights", end, exact=losses[-1], atol=1e-6),
            Check("validation loss, stopped to not stopped", patient_loss / end, at_most=0.85),
        ],
        [
            Table(
                "Epochs and validation loss",
                ("rule", "epochs", "loss"),
                [
                    ["none", EPOCHS, end],
                    ["patience 8", patient.epochs, patient_loss],
                    ["moving average of 5, 0.1%", h2o.epochs, h2o_loss],
                ],
            )
        ],
        [Picture("Training and validation loss, and where the rules stop", draw, (7, 3.5))],
    )
