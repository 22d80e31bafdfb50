"""S2's run at 1e-6: the loss does not move, and yet the accuracy doubles. What's up with that?"""

import math

import numpy as np

from xpnet import functional as F
from xpnet import to_numpy
from xpnet.lab import Check, Result, Table, experiment
from xpnet.lab.cifar import Pictures, accuracy, network, train
from xpnet.lab.printouts import beside, curves

SLIDE = np.array(  # cost, accuracy in training, in validation
    [
        [2.302576, 0.080, 0.103],
        [2.302582, 0.121, 0.124],
        [2.302558, 0.119, 0.138],
        [2.302519, 0.127, 0.151],
        [2.302517, 0.158, 0.171],
        [2.302518, 0.179, 0.172],
        [2.302466, 0.180, 0.176],
        [2.302452, 0.175, 0.185],
        [2.302459, 0.206, 0.192],
        [2.302420, 0.190, 0.192],
    ]
)


@experiment("S2", "printout: rate 1e-6, cost 2.302576 to 2.302420, accuracy 20 %", on_cifar10=True)
def run(data: Pictures) -> Result:
    # core
    model = network()
    lines = train(model, data, len(SLIDE), rate=1e-6, penalty=1e-6)

    x, y = data.validation.x, data.validation.y
    scores = to_numpy(model(x)).astype(np.float64)
    labels = to_numpy(y)
    largest = np.exp(scores).max(axis=1) / np.exp(scores).sum(axis=1)
    loss = F.cross_entropy(scores, labels)
    # to first order in the scores: ln 10 less how far the right one lies above the mean of the ten
    lead = float(np.mean(scores[np.arange(len(labels)), labels] - scores.mean(axis=1)))
    # end of core
    before = accuracy(model, data.validation)
    stretched = []
    for factor in (1.0, 1e2, 1e3, 1e4):
        stretched.append(
            [factor, np.mean((factor * scores).argmax(1) == labels), F.cross_entropy(factor * scores, labels)]
        )
    model[2].weight.data = model[2].weight.data * 1e3
    model[2].bias.data = model[2].bias.data * 1e3
    costs, values = np.array(lines).T[[0, 3]]

    return Result(
        "What's up with that? The loss sees how large the scores are, accuracy only their order. After ten "
        f"epochs the scores differ by about {np.std(scores - scores.mean(axis=1, keepdims=True)):.0e}, no "
        f"class of any picture is given more than {largest.max():.4f}, and so the loss is ln 10 to four "
        "digits; but every update moved the scores the right way, so the largest of ten nearly equal ones "
        "is the right one twice as often as by chance. Multiply the scores by 1000, which changes no "
        "answer, and the loss shows it.",
        [
            Check(
                "cost of each epoch: farthest from the slide's",
                np.abs(costs - SLIDE[:, 0]).max(),
                at_most=2e-4,
            ),
            Check(
                "cost of epoch 10 (S2: 2.302420)",
                costs[-1],
                deck="2.302420",
                exact=math.log(10),
                rtol=2e-4,
                noise=2e-4,
            ),
            Check("validation accuracy of epoch 10 (S2: 0.192)", values[-1], at_least=0.15, at_most=0.25),
            Check(
                "validation accuracy: epoch 10 - epoch 1 (S2: 0.089)", values[-1] - values[0], at_least=0.05
            ),
            Check(
                "validation loss: ln 10 - the mean lead of the right score",
                loss,
                exact=math.log(10) - lead,
                rtol=1e-6,
            ),
            Check("the largest probability of any picture (1/10: no opinion)", largest.max(), at_most=0.102),
            Check(
                "accuracy with the last layer times 1000: the same",
                accuracy(model, data.validation),
                exact=before,
                atol=2e-3,
            ),
        ],
        [
            beside("S2's printout, line by line", SLIDE, lines),
            Table(
                "The scores of epoch 10 times a factor",
                ("factor", "validation accuracy", "validation loss"),
                stretched,
            ),
        ],
        [curves("Rate 1e-6: the cost stays, the accuracy rises", SLIDE, lines)],
    )
