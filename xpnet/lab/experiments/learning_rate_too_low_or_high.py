"""Too low a learning rate leaves the loss at ln K, too high a one makes it explode."""

import math

import numpy as np

from xpnet import asarray, init, manual_seed, nn, optim, to_numpy
from xpnet.data import DataLoader, Dataset, load_digits
from xpnet.functional import cross_entropy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Callback, StopOnDivergence, Trainer, TrainingDivergedError

EPOCHS = 10
RATES = {"too low": 1e-4, "good": 0.5, "too high": 30.0, "far too high": 1e6, "beyond all numbers": 1e25}


class Losses(Callback):
    """The loss of each update, also when training ends early."""

    def __init__(self):
        self.values = []

    def on_batch_end(self, trainer):
        """Keep it."""
        self.values.append(float(to_numpy(trainer.loss_value)))


def network():
    """Small random weights, the same each time."""
    manual_seed(0)
    small = lambda shape, dtype: init.normal(shape, 0.01, dtype=dtype)
    return nn.Sequential(
        nn.Linear(64, 50, weight_init=small, bias_init=init.zeros),
        nn.ReLU(),
        nn.Linear(50, 10, weight_init=small, bias_init=init.zeros),
    )


def train(rate, data, *callbacks):
    # core
    model = network()
    losses = Losses()
    trainer = Trainer(model, cross_entropy, optim.SGD(model, lr=rate), [losses, *callbacks], capture=True)
    stopped = ""
    with np.errstate(all="ignore"):
        try:
            history = trainer.fit(DataLoader(data, batch_size=20), data, EPOCHS)
        except TrainingDivergedError as error:
            stopped, history = str(error), trainer.history
    return losses.values, history, stopped
    # end of core


@experiment(
    "S1, S2",
    "learning rate too low (loss stays at ln K) or too high (it explodes); stop at 3 times the first",
)
def run() -> Result:
    digits = load_digits()
    data = Dataset((digits.x[:1000] / 16).astype(np.float32), digits.y[:1000])
    runs = {name: train(rate, data) for name, rate in RATES.items()}
    guarded = {name: train(rate, data, StopOnDivergence(factor=3, every=1)) for name, rate in RATES.items()}

    def first_beyond(values):
        """The first update whose loss is not finite or above 3 times the first."""
        wrong = ~np.isfinite(values) | (np.array(values) > 3 * values[0])
        return int(np.argmax(wrong)) + 1 if wrong.any() else None

    # to first order, an update at a small rate lowers the loss by rate |gradient|^2
    model = network()
    at_start = cross_entropy(model(asarray(data.x)), data.y)
    at_start.backward()
    squares = sum(float((to_numpy(p.grad) ** 2).sum()) for p in model.parameters())
    predicted = RATES["too low"] * squares * EPOCHS * len(data) / 20
    low = runs["too low"][1]
    drop = at_start.item() - low["val_loss"][-1]

    def draw(figure):
        axis = figure.subplots()
        for name, (values, _, _) in runs.items():
            shown = np.nan_to_num(values, nan=1e6, posinf=1e6)
            axis.semilogy(np.clip(shown, 1e-3, 1e6), label=f"{RATES[name]:g}, {name}")
        axis.axhline(3 * math.log(10), ls="--", c="k", lw=0.7, label="3 times the first")
        axis.set(xlabel="update", ylabel="loss (beyond 1e6 or not finite: 1e6)", ylim=(1e-3, 3e6))
        axis.legend(fontsize="small")

    highest = {name: np.max(np.nan_to_num(values, nan=np.inf)) for name, (values, _, _) in runs.items()}
    explode = ("too high", "far too high", "beyond all numbers")
    rows = [
        [name, RATES[name], values[0], values[-1], highest[name], len(guarded[name][0])]
        for name, (values, _, _) in runs.items()
    ]
    return Result(
        "At too low a rate the loss stays at ln K, falling by rate |gradient|^2 an update; at too high a "
        "rate it explodes, and a rule that stops at 3 times the first cost saves the rest of the run. The "
        "deck sees NaN at 1e6, from the log of a softmax that rounds to 0; computed from the logits the "
        "loss is merely huge, and becomes NaN when the weights overflow.",
        [
            Check(
                "too low: loss after 10 epochs (ln 10)",
                low["val_loss"][-1],
                exact=math.log(10),
                atol=2e-3,
            ),
            Check(
                "the run that prints nan: is the loss finite at the rate of its code, 1e-6?",
                float(np.isfinite(train(1e-6, data)[0]).all()),
                deck=0.0,
                exact=1.0,
                slip="the code says learning_rate=1e-6, its output lr 1.000000e+06: 1e6 is meant",
            ),
            Check("too low: fall of the loss", drop, exact=predicted, rtol=0.1),
            Check("good: accuracy after 10 epochs", runs["good"][1]["val_accuracy"][-1], at_least=0.9),
            *(Check(f"{name}: largest loss", highest[name], at_least=3 * math.log(10)) for name in explode),
            Check(
                "beyond all numbers: finite losses after the third",
                np.isfinite(runs[explode[-1]][0][3:]).sum(),
                exact=0,
            ),
            Check(
                "too low and good: stopped by the rule",
                [bool(guarded[name][2]) for name in ("too low", "good")],
                exact=[False, False],
            ),
            *(
                Check(
                    f"{name}: the rule stops at update",
                    len(guarded[name][0]),
                    exact=first_beyond(runs[name][0]),
                )
                for name in explode
            ),
        ],
        [Table("Losses", ("run", "rate", "first", "last", "largest", "updates with the rule"), rows)],
        [Picture("Loss by update at five learning rates", draw, (8, 4))],
    )
