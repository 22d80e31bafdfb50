"""Is Adam the best optimizer overall? Each at its best learning rate, on three tasks."""

import numpy as np

from xpnet import functional as F
from xpnet import init, manual_seed, nn, optim
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer

RULES = {
    "SGD": (optim.SGD, {}, 0.3),
    "momentum": (optim.SGD, {"momentum": 0.9}, 0.03),
    "AdaGrad": (optim.Adagrad, {}, 0.03),
    "RMSProp": (optim.RMSprop, {"alpha": 0.9}, 0.003),
    "Adam": (optim.Adam, {}, 0.003),
}
FACTORS = (0.1, 1.0, 10.0)  # times the usual rate
EPOCHS = 5


def shallow():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def saturating():
    xavier = {"weight_init": init.xavier_fan_in, "bias_init": init.zeros}
    layers = [
        layer for k in range(3) for layer in (nn.Linear(64 if k == 0 else 32, 32, **xavier), nn.Sigmoid())
    ]
    return nn.Sequential(*layers, nn.Linear(32, 10, **xavier))


def autoencoder():
    return nn.Sequential(
        nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 8), nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 64)
    )


def final_loss(make, loss, rule, rate, data):
    manual_seed(0)
    model = make()
    optimizer = RULES[rule][0](model, lr=rate, **RULES[rule][1])
    trainer = Trainer(model, loss, optimizer)
    with np.errstate(all="ignore"):
        try:
            return trainer.fit(DataLoader(data, 32), epochs=EPOCHS)["train_loss"][-1]
        except ArithmeticError:
            return np.inf


@experiment("S4", "'Adam might be the best overall choice'")
def run() -> Result:
    digits = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.3, 0.7))[0].to_backend()
    tasks = {
        "ReLU network": (shallow, F.cross_entropy, digits),
        "three sigmoid layers": (saturating, F.cross_entropy, digits),
        "autoencoder": (autoencoder, F.mse_loss, Dataset(digits.x, digits.x)),
    }
    # core
    found = {
        rule: [
            [final_loss(make, loss, rule, f * usual, data) for f in FACTORS]
            for make, loss, data in tasks.values()
        ]
        for rule, (_, _, usual) in RULES.items()
    }
    best = np.array([np.min(losses, axis=1) for losses in found.values()])  # rules, tasks
    behind = dict(zip(RULES, best / best.min(axis=0), strict=True))  # 1: the best of all
    # end of core

    def draw(figure):
        axis = figure.subplots()
        for k, (rule, ratios) in enumerate(behind.items()):
            axis.bar(np.arange(3) + 0.16 * (k - 2), ratios, 0.16, label=rule)
        axis.set(xticks=range(3), xticklabels=list(tasks), yscale="log", ylabel="loss / the best rule's")
        axis.legend(fontsize="small")

    return Result(
        "Each rule at the best of three learning rates, on three tasks: Adam is not always first, but it is "
        "near the best everywhere, and each of the others falls far behind on some task. That is what "
        "'best overall' can mean; a rule for your task it is not.",
        [
            Check("Adam: its loss / the best rule's, worst task", behind["Adam"].max(), at_most=1.5),
            *(
                Check(f"{rule}: its loss / the best rule's, worst task", ratios.max(), at_least=1.5)
                for rule, ratios in behind.items()
                if rule != "Adam"
            ),
        ],
        [
            Table(
                f"Training loss after {EPOCHS} epochs, by learning rate: {task}",
                ("rule", *(f"{f:g} x usual" for f in FACTORS)),
                [[rule, *losses[k]] for rule, losses in found.items()],
            )
            for k, task in enumerate(tasks)
        ],
        [Picture("How far each rule is behind the best of them", draw, (8, 3))],
    )
