"""The perceptron criterion goes down against its gradient, not along it."""

import numpy as np

from xpnet import asarray, optim, tensor, to_numpy
from xpnet.classic import predict, with_bias
from xpnet.functional import perceptron_loss
from xpnet.lab import Check, Picture, Result, experiment
from xpnet.lab.experiments.hebb import BIPOLAR, ONLY_FIRST
from xpnet.lab.surfaces import descend

START = np.array([-1.0, 0.5, 1.0])


@experiment("S2", "perceptron criterion: -sum of y w.x over the mistakes; the sign of its update")
def run() -> Result:
    x, target = with_bias(asarray(BIPOLAR)), asarray(ONLY_FIRST)

    # core
    criterion = lambda w: perceptron_loss((w * x).sum(axis=1), target, reduction="sum")
    down = descend(criterion, START, lambda w: optim.SGD(w, lr=0.25), 12)
    up = descend(criterion, START, lambda w: optim.SGD(w, lr=0.25, maximize=True), 12)  # w + alpha dJ/dw
    costs, slide = ([criterion(asarray(w)).item() for w in path[:-1]] for path in (down, up))
    # end of core
    w = tensor(START, requires_grad=True)
    criterion(w).backward()
    answers = predict(x, asarray(down[-1]))
    wrong = ONLY_FIRST * (to_numpy(x) @ START) < 0
    by_hand = -(ONLY_FIRST[:, None] * to_numpy(x))[wrong].sum(axis=0)

    def draw(figure):
        axis = figure.subplots()
        axis.plot(costs, label="w - a dJ/dw")
        axis.plot(slide, label="w + a dJ/dw (slide)")
        axis.set(xlabel="update", ylabel="criterion J", ylim=(0, 3 * costs[0]))
        axis.legend()

    return Result(
        "J(w), minus the sum of y w.x over the mistakes, is 0 when all samples are right, with gradient "
        "minus the sum of y x over them. The slide adds alpha times the gradient, which makes J grow; "
        "subtracting it adds y x, the perceptron's rule.",
        [
            Check("dJ/dw at the start", w.grad, exact=by_hand),
            Check("J after 12 updates w - 0.25 dJ/dw", costs[-1], exact=0.0),
            Check("answers then", answers, exact=ONLY_FIRST),
            Check(
                "sign of the change of J in 12 updates",
                np.sign(costs[-1] - costs[0]),
                deck=1.0,
                exact=-1.0,
                slip="w + alpha dJ/dw goes up the gradient; it must be w - alpha dJ/dw",
            ),
            Check("growth of J in 12 updates with the slide's sign", slide[-1] - slide[0], at_least=1.0),
        ],
        pictures=[Picture("The criterion on AND, with both signs", draw, (6, 3))],
    )
