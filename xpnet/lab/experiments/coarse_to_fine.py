"""Coarse, then fine random search for learning rate and penalty of a network with 50 hidden units."""

import numpy as np

from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.search import CoarseToFine, GridSearch, Space, loguniform, search
from xpnet.train import LearningRate, StopOnDivergence, Trainer

DECK = {"lr": loguniform(1e-6, 1e-3), "reg": 1e-4}  # S2's learning rates, for CIFAR-10
WIDER = {"lr": loguniform(1e-4, 10.0), "reg": loguniform(1e-5, 1e2)}


@experiment(
    "S1, S2, S4",
    "coarse to fine random search; the best at the edge of its range; 2-layer net, 50 hidden units",
)
def run() -> Result:
    train, validation, test = split(load_digits().map(lambda x: (x - 4.9) / 6))
    train, validation = train.to_backend(), validation.to_backend()

    def make(params):
        model = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
        loss = lambda output, y: F.cross_entropy(output, y) + F.l2(model, params["reg"])
        optimizer = optim.SGD(model, lr=params["lr"], momentum=0.9)
        decay = LearningRate(optim.ExponentialLR(optimizer, 0.9))
        # stop at more than 3 times the first cost
        return Trainer(model, loss, optimizer, [decay, StopOnDivergence()])

    # core
    def objective(params, trial):
        with np.errstate(all="ignore"):  # large rates are meant to explode
            trainer = make(params)
            trainer.fit(DataLoader(train, 100), epochs=trial.budget)
            return trainer.evaluate(validation)["accuracy"]

    deck = search(objective, DECK, GridSearch(4, budget=3))
    found = search(objective, WIDER, CoarseToFine(trials=(20, 10), budgets=(3, 6)))
    # end of core
    coarse, fine = found.top(1, "coarse")[0], found.top(1, "fine")[0]
    spaces = {r.name: r.space for r in found.rounds}
    width = lambda space, name: np.log10(space.distributions[name].high / space.distributions[name].low)
    medians = [float(np.median([t.score or 0.0 for t in found.of(r)])) for r in ("coarse", "fine")]

    trainer = make(found.best_params)
    trainer.fit(DataLoader(train, 100), epochs=10)
    accuracy = trainer.evaluate(test)["accuracy"]

    # S2's own fine search: 53.1 % at lr 9.471549e-04, drawn from 10^U(-3, -4)
    slide = Space({"lr": loguniform(1e-4, 1e-3), "reg": loguniform(1e-4, 1.0)})
    at_edge = slide.edges({"lr": 9.471549e-04, "reg": 1.433895e-03})

    def draw(figure):
        for axis, (title, trials) in zip(
            figure.subplots(1, 3),
            {"S2's rates": deck.trials, "coarse": found.of("coarse"), "fine": found.of("fine")}.items(),
            strict=True,
        ):
            lr, reg = ([t.params[name] for t in trials] for name in ("lr", "reg"))
            points = axis.scatter(lr, reg, c=[t.score or 0.0 for t in trials], vmin=0, vmax=1)
            axis.set(title=title, xscale="log", yscale="log", xlabel="learning rate")
        figure.axes[0].set_ylabel("penalty")
        figure.colorbar(points, ax=figure.axes, label="validation accuracy")

    return Result(
        "S2 draws 10^U(-6, -3) and 10^U(-5, 5) for CIFAR-10; on digits the best learning rate then lies at "
        "the upper edge, so the range is widened, searched coarsely with 3 epochs and finely where the best "
        "trials were. S2's best, 53.1 % at 9.47e-4 of a range that ends at 1e-3, lies at the edge as well. "
        "Its own printouts, on CIFAR-10: xpnet lab --data DIR.",
        [
            Check(
                "S2's learning rates on digits: the best is at the upper edge (1: warned)",
                float(any("lr" in w and "upper" in w for w in deck.warnings())),
                exact=1.0,
            ),
            Check("S2's own best, lr 9.47e-4 in [1e-4, 1e-3]: warnings", len(at_edge), exact=1),
            Check(
                "wider range: warnings about lr in the coarse round",
                sum("lr" in w for w in found.warnings("coarse")),
                exact=0,
            ),
            Check(
                "width of the learning rate's range in decades: fine / coarse",
                width(spaces["fine"], "lr") / width(spaces["coarse"], "lr"),
                at_most=0.7,
            ),
            Check(
                "best validation accuracy: wider range - S2's rates",
                fine.score - deck.best.score,
                at_least=0.02,
            ),
            Check("best validation accuracy: fine - coarse", fine.score - coarse.score, at_least=-0.005),
            Check("median validation accuracy: fine - coarse", medians[1] - medians[0], at_least=0.2),
            Check("test accuracy of the best, 50 hidden units, on digits", accuracy, at_least=0.93),
        ],
        [
            Table(
                "Best of each round",
                ["round", "lr", "reg", "validation accuracy"],
                [
                    ["S2's rates", *deck.best_params.values(), deck.best.score],
                    ["coarse", *coarse.params.values(), coarse.score],
                    ["fine", *fine.params.values(), fine.score],
                ],
            )
        ],
        [Picture("Validation accuracy of every trial", draw, (10, 3.5))],
    )
