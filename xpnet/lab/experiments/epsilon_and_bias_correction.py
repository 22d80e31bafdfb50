"""Where epsilon goes, and why Adam counts from 1."""

import numpy as np

from xpnet import asarray, optim, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment

GRADIENTS = np.array([1e-9, 1e-6, 1e-4, 1e-2, 1.0])


def first_step(optimizer):
    """The first update for several sizes of gradient, one parameter each."""
    x = tensor(np.zeros(len(GRADIENTS)), requires_grad=True)
    rule = optimizer([x])
    x.grad = asarray(GRADIENTS)
    rule.step()
    return -to_numpy(x.data)


def constant_gradient(optimizer, steps):
    """The updates for gradients of 1."""
    x = tensor(np.zeros(1), requires_grad=True)
    rule, found = optimizer([x]), []
    for _ in range(steps):
        before = x.numpy()[0]
        x.grad = asarray(np.ones(1))
        rule.step()
        found.append(before - x.numpy()[0])
    return found


@experiment("S2, S4", "AdaGrad's epsilon inside or outside the root; Adam's bias correction and its t = 0")
def run() -> Result:
    # core
    eps = 1e-7
    inside = first_step(lambda p: optim.Adagrad(p, lr=1.0, eps=eps, eps_inside=True))
    outside = first_step(lambda p: optim.Adagrad(p, lr=1.0, eps=eps))
    rms = first_step(lambda p: optim.RMSprop(p, lr=1.0, alpha=0.9, eps=eps))
    adam = first_step(lambda p: optim.Adam(p, lr=1.0, eps=eps))
    # end of core

    # Adam on a constant gradient 1, with and without the correction; AdaDelta's steps
    b1, b2, steps = 0.9, 0.999, 400
    updates = constant_gradient(lambda p: optim.Adam(p, lr=1.0), steps)
    delta = constant_gradient(lambda p: optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6), 50)
    square, moved, by_hand = 0.0, 0.0, []
    for _ in range(50):
        square = 0.9 * square + 0.1
        by_hand.append(((moved + 1e-6) / (square + 1e-6)) ** 0.5)
        moved = 0.9 * moved + 0.1 * by_hand[-1] ** 2
    t = np.arange(1, steps + 1)
    uncorrected = (1 - b1**t) / np.sqrt(1 - b2**t)

    with np.errstate(divide="ignore", invalid="ignore"):
        m, v = (1 - b1) * np.float64(1.0), (1 - b2) * np.float64(1.0)
        slide = (m / (1 - b1**0)) / (np.sqrt(v / (1 - b2**0)) + 1e-7)

    def draw(figure):
        left, right = figure.subplots(1, 2)
        left.loglog(GRADIENTS, inside, "o-", label="inside the root (S4)")
        left.loglog(GRADIENTS, outside, "o-", label="outside (S2, PyTorch)")
        left.set(xlabel="gradient", ylabel="AdaGrad's first step / rate")
        left.legend()
        right.plot(t, updates, label="with bias correction")
        right.plot(t, uncorrected, label="without (S2's first form)")
        right.set(xlabel="step", ylabel="Adam's step / rate, gradient 1")
        right.legend()

    return Result(
        "Inside the root the same epsilon weighs as its square root: gradients below 3e-4 hardly move a "
        "parameter for 1e-7. Adam's averages start at 0; divided by 1 - beta^t they are right from step 1 "
        "on, without it the first steps are up to 6 times too long. S2's loop starts at t = 0, where that "
        "divides by zero.",
        [
            Check(
                "AdaGrad, epsilon inside", inside, exact=GRADIENTS / np.sqrt(GRADIENTS**2 + eps), atol=1e-12
            ),
            Check("AdaGrad, epsilon outside", outside, exact=GRADIENTS / (GRADIENTS + eps), atol=1e-12),
            Check("gradient 1e-4: step inside to outside", inside[2] / outside[2], at_most=0.4),
            Check(
                "RMSProp 0.9/0.1: first step",
                rms,
                exact=GRADIENTS / (np.sqrt(0.1) * GRADIENTS + eps),
                atol=1e-12,
            ),
            Check("Adam: first step, as AdaGrad's", adam, exact=GRADIENTS / (GRADIENTS + eps), atol=1e-9),
            Check("AdaDelta, constant gradient: 50 steps", delta, exact=by_hand, atol=1e-12),
            Check(
                "Adam, constant gradient: every step is the rate", updates, exact=np.ones(steps), atol=1e-6
            ),
            Check(
                "Adam's first step for gradient 1",
                updates[0],
                deck=slide,
                exact=1.0,
                atol=1e-6,
                slip="range(n) starts at t = 0: 1 - beta^0 = 0; count from 1",
            ),
        ],
        [
            Table(
                "First step / rate",
                ("gradient", "AdaGrad inside", "AdaGrad outside", "RMSProp", "Adam"),
                list(zip(GRADIENTS, inside, outside, rms, adam, strict=True)),
            )
        ],
        [Picture("Epsilon; and bias correction", draw, (9, 3.5))],
    )
