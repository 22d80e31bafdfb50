"""Where f' = 0: what the second derivative says there, and gradient ascent."""

import numpy as np

from xpnet import hessian, optim, tensor, to_numpy
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import descend

FUNCTIONS = {  # f, a turning point, f'' there by hand
    "x^2": (lambda x: x[0] ** 2, 0.0, 2.0),
    "-x^2": (lambda x: -(x[0] ** 2), 0.0, -2.0),
    "x^3 - 3x at 1": (lambda x: x[0] ** 3 - 3 * x[0], 1.0, 6.0),
    "x^3 - 3x at -1": (lambda x: x[0] ** 3 - 3 * x[0], -1.0, -6.0),
    "x^3": (lambda x: x[0] ** 3, 0.0, 0.0),
    "x^4": (lambda x: x[0] ** 4, 0.0, 0.0),
}


def slope(f, x):
    t = tensor(np.array([x]), requires_grad=True)
    f(t).backward()
    return float(to_numpy(t.grad)[0])


def around(f, x, h=1e-2):
    """Signs of f beside the point less f there."""
    return [
        float(np.sign(to_numpy(f(tensor(np.array([x + d]))) - f(tensor(np.array([x])))))) for d in (-h, h)
    ]


@experiment("S2", "finding the minimum of a function: turning points, f'', gradient ascent")
def run() -> Result:
    # core
    slopes = {name: slope(f, x) for name, (f, x, _) in FUNCTIONS.items()}
    second = {
        name: float(to_numpy(hessian(f)(np.array([x]))).item()) for name, (f, x, _) in FUNCTIONS.items()
    }
    sides = {name: around(f, x) for name, (f, x, _) in FUNCTIONS.items()}
    hill = lambda x: -((x[0] - 1) ** 2) - 2 * (x[1] + 2) ** 2
    climb = descend(hill, [4.0, 4.0], lambda p: optim.SGD(p, lr=0.1, maximize=True), 200)
    # end of core

    def draw(figure):
        for axis, name in zip(figure.subplots(1, 4), ("x^2", "-x^2", "x^3", "x^4"), strict=True):
            x = np.linspace(-1, 1, 100)
            axis.plot(x, FUNCTIONS[name][0]([x]))
            axis.plot(0, 0, "o")
            axis.set(title=f"{name}: f'' = {second[name]:g}", xlabel="x", ylabel="f(x)")

    return Result(
        "At a turning point f' = 0; f'' > 0 says minimum and f'' < 0 maximum. S2's 'otherwise it is "
        "a maximum' "
        "is wrong for f'' = 0, which decides nothing: x^4 has a minimum there and x^3 neither. Steps along "
        "the gradient, maximize=True, climb to a maximum.",
        [
            Check("f' at the turning points", list(slopes.values()), exact=[0.0] * 6, atol=1e-12),
            Check(
                "f'' there", list(second.values()), exact=[f2 for _, _, f2 in FUNCTIONS.values()], atol=1e-9
            ),
            Check("x^2: f to the left and right, sign", sides["x^2"], exact=[1.0, 1.0]),
            Check("-x^2: f to the left and right, sign", sides["-x^2"], exact=[-1.0, -1.0]),
            Check(
                "x^4 at 0, f'' = 0: f to the left and right, sign",
                sides["x^4"],
                deck=[-1.0, -1.0],
                exact=[1.0, 1.0],
                slip="'positive: minimum, otherwise maximum': for f'' = 0 it can be a minimum",
            ),
            Check(
                "x^3 at 0, f'' = 0: f to the left and right, sign",
                sides["x^3"],
                deck=[-1.0, -1.0],
                exact=[-1.0, 1.0],
                slip="'positive: minimum, otherwise maximum': for f'' = 0 it can be neither",
            ),
            Check(
                "gradient ascent on -(x1 - 1)^2 - 2(x2 + 2)^2 ends at",
                climb[-1],
                exact=[1.0, -2.0],
                atol=1e-6,
            ),
            Check("it climbs at every step: smallest rise", np.diff(hill(climb.T)).min(), at_least=0.0),
        ],
        [Table("Turning points", ("f", "f'", "f''"), [[n, slopes[n], second[n]] for n in FUNCTIONS])],
        [Picture("Four turning points", draw, (10, 2.8))],
    )
