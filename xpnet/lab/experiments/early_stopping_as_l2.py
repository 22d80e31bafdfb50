"""Stopping early is a kind of L2: the number of steps is a hyperparameter like lambda."""

import numpy as np

from xpnet import asarray, hessian, init, manual_seed, nn, optim, tensor, to_numpy
from xpnet import functional as F
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import EarlyStopping, Trainer

SCALES = np.array([4.0, 1.0, 0.25, 0.05])
RATE, STEPS, EPOCHS, PATIENCE = 0.05, (1, 10, 100, 1000), 60, 5


def bowl(w):
    """sum c_i (w_i - 1)^2 / 2."""
    return ((w - 1.0) ** 2 * asarray(SCALES / 2, "float32")).sum()


def quadratic():
    """Gradient descent from 0: w after each of some numbers of steps."""
    w = tensor(init.zeros((4,)), requires_grad=True)
    optimizer, found = optim.SGD([w], lr=RATE), []
    for step in range(1, max(STEPS) + 1):
        optimizer.zero_grad()
        bowl(w).backward()
        optimizer.step()
        if step in STEPS:
            found.append(to_numpy(w).copy())
    return np.array(found)


def overfit(callbacks):
    """A network for digits of which a third have wrong labels in the training set."""
    manual_seed(0)
    train, validation, test = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.2, 0.2, 0.6))
    labels = train.y.copy()
    labels[::3] = (labels[::3] + 1) % 10
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.003), callbacks)
    history = trainer.fit(DataLoader(Dataset(train.x, labels), 32), validation, epochs=EPOCHS)
    return history, trainer.evaluate(test)


@experiment("S2, S4, S5", "early stopping: training time is a hyperparameter, an easy form of regularisation")
def run() -> Result:
    # core
    weights = quadratic()
    curvatures, found = SCALES, np.diag(to_numpy(hessian(bowl)(init.zeros((4,)))))
    exact = np.array([1 - (1 - RATE * curvatures) ** t for t in STEPS])
    l2 = np.array([curvatures / (curvatures + 1 / (RATE * t)) for t in STEPS])  # strength 1 / (rate * steps)
    # end of core

    (full, at_end), (short, at_best) = overfit([]), overfit([EarlyStopping(PATIENCE)])
    best = int(np.argmin(full["val_loss"]))

    def draw(figure):
        axes = figure.subplots(1, 2)
        axes[0].plot(full["train_loss"], label="training")
        axes[0].plot(full["val_loss"], label="validation")
        axes[0].axvline(best, color="k", ls=":", label="best")
        axes[0].axvline(len(short["val_loss"]) - 1, color="C3", ls="--", label="stopped")
        axes[0].set(xlabel="epoch", ylabel="loss, a third of the labels wrong")
        axes[0].legend(fontsize="small")
        c = np.geomspace(0.01, 10, 100)
        for k, t in enumerate((10, 100, 1000)):
            axes[1].semilogx(c, 1 - np.clip(1 - RATE * c, 0, 1) ** t, color=f"C{k}", label=f"{t} steps")
            axes[1].semilogx(c, c / (c + 1 / (RATE * t)), "--", color=f"C{k}")
        axes[1].set(xlabel="curvature", ylabel="share learnt; dashed: L2")
        axes[1].legend(fontsize="small")

    return Result(
        "After t steps a direction of curvature c has learnt 1 - (1 - rate c)^t of its weight, close to the "
        "c / (c + lambda) of L2 with lambda = 1 / (rate t): few steps regularise as a large lambda does. "
        "With wrong labels the validation loss turns up while the training loss falls; stopping there and "
        "keeping the best weights is far better than going on.",
        [
            Check("curvatures of the bowl", found, exact=SCALES, atol=1e-6),
            Check("weights after 1, 10, 100, 1000 steps", weights, exact=exact, atol=1e-4),
            Check("largest difference from L2", np.abs(weights - l2).max(), at_most=0.25),
            Check(
                "epochs until stopped: best epoch + patience + 1",
                len(short["val_loss"]),
                exact=short["val_loss"].index(min(short["val_loss"])) + PATIENCE + 1,
            ),
            Check("stopped before the end", len(short["val_loss"]), at_most=EPOCHS - 20),
            Check(
                "validation loss at the end / at its best",
                full["val_loss"][-1] / full["val_loss"][best],
                at_least=1.2,
            ),
            Check(
                "test accuracy: early stopping - all epochs",
                at_best["accuracy"] - at_end["accuracy"],
                at_least=0.05,
            ),
        ],
        [
            Table(
                "A third of the training labels wrong",
                ["", "epochs", "test loss", "test accuracy"],
                [
                    ["all epochs", len(full["val_loss"]), at_end["loss"], at_end["accuracy"]],
                    ["early stopping", len(short["val_loss"]), at_best["loss"], at_best["accuracy"]],
                ],
            )
        ],
        [Picture("Early stopping", draw, (9, 3.5))],
    )
