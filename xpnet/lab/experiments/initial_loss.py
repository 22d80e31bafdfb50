"""The loss of an untrained classifier is ln K."""

import math

from xpnet import asarray, init, nn
from xpnet import functional as F
from xpnet.data import load_digits
from xpnet.lab import Check, Picture, Result, experiment


@experiment("S1, S2, S5", "sanity check: the initial loss of K balanced classes is ln K")
def run() -> Result:
    digits = load_digits()
    # core
    x = asarray(digits.x / 16)
    losses = {}
    for classes in (2, 3, 5, 10):
        model = nn.Linear(64, classes)
        model.weight.data = init.normal(model.weight.shape, std=1e-4)
        model.bias.data = init.zeros(model.bias.shape)
        losses[classes] = F.cross_entropy(model(x), asarray(digits.y % classes)).item()
    # end of core

    def draw(figure):
        axis = figure.subplots()
        axis.plot(list(losses), [math.log(k) for k in losses], "-", label="ln K")
        axis.plot(list(losses), list(losses.values()), "o", label="measured")
        axis.set(xlabel="classes K", ylabel="initial cross-entropy")
        axis.legend()

    return Result(
        "The decks ask for it and print no number. With tiny weights all K probabilities are 1/K, so "
        "the mean cross-entropy is -ln(1/K) = ln K. "
        "A first loss far from it means weights that are too large, or labels that are wrong.",
        [Check(f"initial loss, K = {k}", loss, exact=math.log(k), atol=2e-3) for k, loss in losses.items()],
        pictures=[Picture("Initial loss against the number of classes", draw)],
    )
