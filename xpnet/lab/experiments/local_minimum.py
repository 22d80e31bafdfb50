"""A local minimum: plain descent stops in it, momentum rolls through."""

import numpy as np

from xpnet import optim
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.surfaces import descend

START, RATE = 4.0, 0.01


@experiment("S2", "problems with SGD: a local minimum, and SGD + momentum's first panel")
def run() -> Result:
    # core
    f = lambda x: 0.05 * x[0] ** 4 - 0.5 * x[0] ** 2 + 0.1 * x[0]  # minima at 2.18 and -2.28, a hill between
    paths = {
        "SGD": descend(f, [START], lambda p: optim.SGD(p, lr=RATE), 1000)[:, 0],
        "momentum": descend(f, [START], lambda p: optim.SGD(p, lr=RATE, momentum=0.99), 1800)[:, 0],
    }
    # end of core
    turning = np.sort(np.roots([0.2, 0, -1, 0.1]).real)  # f' = 0.2 x^3 - x + 0.1
    lowest, hill, local = turning

    def draw(figure):
        axis, x = figure.subplots(), np.linspace(-4, 4.2, 200)
        axis.plot(x, f([x]), "0.6")
        for name, path in paths.items():
            axis.plot(path, f([path]), lw=1, label=name)
            axis.plot(path[-1], f([path[-1:]])[0], "o", color=axis.lines[-1].get_color())
        axis.set(xlabel="x", ylabel="f(x)", ylim=(-2, 6))
        axis.legend()

    return Result(
        "From x = 4 the gradient leads SGD into the nearer minimum, where it is 0 and descent is "
        "stuck; momentum "
        "arrives with velocity, climbs the hill at 0.1 and comes to rest in the lower minimum.",
        [
            Check("SGD: where it stops", paths["SGD"][-1], exact=local, atol=1e-6),
            Check("momentum 0.99: where it stops", paths["momentum"][-1], exact=lowest, atol=1e-3),
            Check("f there, momentum - SGD", f(paths["momentum"][-1:]) - f(paths["SGD"][-1:]), at_most=-0.3),
            Check("SGD crosses the hill (1: yes)", float((paths["SGD"] < hill).any()), exact=0.0),
        ],
        [Table("Minima", ("x", "f"), [[x, f([x])] for x in (local, lowest)])],
        [Picture("A ball without and with momentum", draw, (6, 3.5))],
    )
