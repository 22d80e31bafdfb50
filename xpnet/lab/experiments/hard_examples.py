"""Presenting samples with a large error more often: it helps, and is disastrous with outliers."""

import numpy as np

from xpnet import asarray, manual_seed, nn, no_grad, optim
from xpnet import functional as F
from xpnet.data import DataLoader, Dataset, HardExamples, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Callback, Trainer

EPOCHS, WRONG = 10, 0.1


class TellLosses(Callback):
    """After every epoch the sampler learns the loss of each training sample."""

    def __init__(self, sampler, x, y, wrong):
        self.sampler, self.x, self.y, self.wrong, self.presented = sampler, x, y, wrong, []

    def on_epoch_begin(self, trainer):
        """Note how many of the samples to come have wrong labels."""
        self.presented.append(float(self.wrong[self.sampler.order(trainer.epoch)].mean()))

    def on_epoch_end(self, trainer):
        """Measure."""
        with no_grad():
            self.sampler.update(F.cross_entropy(trainer.model(self.x), self.y, reduction="none"))


def train_with(strength, outlier, train, validation, wrong):
    """Validation accuracy after training, and the share of wrong labels presented in each epoch."""
    manual_seed(0)
    # core
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    sampler = HardExamples(len(train), strength, outlier=outlier)
    tell = TellLosses(sampler, asarray(train.x), asarray(train.y), wrong)
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.05), [tell])
    history = trainer.fit(DataLoader(train, 16, sampler=sampler), validation, epochs=EPOCHS)
    return history["val_accuracy"], tell.presented, sampler
    # end of core


@experiment("S3", "present high-error samples more often; be careful with outliers")
def run() -> Result:
    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.5, 0.5))
    wrong = np.arange(len(train)) < WRONG * len(train)  # the order is random
    noisy = Dataset(train.x, np.where(wrong, (train.y + 1) % 10, train.y))
    none = np.zeros(len(train), dtype=bool)
    cases = {
        "clean, uniform": (0.0, 5.0, train, none),
        "clean, by loss": (1.0, 5.0, train, none),
        "10 % wrong, uniform": (0.0, 5.0, noisy, wrong),
        "10 % wrong, by loss": (1.0, 1e9, noisy, wrong),
        "10 % wrong, by loss, not outliers": (1.0, 5.0, noisy, wrong),
    }
    accuracy, presented, samplers = {}, {}, {}
    for name, (strength, outlier, data, marks) in cases.items():
        accuracy[name], presented[name], samplers[name] = train_with(
            strength, outlier, data, validation, marks
        )
    clean_uniform, clean_hard, uniform, hard, careful = cases
    suspected = samplers[careful].outliers()

    def draw(figure):
        axes = figure.subplots(1, 2)
        for name in cases:
            axes[0].plot(range(1, EPOCHS + 1), accuracy[name], label=name)
        for name in (uniform, hard, careful):
            axes[1].plot(range(1, EPOCHS + 1), presented[name], label=name)
        axes[0].set(xlabel="epoch", ylabel="validation accuracy", ylim=(0.6, 1))
        axes[1].set(xlabel="epoch", ylabel="wrong labels among the samples", ylim=(0, 1))
        axes[0].legend(fontsize="small")

    return Result(
        "In proportion to their loss, samples that are not learnt yet come more often. But a wrong label "
        "keeps its large loss: presented ever more often, 10 % wrong labels become a quarter of an epoch "
        "and more. Samples whose loss is beyond belief are therefore held at weight 1 and listed, to be "
        "looked at.",
        [
            Check(
                "clean data: accuracy by loss - uniform",
                accuracy[clean_hard][-1] - accuracy[clean_uniform][-1],
                at_least=-0.01,
            ),
            Check(
                "share of wrong labels presented, uniform, all epochs",
                presented[uniform],
                exact=[wrong.mean()] * EPOCHS,
                atol=1e-9,
            ),
            Check("by loss, the most in an epoch", max(presented[hard]), at_least=0.2),
            Check("by loss but not outliers, last epoch", presented[careful][-1], at_most=0.2),
            Check("accuracy by loss - uniform", accuracy[hard][-1] - accuracy[uniform][-1], at_most=-0.02),
            Check(
                "accuracy by loss but not outliers - by loss",
                accuracy[careful][-1] - accuracy[hard][-1],
                at_least=0.02,
            ),
            Check(
                "of the suspected outliers, share with wrong labels", wrong[suspected].mean(), at_least=0.6
            ),
        ],
        [
            Table(
                "After 10 epochs",
                ["", "validation accuracy", "wrong labels presented"],
                [[k, accuracy[k][-1], presented[k][-1]] for k in cases],
            )
        ],
        [Picture("Hard examples", draw, (10, 3.5))],
    )
