"""What happens with AdaGrad: its steps shrink for ever, and most for parameters that move often."""

import numpy as np

from xpnet import asarray, optim, tensor
from xpnet.lab import Check, Picture, Result, Table, experiment

STEPS, EVERY, RATE = 400, 10, 0.1


def updates(rule, gradients):
    """Each step's change of some parameters whose gradients are given, (steps, parameters)."""
    x = tensor(np.zeros(gradients.shape[1]), requires_grad=True)
    optimizer, found = rule([x]), []
    for gradient in gradients:
        before = x.numpy().copy()
        x.grad = asarray(gradient)
        optimizer.step()
        found.append(before - x.numpy())
    return np.array(found)


@experiment("S2, S4", "what happens with AdaGrad? larger updates for infrequent parameters")
def run() -> Result:
    # core
    k = np.arange(1, STEPS + 1)
    gradients = np.stack([np.ones(STEPS), (k % EVERY == 0) * 1.0], axis=1)  # always, and every tenth step
    adagrad = updates(lambda p: optim.Adagrad(p, lr=RATE, eps=1e-12), gradients)
    rmsprop = updates(lambda p: optim.RMSprop(p, lr=RATE, alpha=0.9, eps=1e-12), gradients)
    sgd = updates(lambda p: optim.SGD(p, lr=RATE), gradients)
    # end of core
    seen = gradients[:, 1] > 0

    def draw(figure):
        axis = figure.subplots()
        for name, found in {"AdaGrad": adagrad, "RMSProp": rmsprop, "SGD": sgd}.items():
            axis.loglog(k, found[:, 0], label=name)
        axis.loglog(k[seen], adagrad[seen, 1], "o", ms=3, label="AdaGrad, every tenth step")
        axis.set(xlabel="step", ylabel="update, gradient 1")
        axis.legend(fontsize="small")

    return Result(
        "AdaGrad adds up squared gradients, so with a constant gradient step k is rate/sqrt(k): it "
        "slows down "
        "without end, which RMSProp's forgetting average prevents. A parameter with a gradient in "
        "every tenth "
        "step only has a sum a tenth as large, so each of its updates is sqrt(10) times as large.",
        [
            Check(
                "AdaGrad, constant gradient 1: the steps", adagrad[:, 0], exact=RATE / np.sqrt(k), atol=1e-9
            ),
            Check(
                "RMSProp: the steps",
                rmsprop[:, 0],
                exact=RATE / np.sqrt(1 - 0.9**k),
                atol=1e-9,
            ),
            Check(
                "infrequent parameter: its updates",
                adagrad[seen, 1],
                exact=RATE / np.sqrt(k[seen] / EVERY),
                atol=1e-9,
            ),
            Check(
                "update of the infrequent parameter / of the frequent one, step 400",
                adagrad[-1, 1] / adagrad[-1, 0],
                exact=EVERY**0.5,
                rtol=1e-6,
            ),
            Check("the same with SGD", sgd[-1, 1] / sgd[-1, 0], exact=1.0),
        ],
        [
            Table(
                "Update / rate",
                ("step", "AdaGrad", "RMSProp", "SGD"),
                [[s, *(u[s - 1, 0] / RATE for u in (adagrad, rmsprop, sgd))] for s in (1, 10, 100, 400)],
            )
        ],
        [Picture("Updates under a gradient of 1", draw, (6, 3.5))],
    )
