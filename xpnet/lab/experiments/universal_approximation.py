"""One hidden layer approximates any continuous function: a construction, and what training finds."""

import numpy as np

from xpnet import asarray, nn, optim, to_numpy
from xpnet.functional import mse_loss
from xpnet.lab import Check, Picture, Result, Table, experiment

X = np.linspace(0, 1, 2001)
UNITS = (10, 40, 160, 640)
SLOPE = 5 * np.pi  # the largest slope of f


def f(x):
    return np.sin(2 * np.pi * x) + 0.5 * np.sin(6 * np.pi * x)


def staircase(units):
    """Hornik's network by hand: each sigmoid is a step, as high as f rises from one cell to the next."""
    # core
    centres = (np.arange(units + 1) + 0.5) / (units + 1)
    steepness = 20.0 * units
    model = nn.Sequential(
        nn.Linear(1, units, dtype="float64"), nn.Sigmoid(), nn.Linear(units, 1, dtype="float64")
    )
    hidden, _, out = model
    hidden.weight.data = asarray(np.full((units, 1), steepness))
    hidden.bias.data = asarray(-steepness * (centres[:-1] + centres[1:]) / 2)  # steps between the centres
    out.weight.data = asarray(np.diff(f(centres))[None, :])
    out.bias.data = asarray(f(centres[:1]))
    # end of core
    return model


@experiment("S2", "universal approximation (Hornik, 1991): one hidden layer, given enough units")
def run() -> Result:
    x = asarray(X[:, None])
    curves = {units: to_numpy(staircase(units)(x).data)[:, 0] for units in UNITS}
    errors = {units: np.abs(y - f(X)).max() for units, y in curves.items()}

    normalise = lambda x: asarray((12 * x - 6).astype(np.float32)[:, None])  # the scale of the units
    sample = normalise(X[::40])
    wanted = asarray(f(X[::40, None]).astype(np.float32))
    model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 1))
    optimizer = optim.Adam(model, lr=0.03)
    for _ in range(600):
        optimizer.zero_grad()
        mse_loss(model(sample), wanted).backward()
        optimizer.step()
    trained = to_numpy(model(normalise(X)).data)[:, 0]

    def draw(figure):
        for axis, units in zip(figure.subplots(1, 3, sharey=True), (10, 40, "trained"), strict=True):
            axis.plot(X, f(X), "k", lw=1)
            axis.plot(X, trained if units == "trained" else curves[units])
            axis.set(title="40 tanh, trained" if units == "trained" else f"{units} sigmoids, by hand")
            axis.set_xlabel("x")
        figure.axes[0].set_ylabel("f(x)")

    return Result(
        "Steep sigmoids add up to a staircase, and with more units to any continuous function: the error "
        "falls with the width of a step, at most the slope of f times it. The theorem promises the weights, "
        "not that training finds them; here it does, with fewer units.",
        [
            *(
                Check(f"{units} sigmoids: largest error", error, at_most=SLOPE / (units + 1))
                for units, error in errors.items()
            ),
            Check("error of 640 units to that of 40", errors[640] / errors[40], exact=41 / 641, rtol=0.2),
            Check("40 tanh units, trained: largest error", np.abs(trained - f(X)).max(), at_most=0.15),
        ],
        [
            Table(
                "Largest error",
                ("units", "error", "slope / (units + 1)"),
                [[n, e, SLOPE / (n + 1)] for n, e in errors.items()],
            )
        ],
        [Picture("Approximations of sin(2 pi x) + sin(6 pi x)/2", draw, (9, 3))],
    )
