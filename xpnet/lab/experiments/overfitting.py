"""Underfitting and overfitting: training and validation loss by the size of the network."""

import numpy as np

from xpnet import functional as F
from xpnet import manual_seed, nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer, generalization_gap

WIDTHS, EPOCHS = (1, 8, 256), 60


@experiment("S1, S2, S4, S5", "overfitting and underfitting: the gap between training and validation loss")
def run() -> Result:
    # little data and noisy pictures: a large network can learn them by heart
    small, rest, _ = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.1, 0.5, 0.4))
    noise = np.random.default_rng(0)
    small, rest = (
        part.map(lambda x: (x + noise.normal(0, 0.7, x.shape)).astype(np.float32)).to_backend()
        for part in (small, rest)
    )
    curves, last = {}, {}
    # core
    for width in WIDTHS:
        manual_seed(0)
        model = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))
        trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.01))
        history = trainer.fit(DataLoader(small, 32), rest, epochs=EPOCHS)
        curves[width] = history["train_loss"], history["val_loss"]
        last[width] = trainer.evaluate(small) | {f"val_{k}": v for k, v in trainer.evaluate(rest).items()}
    # end of core
    under, _, over = WIDTHS
    gap = {width: last[width]["val_loss"] - last[width]["loss"] for width in WIDTHS}
    warned = generalization_gap(
        *({k: last[over][p + k] for k in ("loss", "accuracy")} for p in ("", "val_"))
    ).status
    turn = int(np.argmin(curves[over][1]))

    def draw(figure):
        for axis, width in zip(figure.subplots(1, 3, sharey=True), WIDTHS, strict=True):
            for losses, label in zip(curves[width], ("training", "validation"), strict=True):
                axis.plot(range(1, EPOCHS + 1), losses, label=label)
            axis.set(title=f"{width} hidden units", xlabel="epoch", ylim=(0, 2.5))
        axis.legend()
        figure.axes[0].set_ylabel("loss")

    return Result(
        "One hidden unit underfits: training and validation loss are both high and close. 256 units learn "
        "180 noisy pictures by heart: the training loss goes to 0, the validation loss turns up, and the "
        "gap says so, while the training loss alone looks perfect.",
        [
            Check("underfitting: training loss", last[under]["loss"], at_least=1.0),
            Check(
                "underfitting: gap as a share of the training loss",
                gap[under] / last[under]["loss"],
                at_most=0.6,
            ),
            Check("overfitting: training loss", last[over]["loss"], at_most=0.05),
            Check("overfitting: training accuracy", last[over]["accuracy"], exact=1.0),
            Check(
                "overfitting: validation loss / training loss",
                last[over]["val_loss"] / last[over]["loss"],
                at_least=5.0,
            ),
            Check(
                "overfitting: xpnet's diagnostic of the gap warns (1: yes)",
                float(warned == "WARN"),
                exact=1.0,
            ),
            Check(
                "overfitting: validation loss at the end / at its lowest",
                curves[over][1][-1] / curves[over][1][turn],
                at_least=1.02,
            ),
            Check("overfitting: epoch of the lowest validation loss", turn + 1, at_most=EPOCHS // 2),
        ],
        [
            Table(
                "After 100 epochs",
                [
                    "hidden units",
                    "training loss",
                    "validation loss",
                    "training accuracy",
                    "validation accuracy",
                ],
                [[w, r["loss"], r["val_loss"], r["accuracy"], r["val_accuracy"]] for w, r in last.items()],
            )
        ],
        [Picture("Training and validation loss", draw, (10, 3.2))],
    )
