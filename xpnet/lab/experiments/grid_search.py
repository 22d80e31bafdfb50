"""S1's grid: three hidden sizes, three learning rates, four penalties."""

import numpy as np

from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.search import GridSearch, choice, search
from xpnet.train import LearningRate, Trainer

SPACE = {
    "hidden": choice([50, 100, 150]),
    "lr": choice([5e-2, 1e-3, 1e-4]),
    "reg": choice([0.3, 0.4, 0.5, 0.6]),
}
EPOCHS = 2


@experiment("S1", "coarse search on a grid: 3 x 3 x 4 = 36")
def run() -> Result:
    train, validation = (
        part.to_backend() for part in split(load_digits().map(lambda x: (x - 4.9) / 6), (0.8, 0.2))
    )

    # core
    def objective(params, trial):
        model = nn.Sequential(nn.Linear(64, params["hidden"]), nn.ReLU(), nn.Linear(params["hidden"], 10))
        loss = lambda output, y: F.cross_entropy(output, y) + F.l2(model, params["reg"] / (2 * len(train)))
        optimizer = optim.SGD(model, lr=params["lr"])
        decay = LearningRate(optim.ExponentialLR(optimizer, 0.95))
        trainer = Trainer(model, loss, optimizer, [decay], capture=True)
        trainer.fit(DataLoader(train, 32), epochs=EPOCHS)
        return trainer.evaluate(validation)["accuracy"]

    result = search(objective, SPACE, GridSearch())
    # end of core
    values = {name: sorted({t.params[name] for t in result.trials}) for name in SPACE}
    spread = {
        name: np.ptp([np.mean([t.score for t in result.trials if t.params[name] == v]) for v in values[name]])
        for name in SPACE
    }

    def draw(figure):
        for axis, name in zip(figure.subplots(1, 3, sharey=True), SPACE, strict=True):
            axis.plot(
                [t.params[name] for t in result.trials], [t.score for t in result.trials], "o", alpha=0.6
            )
            axis.set(xlabel=name, xscale="log" if name == "lr" else "linear")
        figure.axes[0].set_ylabel("validation accuracy")

    return Result(
        "The grid trains 36 networks but tries only three learning rates, the one parameter that matters "
        "here; each is repeated twelve times with hidden sizes and penalties that hardly change the result. "
        "Its rates are unevenly spaced, too: 0.05 is 50 times 0.001, which is 10 times 0.0001.",
        [
            Check("networks trained", len(result.trials), deck="36", exact=3 * 3 * 4),
            Check("different settings", len({tuple(t.params.values()) for t in result.trials}), exact=36),
            Check("different learning rates tried", len(values["lr"]), exact=3),
            Check("best learning rate", result.best_params["lr"], exact=5e-2),
            Check("effect of the learning rate on the mean accuracy", spread["lr"], at_least=0.3),
            Check(
                "effect of the hidden size and of the penalty",
                [spread["hidden"], spread["reg"]],
                at_most=0.15,
            ),
            Check("best validation accuracy", result.best.score, at_least=0.9),
        ],
        [
            Table(
                "The five best of 36",
                [*SPACE, "validation accuracy"],
                [[*t.params.values(), t.score] for t in result.top(5)],
            )
        ],
        [Picture("All 36 networks by each parameter", draw, (9, 3))],
    )
