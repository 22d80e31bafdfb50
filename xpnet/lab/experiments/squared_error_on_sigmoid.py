"""Squared error on a sigmoid: no gradient where it is most wrong."""

import numpy as np

from xpnet import asarray, optim, tensor, to_numpy
from xpnet.functional import binary_cross_entropy_with_logits, mse_loss, sigmoid
from xpnet.lab import Check, Picture, Result, experiment
from xpnet.lab.surfaces import descend

Z = np.linspace(-12, 12, 97)
LOSSES = {
    "squared error": lambda z, t, **k: mse_loss(sigmoid(z), t, **k),
    "cross-entropy": binary_cross_entropy_with_logits,
}


@experiment(
    "S3", "squared error on a sigmoid has no gradient for confidently wrong answers; cross-entropy has"
)
def run() -> Result:
    ones = asarray(np.ones(len(Z)))  # the right answer is 1

    # core
    def slope(loss):
        z = tensor(Z, requires_grad=True)
        loss(z, ones, reduction="sum").backward()
        return to_numpy(z.grad)

    def train(loss):
        """The probability of the right answer, 200 steps from a confident mistake."""
        path = descend(lambda z: loss(z, asarray(np.ones(1))), [-8.0], lambda z: optim.SGD(z, lr=1.0), 200)
        return to_numpy(sigmoid(asarray(path[1:, 0])))

    # end of core

    slopes = {name: slope(loss) for name, loss in LOSSES.items()}
    paths = {name: train(loss) for name, loss in LOSSES.items()}
    p = 1 / (1 + np.exp(-Z))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        for name in LOSSES:
            left.plot(Z, slopes[name], label=name)
            right.plot(paths[name], label=name)
        left.set(xlabel="logit z, right answer 1", ylabel="gradient")
        right.set(xlabel="step", ylabel="probability of the right answer")
        right.legend()

    return Result(
        "For the answer 1 the squared error on a sigmoid has the slope 2 (p - 1) p (1 - p), which vanishes "
        "for p near 0 just as for p near 1: it forgives confident mistakes. Cross-entropy has the slope p - "
        "1, which is -1 there.",
        [
            Check(
                "squared error: slope = 2 (p - 1) p (1 - p)",
                slopes["squared error"],
                exact=2 * (p - 1) * p * (1 - p),
                atol=1e-12,
            ),
            Check("cross-entropy: slope = p - 1", slopes["cross-entropy"], exact=p - 1, atol=1e-12),
            Check(
                "squared error: slope at z = -12, confidently wrong",
                abs(slopes["squared error"][0]),
                at_most=2e-5,
            ),
            Check("cross-entropy: slope at z = -12", slopes["cross-entropy"][0], exact=-1.0, atol=1e-5),
            Check("squared error: p after 200 steps from z = -8", paths["squared error"][-1], at_most=0.01),
            Check("cross-entropy: p after 200 steps from z = -8", paths["cross-entropy"][-1], at_least=0.99),
        ],
        pictures=[Picture("Slope of both losses; and learning from a confident mistake", draw)],
    )
