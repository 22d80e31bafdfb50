"""The forms of momentum and Nesterov's momentum: which are the same, and which has the wrong sign."""

import numpy as np

from xpnet import asarray, optim, tensor
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import contours, descend

LR, RHO, STEPS = 0.02, 0.9, 80
START = np.array([3.0, 2.0])


def f(x):
    return x[0] ** 2 + x[0] * x[1] + 4 * x[1] ** 2


def gradient(x):
    """Of f, by hand."""
    return np.array([2 * x[0] + x[1], x[0] + 8 * x[1]])


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


# core
def s2_momentum(x, v, rate):
    v = RHO * v + gradient(x)
    return x - rate * v, v


def s2_code(x, v, rate):
    v = RHO * v + gradient(x)
    return x + rate * v, v  # the slide's x += learning_rate * vx


# end of core


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

    changing = []

    def fall(x, k):
        changing[0].param_groups[0]["lr"] = falling[k]

    def make(p):
        changing.append(optim.SGD(p, lr=LR, momentum=RHO))
        return changing[0]

    changed = descend(f, START, make, 40, fall)
    # on the gradient 1 the last step is the velocity times the rate
    x = tensor(np.zeros(1), requires_grad=True)
    rule = optim.SGD([x], lr=1.0, momentum=RHO)
    for _ in range(200):
        x.grad, before = asarray(np.ones(1)), x.numpy()[0]
        rule.step()
    velocity = before - x.numpy()[0]
    plain = tensor(np.zeros(1), requires_grad=True)
    plain.grad = asarray(np.ones(1))
    optim.SGD([plain], lr=0.1).step()
    plain = plain.numpy()

    wrong = write_out(s2_code, [LR] * 40)
    after = {form.__name__: write_out(form, falling) for form in (s4_momentum, s2_momentum)}

    def draw(figure):
        left, right = figure.subplots(1, 2)
        contours(left, f, (-2.5, 3.5), (-2, 2.5))
        left.plot(*ours.T, label="momentum")
        left.plot(*ours_nesterov.T, label="Nesterov, look-ahead point")
        left.plot(*paths["s4_nesterov"].T, ":", label="Nesterov, S2 = S4")
        left.legend(fontsize="small")
        right.semilogy(f(wrong.T), label="S2's code")
        right.semilogy(f(ours.T), label="momentum")
        right.set(xlabel="step", ylabel="f")
        right.legend()

    return Result(
        "S4 keeps the rate inside the velocity, S2 outside: one path while the rate is constant, two when it "
        "changes. Nesterov's forms of S2 and S4 differ in the sign of v alone; PyTorch and xpnet store the "
        "look-ahead point of the same path. The code of S2's slides adds the gradient and climbs.",
        [
            Check("xpnet's momentum: the path of S4's", ours, exact=paths["s4_momentum"], atol=1e-12),
            Check(
                "the rate falls after step 20: xpnet takes S2's path",
                changed,
                exact=after["s2_momentum"],
                atol=1e-12,
            ),
            Check(
                "the rate falls after step 20: largest distance from S4's path",
                np.abs(changed - after["s4_momentum"]).max(),
                at_least=0.01,
            ),
            Check(
                "velocity after 200 gradients of 1 ('a running mean of gradients')",
                velocity,
                deck="1",
                exact=(1 - RHO**200) / (1 - RHO),
                slip=(
                    "rho v + gradient sums to 10 gradients for rho = 0.9; the mean has (1 - rho) "
                    "before the gradient"
                ),
            ),
            Check(
                "plain SGD: change along the gradient, S2's 'x += learning_rate * dx'",
                np.sign(plain[0]),
                deck=1.0,
                exact=-1.0,
                slip="x -= learning_rate * dx",
            ),
            Check(
                "xpnet's Nesterov: S4's look-ahead points", ours_nesterov, exact=np.array(ahead), atol=1e-12
            ),
            Check(
                "Nesterov and momentum: largest distance of the paths",
                np.abs(ours_nesterov - ours).max(),
                at_least=0.1,
            ),
            Check("momentum: f after 40 steps, to the start", f(ours[40]) / f(START), at_most=0.05),
            Check(
                "direction of the first step along the gradient",
                np.sign((ours[1] - START) @ gradient(START)),
                deck=1.0,
                exact=-1.0,
                slip="x += learning_rate * vx climbs; x -= learning_rate * vx",
            ),
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
