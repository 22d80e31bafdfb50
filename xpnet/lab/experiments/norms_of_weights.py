"""S4's table: what L0, L1 and L2 do to the weights, where all three can be solved exactly."""

import itertools

import numpy as np

from xpnet import asarray, init, tensor, to_numpy
from xpnet import functional as F
from xpnet.lab import Check, Picture, Result, Table, experiment

FIT, LAMBDA = np.array([3.0, -1.2, 0.6, -0.3, 0.1]), 0.5  # the best weights without a penalty


def l0(w):
    """The number of weights that are not 0; no gradient says anything about it."""
    return int((to_numpy(w) != 0).sum())


def best_subset():
    """sum (w - fit)^2 + lambda |w|_0 by trying all subsets, the only sure way."""
    tried = [FIT * np.array(keep) for keep in itertools.product((0, 1), repeat=len(FIT))]
    cost = lambda w: float(((asarray(w) - asarray(FIT)) ** 2).sum()) + LAMBDA * l0(w)
    return min(tried, key=cost), len(tried)


def descend(penalty, proximal):
    # core
    w = tensor(init.constant((1, 5), 1.0, "float64"), requires_grad=True)
    for _ in range(600):
        w.grad = None
        loss = ((w - asarray(FIT)) ** 2).sum()
        (loss if proximal else loss + penalty([w], LAMBDA)).backward()
        w.data = w.data - 0.05 * w.grad
        if proximal:
            w.data = F.relu(w.data - 0.05 * LAMBDA) - F.relu(-w.data - 0.05 * LAMBDA)
    return to_numpy(w)[0]
    # end of core


@experiment("S4", "regularisation: the table of L0, L1 and L2")
def run() -> Result:
    subset, tried = best_subset()
    lasso, ridge = descend(F.l1, True), descend(F.l2, False)
    weights = {"none": FIT, "L0": subset, "L1": lasso, "L2": ridge}

    def draw(figure):
        axis = figure.subplots()
        for k, (name, w) in enumerate(weights.items()):
            axis.bar(np.arange(5) + 0.2 * k - 0.3, w, 0.2, label=name)
        axis.set(xlabel="weight", ylabel="value", xticks=range(5))
        axis.legend()

    return Result(
        "L0 keeps or drops a weight (those of square below lambda go), L1 takes lambda/2 off each "
        "and stops at 0, "
        "L2 shrinks all by 1/(1 + lambda) and makes none 0. L0 has no gradient: 2^n subsets must be "
        "tried, S4's "
        "'no good computational solutions'.",
        [
            Check("L0: the best subset", subset, exact=np.where(FIT**2 > LAMBDA, FIT, 0.0)),
            Check("subsets tried", tried, exact=2**5),
            Check("L1", lasso, exact=np.sign(FIT) * np.maximum(np.abs(FIT) - LAMBDA / 2, 0), atol=1e-9),
            Check("L2", ridge, exact=FIT / (1 + LAMBDA), atol=1e-9),
            Check(
                "weights that are not 0: L0, L1, L2", [l0(w) for w in (subset, lasso, ridge)], exact=[2, 4, 5]
            ),
        ],
        [Table("Weights", ("penalty", *"12345"), [[n, *w] for n, w in weights.items()])],
        [Picture("Five weights under three penalties", draw, (7, 3))],
    )
