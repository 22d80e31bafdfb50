"""Gradient descent, mini-batches and single samples: updates per epoch, and what an epoch achieves."""

import math

import numpy as np

from xpnet import asarray, nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.functional import mse_loss
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Callback, Trainer

N, D, EPOCHS = 400, 8, 8
RATES = {N: 0.3, 50: 0.1, 1: 0.01}  # batch size: learning rate


class CountUpdates(Callback):
    """How many updates each epoch makes."""

    def __init__(self):
        self.updates = []

    def on_epoch_begin(self, trainer):
        """Note where it starts."""
        self.before = trainer.step

    def on_epoch_end(self, trainer):
        """Note how far it came."""
        self.updates.append(trainer.step - self.before)


@experiment("S1, S2, S4", "batch, stochastic and mini-batch gradient descent; with replacement or shuffled")
def run() -> Result:
    rng = np.random.default_rng(0)
    scales = np.linspace(0.3, 1.5, D)
    x = (rng.standard_normal((N, D)) * scales).astype(np.float32)
    y = (x @ rng.standard_normal((D, 1)) + 0.1 * rng.standard_normal((N, 1))).astype(np.float32)
    data = Dataset(x, y)

    # core
    errors, updates = {}, {}
    for size, lr in RATES.items():
        model = nn.Linear(D, 1)
        model.weight.data = asarray(np.zeros((1, D), dtype=np.float32))
        trainer = Trainer(model, mse_loss, optim.SGD(model, lr=lr), [count := CountUpdates()])
        loader = DataLoader(data, batch_size=size)
        history = trainer.fit(loader, data, epochs=EPOCHS)
        errors[size], updates[size] = history["val_loss"], count.updates
    # end of core

    # what an epoch sees
    index = Dataset(np.arange(N, dtype=np.float32)[:, None], y)
    seen = {
        kind: np.concatenate(
            [to_numpy(b)[:, 0] for b, _ in DataLoader(index, 50, replacement=kind == "with replacement")]
        )
        for kind in ("with replacement", "shuffled")
    }
    shares = {kind: len(np.unique(s)) / N for kind, s in seen.items()}

    # the mean of an epoch's gradients at one theta
    model = nn.Linear(D, 1)

    def gradient(xb, yb):
        model.zero_grad()
        mse_loss(model(xb), yb).backward()
        return to_numpy(model.weight.grad).copy()

    full = gradient(asarray(x), asarray(y))
    model.zero_grad()
    mse_loss(model(asarray(x)), asarray(y), reduction="sum").backward()
    ratio = np.linalg.norm(to_numpy(model.weight.grad)) / np.linalg.norm(full)
    mean = {
        kind: np.mean(
            [gradient(xb, yb) for xb, yb in DataLoader(data, 50, replacement=kind == "with replacement")],
            axis=0,
        )
        for kind in shares
    }

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for size, losses in errors.items():
            left.semilogy(range(1, EPOCHS + 1), losses, "o-", label=f"batches of {size}")
            right.loglog(np.cumsum(updates[size]), losses, "o-", label=f"batches of {size}")
        left.set(xlabel="epoch", ylabel="mean squared error")
        right.set(xlabel="update")
        left.legend()

    return Result(
        "An epoch is one pass over the N samples: gradient descent makes one update of it, stochastic "
        "descent N, so that its error falls much faster by epoch. Shuffled batches (S4) see each sample "
        "once and average to the full gradient; drawn with replacement (S1) an epoch misses a share of 1/e.",
        [
            Check("updates per epoch, batch", updates[N], deck=[1] * EPOCHS, exact=[1] * EPOCHS),
            Check("updates per epoch, mini-batches of 50", updates[50], exact=[N // 50] * EPOCHS),
            Check("updates per epoch, stochastic", updates[1], deck=[N] * EPOCHS, exact=[N] * EPOCHS),
            Check("error after 1 epoch: stochastic to batch", errors[1][0] / errors[N][0], at_most=0.2),
            Check("error after 8 epochs: mini-batches to batch", errors[50][-1] / errors[N][-1], at_most=0.5),
            Check(
                "gradient of S4's objective, the sum of J_i, to its gradient, 1/N of a sum",
                ratio,
                deck=1.0,
                exact=float(N),
                rtol=1e-4,
                slip="the objective is a sum and its gradient a mean: they differ by the factor N",
            ),
            Check("shuffled: share of the samples in an epoch", shares["shuffled"], exact=1.0),
            Check(
                "with replacement: share of the samples in an epoch",
                shares["with replacement"],
                exact=1 - (1 - 1 / N) ** N,
                atol=0.05,
            ),
            Check("shuffled: mean gradient of an epoch", mean["shuffled"], exact=full, atol=1e-5),
            Check(
                "with replacement: distance of the mean gradient from the full one",
                np.abs(mean["with replacement"] - full).max(),
                at_least=1e-3,
                at_most=1.0,
            ),
        ],
        [
            Table(
                "Mean squared error by epoch",
                ("batch", "rate", *map(str, range(1, EPOCHS + 1))),
                [[size, RATES[size], *losses] for size, losses in errors.items()],
            ),
            Table(
                "One epoch with replacement",
                ("share seen", "1 - 1/e"),
                [[shares["with replacement"], 1 - math.exp(-1)]],
            ),
        ],
        [Picture("The error by epoch and by update", draw)],
    )
