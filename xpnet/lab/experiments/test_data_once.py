"""Why test data are used once: the best of many models on one test set looks better than it is."""

import math
import warnings

import numpy as np

from xpnet import functional as F
from xpnet import nn
from xpnet.core import random
from xpnet.data import ReuseWarning, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import evaluate

CLASSES, SAMPLES, TRIALS = 10, 100, 200
MODELS = (1, 2, 5, 10, 20, 50, 100)


def expected_best(models):
    """E[max of `models` independent Binomial(100, 1/10)] / 100 = sum over t of P(max > t) / 100."""
    p = 1 / CLASSES
    pmf = [math.comb(SAMPLES, k) * p**k * (1 - p) ** (SAMPLES - k) for k in range(SAMPLES + 1)]
    return float(np.sum(1 - np.cumsum(pmf) ** models) / SAMPLES)


@experiment("S1", "training, validation and test data: test data used ONCE")
def run() -> Result:
    # models that guess: accuracy of each on 200 test sets, and on as many new ones
    # core
    guess = lambda step: random.integers(
        TRIALS * max(MODELS) * SAMPLES, CLASSES, random.Key(0, random.NOISE, step)
    )
    accuracies, again = (
        np.mean((guess(s) == 0).reshape(TRIALS, max(MODELS), SAMPLES), axis=2) for s in (0, 1)
    )
    best = [accuracies[:, :k].max(axis=1).mean() for k in MODELS]
    chosen = [again[np.arange(TRIALS), accuracies[:, :k].argmax(axis=1)].mean() for k in MODELS]
    # end of core

    train, validation, test = split(load_digits().map(lambda x: x / 16))
    model = nn.Linear(64, 10)
    heard = []
    for data in (validation, validation, test, test):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            evaluate(model, data, F.cross_entropy)
        heard.append(sum(issubclass(w.category, ReuseWarning) for w in caught))

    def draw(figure):
        axis = figure.subplots()
        axis.semilogx(MODELS, best, "o", label="the best one, on the test set that chose it")
        axis.semilogx(MODELS, [expected_best(k) for k in MODELS], label="theory")
        axis.semilogx(MODELS, chosen, "s", label="the same one, on new data")
        axis.axhline(1 / CLASSES, color="k", ls=":")
        axis.set(xlabel="models compared", ylabel="accuracy")
        axis.legend(fontsize="small")

    return Result(
        "Of 100 models that only guess among ten classes, the best one seems 18 % accurate on a test set of "
        "100 samples, and is right 10 % of the time on new data: whatever a set was used to choose, it "
        "cannot judge. xpnet counts the uses of a test set and warns from the second one on; a validation "
        "set may be used freely.",
        [
            Check(
                "accuracy of the best of 1, 2, 5, 10, 20, 50, 100 guessing models",
                best,
                exact=[expected_best(k) for k in MODELS],
                atol=0.006,
            ),
            Check("the same models on new data", chosen, exact=np.full(len(MODELS), 0.1), atol=0.008),
            Check("warnings: validation set twice, test set twice", heard, exact=[0, 0, 0, 1]),
            Check(
                "samples in training, validation and test set together",
                len(train) + len(validation) + len(test),
                exact=1797,
            ),
        ],
        [
            Table(
                "Accuracy of the best model",
                ["models", "on the test set", "theory", "on new data"],
                [[k, b, expected_best(k), c] for k, b, c in zip(MODELS, best, chosen, strict=True)],
            )
        ],
        [Picture("Choosing by test data", draw)],
    )
