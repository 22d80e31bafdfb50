"""K-fold cross-validation: choose a hyperparameter by the mean accuracy of the folds."""

import numpy as np

from xpnet import functional as F
from xpnet import nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset, k_fold, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

K = 5
RATES = (1e-3, 1e-2, 1e-1, 1.0, 100.0)


def train_with(rate, train, validation):
    model = nn.Sequential(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=rate))
    trainer.fit(DataLoader(train, 64), epochs=3)
    return trainer.evaluate(validation)["accuracy"]


def leave_one_out(x, y):
    """The mean squared error of a straight line, each point predicted from all others."""
    errors = []
    for train, validation in k_fold(Dataset(x, y), len(x), stratify=False):
        coefficients = np.polyfit(train.x[:, 0], train.y, 1)
        errors.append((np.polyval(coefficients, validation.x[0, 0]) - validation.y[0]) ** 2)
    return np.mean(errors)


@experiment("S1, S2", "cross-validation: hold-out and K folds; final accuracy = average accuracy")
def run() -> Result:
    digits = load_digits().map(lambda x: (x - 4.9) / 6)
    # core
    rest, test = split(digits, (0.8, 0.2))
    folds = list(k_fold(rest, K))
    scores = {rate: [train_with(rate, *fold) for fold in folds] for rate in RATES}
    means = {rate: float(np.mean(s)) for rate, s in scores.items()}
    best = max(means, key=means.get)
    final = train_with(best, rest, test)
    # end of core

    numbered = Dataset(
        np.arange(len(rest), dtype=np.float32)[:, None], rest.y
    )  # to see where each sample goes
    parts = [(set(a.x[:, 0]), set(b.x[:, 0])) for a, b in k_fold(numbered, K, seed=0)]
    seen = np.sort(np.concatenate([list(b) for _, b in parts]))
    shares = [np.bincount(b.y, minlength=10) / len(b) for _, b in k_fold(numbered, K, seed=0)]

    # leave-one-out of a linear fit is known: residual / (1 - leverage)
    x = np.linspace(-1, 1, 20)[:, None]
    y = x[:, 0] + np.sin(7 * x[:, 0])
    design = np.hstack([x, np.ones_like(x)])
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    press = np.mean(((y - hat @ y) / (1 - hat.diagonal())) ** 2)

    def draw(figure):
        axes = figure.subplots(1, 2)
        grid = np.eye(K)
        axes[0].imshow(1 - grid, cmap="Blues", vmin=-0.5, vmax=2)
        for i in range(K):
            for j in range(K):
                axes[0].text(j, i, j + 1, ha="center", va="center", weight="bold" if i == j else "normal")
        axes[0].set(title="folds (light: validation)", xticks=[], yticks=[])
        axes[1].errorbar(
            RATES, list(means.values()), [np.std(s) for s in scores.values()], fmt="o-", capsize=4
        )
        axes[1].set(xscale="log", xlabel="learning rate", ylabel="mean accuracy of 5 folds")

    return Result(
        "Each of the five parts is the validation set once and in the training set four times; the accuracy "
        "reported is the mean of the five, its spread says how far it depends on the data. The best "
        "learning rate by that mean does as well on test data that had no part in choosing it.",
        [
            Check("folds", len(folds), deck="5", exact=5),
            Check(
                "training samples / validation samples",
                [len(a) / len(b) for a, b in folds],
                deck=[4.0] * K,
                exact=[4.0] * K,
                atol=0.03,
            ),
            Check("samples in both parts of a fold", sum(len(a & b) for a, b in parts), exact=0),
            Check("every sample in exactly one validation set", seen, exact=np.arange(len(rest))),
            Check(
                "classes: largest deviation of a fold's shares from the data's",
                np.abs(np.array(shares) - np.bincount(to_numpy(rest.y)) / len(rest)).max(),
                at_most=0.005,
            ),
            Check(
                "leave-one-out error of a straight line, 20 points",
                leave_one_out(x, y),
                exact=press,
                rtol=1e-5,
            ),
            Check(
                "mean of the best rate - of the smallest, of the largest",
                means[best] - np.array([means[RATES[0]], means[RATES[-1]]]),
                at_least=0.1,
            ),
            Check("test accuracy - mean of the folds", final - means[best], exact=0.0, atol=0.04),
        ],
        [
            Table(
                "Accuracy",
                ["learning rate", *(f"fold {k + 1}" for k in range(K)), "mean"],
                [[r, *s, means[r]] for r, s in scores.items()],
            )
        ],
        [Picture("Five folds, and what they say about the learning rate", draw, (8, 3.2))],
    )
