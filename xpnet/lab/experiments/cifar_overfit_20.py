"""S2's sanity check on its own data: 20 pictures of CIFAR-10, plain SGD at 1e-3."""

import math

import numpy as np

from xpnet import functional as F
from xpnet import optim, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.cifar import Pictures, network

COSTS = (  # S2's, of epochs 1 to 20 and 195 to 200, and the accuracies beside them
    "2.302603 2.302258 2.301849 2.301196 2.300044 2.297864 2.293595 2.285096 2.268094 2.234787 "
    "2.173187 2.076862 1.974090 1.895885 1.820876 1.737430 1.642356 1.535239 1.421527 1.302765 "
    "0.002694 0.002674 0.002655 0.002635 0.002617 0.002597"
)
RIGHT = (
    "0.40 0.45 0.60 0.65 0.65 0.55 0.60 0.55 0.55 0.50 0.50 0.50 0.40 0.40 0.45 0.45 0.50 0.60 0.60 0.55 "
    "1.00 1.00 1.00 1.00 1.00 1.00"
)
EPOCHS = (*range(1, 21), *range(195, 201))


@experiment("S2", "printout: 20 pictures learnt by heart, cost 2.302603 to 0.002597", on_cifar10=True)
def run(data: Pictures) -> Result:
    x, y = data.training[:20]
    labels = to_numpy(y)
    # core
    model = network()
    optimizer = optim.SGD(model, lr=1e-3)
    costs, right = [], []
    for _ in range(200):  # sample_batches=False: an epoch is one update, on all 20
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        costs.append(loss.item())
        right.append(float(np.mean(to_numpy(model(x)).argmax(axis=1) == labels)))
    # end of core
    constant = np.bincount(labels, minlength=10) / 20  # the best answer without looking at the pictures
    entropy = -float(np.sum(constant[constant > 0] * np.log(constant[constant > 0])))

    def draw(figure):
        axis = figure.subplots()
        axis.semilogy(range(1, 201), costs, label="ours")
        axis.semilogy(EPOCHS, [float(cost) for cost in COSTS.split()], "o", ms=3, label="S2")
        axis.axhline(entropy, ls="--", c="k", lw=0.7, label="without looking: the labels' entropy")
        axis.set(xlabel="epoch", ylabel="cost")
        axis.legend()

    return Result(
        "For ten epochs almost nothing happens: the weights are so small that a layer gets its gradient "
        "through the other's 1e-4, and both must grow first. Then the network learns the 20 pictures by "
        "heart, as on the slide; its 20 pictures are others than ours, so the middle lines differ.",
        [
            Check(
                "cost of epoch 1, ln 10", costs[0], deck="2.302603", exact=math.log(10), atol=1e-4, noise=1e-4
            ),
            Check("accuracy of epoch 200", right[-1], deck="1.000000", exact=1.0),
            Check("cost of epoch 200 (S2: 0.002597)", costs[-1], at_most=0.01),
            Check("cost of epoch 10: still near ln 10 (S2: 2.234787)", costs[9], at_least=2.2),
            Check("cost of epoch 200 without looking at the pictures", entropy, at_least=1.5),
        ],
        [
            Table(
                "The slide's lines",
                ("epoch", "cost: S2", "ours", "accuracy: S2", "ours"),
                [
                    [k, cost, f"{costs[k - 1]:.6f}", share, f"{right[k - 1]:.2f}"]
                    for k, cost, share in zip(EPOCHS, COSTS.split(), RIGHT.split(), strict=True)
                ],
            )
        ],
        [Picture("Cost on 20 pictures", draw, (8, 3.5))],
    )
