"""The forms of momentum and Nesterov's momentum: which are the same, and which has the wrong sign."""

import numpy as np

from xpnet import optim, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import contours, descend

LR, RHO, STEPS = 0.02, 0.9, 80
START = np.array([3.0, 2.0])


def f(x):
    return x[0] ** 2 + x[0] * x[1] + 4 * x[1] ** 2


def gradient(x):
    """By xpnet, at a point on the host."""
    t = tensor(x, requires_grad=True)
    f(t).backward()
    return to_numpy(t.grad)


def write_out(update, rates):
    """A form from the slides, as its code: update(x, v, rate) -> x, v."""
    x, v, path = START, np.zeros(2), [START]
    for rate in rates:
        x, v = update(x, v, rate)
        path.append(x)
    return np.array(path)


def s4_momentum(x, v, rate):
    v = RHO * v + rate * gradient(x)
    return x - v, v


def s2_momentum(x, v, rate):
    v = RHO * v + gradient(x)
    return x - rate * v, v


def s2_code(x, v, rate):
    v = RHO * v + gradient(x)
    return x + rate * v, v  # the slide's x += learning_rate * vx


def s4_nesterov(x, v, rate):
    v = RHO * v + rate * gradient(x - RHO * v)
    return x - v, v


def s2_nesterov(x, v, rate):
    v = RHO * v - rate * gradient(x + RHO * v)
    return x + v, v


@experiment("S2, S4", "momentum and Nesterov: the forms of both decks and PyTorch's; the sign in S2's code")
def run() -> Result:
    constant, falling = [LR] * STEPS, [LR] * 20 + [LR / 10] * 20
    paths = {
        form.__name__: write_out(form, constant)
        for form in (s4_momentum, s2_momentum, s4_nesterov, s2_nesterov)
    }
    ours = descend(f, START, lambda p: optim.SGD(p, lr=LR, momentum=RHO), STEPS)
    ours_nesterov = descend(f, START, lambda p: optim.SGD(p, lr=LR, momentum=RHO, nesterov=True), STEPS)

    # PyTorch and xpnet store the look-ahead point, x - rho v of S4's form
    x, v, ahead = START, np.zeros(2), [START]
    for rate in constant:
        x, v = s4_nesterov(x, v, rate)
        ahead.append(x - RHO * v)

    wrong = write_out(s2_code, [LR] * 40)
    after = {form.__name__: write_out(form, falling) for form in (s4_momentum, s2_momentum)}
    apart = np.abs(after["s4_momentum"] - after["s2_momentum"]).max(axis=1)

    def draw(figure):
        left, right = figure.subplots(1, 2)
        contours(left, f, (-2.5, 3.5), (-2, 2.5))
        left.plot(*ours.T, label="momentum")
        left.plot(*ours_nesterov.T, label="Nesterov, look-ahead point")
        left.plot(*paths["s4_nesterov"].T, ":", label="Nesterov, S2 = S4")
        left.legend(fontsize=7)
        right.semilogy(f(wrong.T), label="S2's code")
        right.semilogy(f(ours.T), label="momentum")
        right.set(xlabel="step", ylabel="f")
        right.legend()

    return Result(
        "S4 keeps the rate inside the velocity, S2 outside: one path while the rate is constant, two when it "
        "changes. Nesterov's forms of S2 and S4 differ in the sign of v alone; PyTorch and xpnet store the "
        "look-ahead point of the same path. The code of S2's slides adds the gradient and climbs.",
        [
            Check(
                "S2's momentum: the path of S4's",
                paths["s2_momentum"],
                exact=paths["s4_momentum"],
                atol=1e-12,
            ),
            Check("xpnet's momentum: the path of S4's", ours, exact=paths["s4_momentum"], atol=1e-12),
            Check("the rate falls after step 20: S2 and S4 until then", apart[:21].max(), at_most=1e-12),
            Check("the rate falls after step 20: largest distance then", apart[21:].max(), at_least=0.01),
            Check(
                "S2's Nesterov: the path of S4's",
                paths["s2_nesterov"],
                exact=paths["s4_nesterov"],
                atol=1e-12,
            ),
            Check(
                "xpnet's Nesterov: S4's look-ahead points", ours_nesterov, exact=np.array(ahead), atol=1e-12
            ),
            Check(
                "Nesterov and momentum: largest distance of the paths",
                np.abs(paths["s4_nesterov"] - paths["s4_momentum"]).max(),
                at_least=0.1,
            ),
            Check("momentum: f after 40 steps, to the start", f(ours[40]) / f(START), at_most=0.05),
            Check(
                "direction of the first step along the gradient",
                np.sign((ours[1] - START) @ gradient(START)),
                deck=np.sign((wrong[1] - START) @ gradient(START)),
                exact=-1.0,
                slip="x += learning_rate * vx climbs; x -= learning_rate * vx",
            ),
            Check("S2's code: f after 40 steps, to the start", f(wrong[-1]) / f(START), at_least=100),
        ],
        [
            Table(
                "f on the way",
                ("form", "after 10", "after 40", "after 80"),
                [[n, *f(p[[10, 40, 80]].T)] for n, p in paths.items()],
            )
        ],
        [Picture("Paths; and f with S2's sign", draw, (9, 3.5))],
    )
